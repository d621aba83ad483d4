import { EXTRA } from '../../model/extras.js';
import type { JobEntity } from '../../entities/job.entity.js';
import type { FinalStatus } from '../../model/job-status.js';
import { CHANGES_SQL, query, type Row, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { TableNames } from './table-names.js';
import { removeUniques, storedClaim } from './unique-keys.js';

/** One transaction deletes for about so long: other writers wait for it. */
const SLICE_MS = 10;

/**
 * Stands in for the job id of a line that says, as its message, which deleted job's lines and runs
 * are still there, or which endpoint's deliveries. No job has it, so nobody is shown such a line.
 */
const DELETED = '';
const ENDPOINT = 'webhook ';
/** What nobody could send for so long, as nobody has its secret, keeps its job no longer. */
const UNSENT_MS = 7 * 86_400_000;

/** The job that was looked at last: when it ended, and its row. Those before it are kept, or gone. */
export interface PurgedTo {
  readonly endedAtMs: number;
  readonly tie: string;
  readonly seq: number;
}

/**
 * Deletes jobs that ended with the status before then, oldest first, from where the last slice has come
 * to; undefined when it has looked at all. Jobs that are still needed are looked at once in each walk.
 */
export function* purge(
  t: TableNames,
  status: FinalStatus,
  beforeMs: number,
  nowMs: number = beforeMs,
  from: PurgedTo = { endedAtMs: 0, tie: '', seq: -1 },
): Script<PurgedTo | undefined> {
  const until = performance.now() + SLICE_MS;
  let at = from;
  do {
    const found = yield* endedAfter(t, status, beforeMs, nowMs, at);
    const last = found.at(-1);
    if (last === undefined) {
      return undefined;
    }
    const next = { endedAtMs: Number(last[3]), tie: String(last[4]), seq: Number(last[0]) };
    const rows = found.filter((row) => Number(row[5]) === 1);
    if (rows.length > 0 && !(yield* removeRows(t, rows, { status, beforeMs, nowMs, until }))) {
      return at;
    }
    at = next;
  } while (performance.now() < until);
  return at;
}

/**
 * The next ended jobs, and whether each may go. What ended at the same time is asked for first, by its row:
 * one condition for both would walk through all of that time again for each few of them.
 */
function* endedAfter(
  t: TableNames,
  status: FinalStatus,
  beforeMs: number,
  nowMs: number,
  at: PurgedTo,
): Script<readonly Row[]> {
  const { endedKey, endedTie, purgedAtOnce } = t.words;
  const tie = endedTie === undefined ? "''" : `COALESCE(${endedTie}, '')`;
  const ties = endedTie === undefined ? [] : [endedTie];
  const select = `SELECT seq, job_id, extras, ${endedKey}, ${tie}, CASE WHEN ${isNotNeeded(t)} THEN 1 ELSE 0 END
    FROM ${t.jobs} WHERE ${t.words.ended} AND ${endedKey} < ?`;
  if (at.seq >= 0) {
    const behind = endedTie === undefined ? 'seq > ?' : `(${tie} > ? OR (${tie} = ? AND seq > ?))`;
    const rows = yield* query(
      `${select} AND ${endedKey} = ? AND ${behind}
       ORDER BY ${[...ties, 'seq'].join(', ')} LIMIT ${purgedAtOnce}`,
      [
        ...neededAt(nowMs),
        status,
        beforeMs,
        at.endedAtMs,
        ...ties.flatMap(() => [at.tie, at.tie]),
        at.seq,
      ],
    );
    if (rows.length > 0) {
      return rows;
    }
  }
  return yield* query(
    `${select} AND ${endedKey} > ? ORDER BY ${[endedKey, ...ties, 'seq'].join(', ')} LIMIT ${purgedAtOnce}`,
    [...neededAt(nowMs), status, beforeMs, at.seq < 0 ? -1 : at.endedAtMs],
  );
}

/** What one transaction deletes: jobs that ended so, before then, as long as there is time. */
interface Slice {
  readonly status: FinalStatus;
  readonly beforeMs: number;
  readonly nowMs: number;
  readonly until: number;
}

/**
 * Deletes these jobs and all that is of them, unless the time is over before; whether it did. Their keys and
 * rows are locked first: other processes delete others, and nobody comes to need what is half gone.
 */
function* removeRows(
  t: TableNames,
  rows: readonly Row[],
  { status, beforeMs, nowMs, until }: Slice,
): Script<boolean> {
  const locked = yield* query(
    `SELECT seq FROM ${t.rows}
     WHERE seq ${t.words.amongNumbers} AND status = ? AND finished_at_ms < ?
     ORDER BY seq ${t.words.skipLocked}`,
    [JSON.stringify(yield* withKeys(t, rows)), status, beforeMs],
  );
  // A statement of its own: it sees what was committed before the locks were there.
  const free = yield* query(
    `SELECT seq, job_id, extras FROM ${t.jobs} WHERE seq ${t.words.amongNumbers} AND ${isNotNeeded(t)}`,
    [JSON.stringify(locked.map(([seq]) => Number(seq))), ...neededAt(nowMs)],
  );
  if (free.length === 0) {
    return true;
  }
  const ids = free.map((row) => String(row[1]));
  const related = free.flatMap(([seq, , extras]) => ((extras ?? 0) === 0 ? [] : [Number(seq)]));
  // The job goes last, so that its history can be found until it is gone.
  if (!(yield* removeHistory(t, { ids, seqs: related }, until))) {
    return false;
  }
  yield* removeBeside(t, related);
  yield* query(`DELETE FROM ${t.rows} WHERE seq ${t.words.amongNumbers}`, [
    JSON.stringify(free.map(([seq]) => Number(seq))),
  ]);
  // Not before: somebody may retry the job until then, and its handler relies on what it remembers.
  if (!(yield* removeRemembered(t, related, until))) {
    yield* noteDeleted(t, ids);
  }
  return true;
}

/**
 * The row numbers of those whose unique keys nobody else has locked; they are locked here. Everybody locks
 * keys before rows, and one that is waited for would keep the rows from whoever has it.
 */
function* withKeys(t: TableNames, rows: readonly Row[]): Script<readonly number[]> {
  const seqs = rows.map(([seq]) => Number(seq));
  const claiming = seqs.filter((_, at) => (Number(rows[at]?.[2]) & EXTRA.unique) !== 0);
  if (claiming.length === 0 || t.words.skipLocked === '') {
    return seqs;
  }
  const keys = `SELECT job_seq FROM ${t.uniques} WHERE job_seq ${t.words.amongNumbers}`;
  const those = [JSON.stringify(claiming)];
  const ours = yield* query(`${keys} ${t.words.skipLocked}`, those);
  const others = new Set((yield* query(keys, those)).map(([seq]) => Number(seq)));
  ours.forEach(([seq]) => others.delete(Number(seq)));
  return seqs.filter((seq) => !others.has(seq));
}

/**
 * No job that is not final depends on it, it does not hold its unique key for some more time, and nobody
 * is still to be told of it; an endpoint that is disabled does not count, nor does what nobody has looked at
 * since it was due: each try moves that time.
 */
function isNotNeeded(t: TableNames): string {
  return `(extras IS NULL OR ((extras & ${EXTRA.dependents} = 0 OR NOT EXISTS (
      SELECT 1 FROM ${t.dependencies} AS edge JOIN ${t.rows} AS child ON child.seq = edge.child_seq
      WHERE edge.parent_seq = ${t.jobs}.seq AND child.finished_at_ms IS NULL))
    AND (extras & ${EXTRA.unique} = 0 OR NOT EXISTS (
      SELECT 1 FROM ${t.uniques} AS held
      WHERE held.job_seq = ${t.jobs}.seq AND held.within_until_ms > ?))
    AND (extras & ${EXTRA.hook | EXTRA.events} = 0 OR NOT EXISTS (
      SELECT 1 FROM ${t.deliveries} AS delivery
      WHERE delivery.job_seq = ${t.jobs}.seq AND delivery.lane IS NOT NULL
        AND delivery.due_at_ms > ?
        AND COALESCE((SELECT is_enabled FROM ${t.webhooks} AS hook WHERE hook.id = delivery.target), 1) = 1))))`;
}

/** What {@link isNotNeeded} binds. */
const neededAt = (nowMs: number): readonly number[] => [nowMs, nowMs - UNSENT_MS];

/** Deletes what stands beside the rows of jobs, but for what may be as much as their history. */
export function* removeBeside(t: TableNames, seqs: readonly number[]): Script<void> {
  if (seqs.length === 0) {
    return;
  }
  const those = JSON.stringify(seqs);
  const rows = yield* query(
    `SELECT seq, depends_on, unique_claim FROM ${t.extras}
     WHERE (depends_on IS NOT NULL OR unique_claim IS NOT NULL) AND seq ${t.words.amongNumbers}`,
    [those],
  );
  const claims = rows.flatMap((row) => storedClaim(row[2] as string | null) ?? []);
  yield* removeUniques(t, claims, seqs);
  for (const [seq, dependsOn] of rows) {
    if (dependsOn === null) {
      continue;
    }
    const parents = JSON.parse(String(dependsOn)) as { readonly id: string }[];
    yield* query(
      `DELETE FROM ${t.dependencies} WHERE child_seq = ? AND parent_seq ${t.words.amongNumbers}`,
      [seq ?? null, JSON.stringify(parents.map(({ id }) => seqOfId(id) ?? -1))],
    );
  }
  yield* query(`DELETE FROM ${t.untold} WHERE seq ${t.words.amongNumbers}`, [those]);
  yield* query(`DELETE FROM ${t.extras} WHERE seq ${t.words.amongNumbers}`, [those]);
}

/** Deletes the history of a job that has just been deleted, or notes what is left for {@link sweep}. */
export function* removeDeleted(
  t: TableNames,
  { id, seq, extras }: Pick<JobEntity, 'id' | 'seq' | 'extras'>,
): Script<void> {
  const of = { ids: [id], seqs: extras === null ? [] : [seq] };
  const until = performance.now() + SLICE_MS;
  if (!(yield* removeHistory(t, of, until)) || !(yield* removeRemembered(t, of.seqs, until))) {
    yield* noteDeleted(t, [id]);
  }
}

/** That an endpoint has just been deleted: {@link sweep} deletes what was told it. */
export function noteDeletedEndpoint(t: TableNames, id: string): Script<void> {
  return noteDeleted(t, [ENDPOINT + id]);
}

const NOTE = {
  job_id: 'text',
  run_id: 'text',
  at_ms: 'number',
  level: 'number',
  message: 'text',
} as const;

function* noteDeleted(t: TableNames, what: readonly string[]): Script<void> {
  const rows = what.map((each) => [DELETED, '', 0, 0, each]);
  for (const { sql, params } of t.words.insertRows({ table: t.logs, columns: NOTE }, rows)) {
    yield* query(sql, params);
  }
}

/** Whether history of deleted jobs or endpoints is left. */
export function* hasDeleted(t: TableNames): Script<boolean> {
  const rows = yield* query(`SELECT 1 FROM ${t.logs} WHERE job_id = ? LIMIT 1`, [DELETED]);
  return rows.length > 0;
}

/** Deletes what is left of deleted jobs and endpoints, as long as there is time; whether there is more. */
export function* sweep(t: TableNames): Script<boolean> {
  const until = performance.now() + SLICE_MS;
  let isMore = true;
  let isDone = true;
  while (isMore && isDone) {
    [isMore, isDone] = yield* sweepSome(t, until);
    isDone &&= performance.now() < until;
  }
  return isMore;
}

/** Whether there are more notes, and whether there was time for those that were read. */
function* sweepSome(t: TableNames, until: number): Script<[isMore: boolean, isDone: boolean]> {
  const most = t.words.purgedAtOnce;
  const rows = yield* query(
    `SELECT seq, message FROM ${t.logs} WHERE job_id = ? LIMIT ${most} ${t.words.skipLocked}`,
    [DELETED],
  );
  if (rows.length === 0) {
    return [false, true];
  }
  const notes = rows.map((row) => String(row[1]));
  const ids = notes.filter((note) => !note.startsWith(ENDPOINT));
  const seqs = ids.flatMap((id) => seqOfId(id) ?? []);
  const targets = notes
    .filter((note) => note.startsWith(ENDPOINT))
    .map((note) => note.slice(ENDPOINT.length));
  if (
    !(yield* removeHistory(t, { ids, seqs, targets }, until)) ||
    !(yield* removeRemembered(t, seqs, until))
  ) {
    return [true, false];
  }
  yield* query(`DELETE FROM ${t.logs} WHERE seq ${t.words.amongNumbers}`, [
    JSON.stringify(rows.map((row) => row[0])),
  ]);
  return [rows.length === most, true];
}

/** Jobs by their ids; those that may have more than lines and runs by their row numbers too; endpoints. */
interface Deleted {
  readonly ids: readonly string[];
  readonly seqs: readonly number[];
  readonly targets?: readonly string[];
}

/** Deletes lines and runs of jobs, and what was told of them, until the time is over; whether all are gone. */
function* removeHistory(
  t: TableNames,
  { ids, seqs, targets = [] }: Deleted,
  until: number,
): Script<boolean> {
  const ofIds = { which: `job_id ${t.words.amongTexts}`, values: ids };
  const ofSeqs = { which: `job_seq ${t.words.amongNumbers}`, values: seqs };
  return yield* removeAll(t, until, [
    { table: t.deliveries, key: 'id', ...ofSeqs },
    { table: t.events, key: 'job_seq, sequence', ...ofSeqs },
    {
      table: t.deliveries,
      key: 'id',
      which: `target ${t.words.amongTexts}`,
      values: targets,
    },
    { table: t.logs, key: 'seq', ...ofIds },
    { table: t.runs, key: 'run_id', ...ofIds },
  ]);
}

/** Deletes what jobs that are gone have remembered, and who has waited for them, likewise. */
function* removeRemembered(t: TableNames, seqs: readonly number[], until: number): Script<boolean> {
  const ofSeqs = { which: `job_seq ${t.words.amongNumbers}`, values: seqs };
  return yield* removeAll(t, until, [
    { table: t.steps, key: 'job_seq, kind, name, part', ...ofSeqs },
    { table: t.signals, key: 'job_seq, place', ...ofSeqs },
    {
      table: t.dependencies,
      key: 'parent_seq, child_seq',
      which: `parent_seq ${t.words.amongNumbers}`,
      values: seqs,
    },
  ]);
}

interface Removal {
  readonly table: string;
  readonly key: string;
  readonly which: string;
  readonly values: readonly (string | number)[];
}

function* removeAll(t: TableNames, until: number, removals: readonly Removal[]): Script<boolean> {
  for (const { table, key, which, values } of removals) {
    for (let isMore = values.length > 0; isMore;) {
      yield* query(t.words.deleteSome(table, key, which, t.words.linesPurgedAtOnce), [
        JSON.stringify(values),
      ]);
      const [changes] = yield* query(CHANGES_SQL);
      isMore = Number(changes?.[0]) >= t.words.linesPurgedAtOnce;
      if (isMore && performance.now() >= until) {
        return false;
      }
    }
  }
  return true;
}
