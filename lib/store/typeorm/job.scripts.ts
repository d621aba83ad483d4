import { JobEntity, type JobField } from '../../entities/job.entity.js';
import { CHANGES_SQL, query, together, type Phrase, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import { CONCERNS_OTHERS, EXTRA, hasExtra, isHeldBack, SETTLED_ALONE } from '../../model/extras.js';
import { readyAs } from '../job-of-draft.js';
import type {
  ArchivedRun,
  ChangeResult,
  Completion,
  Decide,
  HeldRun,
  JobChange,
  RelatedCompletion,
  Renewal,
  RunReport,
} from '../store.js';
import { readBeside } from './beside.script.js';
import { Consequences } from './consequences.js';
import { rowEndsAlone } from './ends-alone.js';
import { heldOfRow } from './held.rows.js';
import { ALL_JOB_COLUMNS, boundValue, JOB_COLUMNS, jobOfRow } from './job.columns.js';
import { News } from './news.js';
import { removeDeleted } from './purge.script.js';
import { READY } from './ready.js';
import type { TableNames } from './table-names.js';

/** The statuses in which a run holds its job. */
export const ACTIVE = "('running', 'canceling', 'suspending', 'locked')";

/** The statements on the path of a job, for SQLite. */
export class JobScripts {
  readonly #t: TableNames;
  readonly #completeSql: string;
  readonly #reportSql: string;
  /** What else happens when a job has changed, in the same transaction. */
  readonly consequences: Consequences;

  readonly #isOurs: boolean;

  /** In a transaction of the host a lock is waited for: who is refused one has lost all that was done in it. */
  constructor(tables: TableNames, isOurs = true) {
    this.#t = tables;
    this.#isOurs = isOurs;
    this.consequences = new Consequences(
      tables,
      (id, decide, nowMs, news) => this.change(id, decide, undefined, nowMs, news),
      () => this.latest,
    );
    this.#completeSql = this.#completeStatement(CONCERNS_OTHERS);
    this.#reportSql = this.#reportStatement();
  }

  /** After a statement that reads so many rows which are about to be changed. */
  lockOf(_count: number): string {
    return this.#t.words.forUpdate;
  }

  /** After a statement that reads: as committed by now, where a transaction of the host's sees the past. */
  get latest(): string {
    return '';
  }

  /**
   * Ends runs as completed, and tells the jobs that wait for theirs; whether each was still running
   * under its run.
   */
  *completeRelated(
    completions: readonly Completion[],
    nowMs: number,
  ): Script<readonly RelatedCompletion[]> {
    const won = yield* together(this.complete(completions, nowMs, SETTLED_ALONE));
    const news = new News();
    yield* this.consequences.dependencies.tellDone(
      completions.flatMap(({ seq }, at) => (won[at] === true ? [seq] : [])),
      news,
      nowMs,
    );
    // What they have led to is told once.
    return won.map((each, at) => (at === 0 ? { won: each, news } : { won: each }));
  }

  /**
   * Ends runs as completed; true for each that was still running under its run. `left`: those of jobs
   * with one of these extras are left as they are.
   */
  *complete(
    completions: readonly Completion[],
    nowMs: number,
    left = CONCERNS_OTHERS,
  ): Script<readonly boolean[]> {
    const ended = bySeq(completions).map((each) => [
      each.seq,
      each.runId,
      each.startedAtMs,
      each.result,
    ]);
    const sql = left === CONCERNS_OTHERS ? this.#completeSql : this.#completeStatement(left);
    yield* query(sql, [nowMs, nowMs, JSON.stringify(ended)]);
    // Counting is cheaper than RETURNING; only when somebody lost is it asked who.
    const changed = yield* query(CHANGES_SQL);
    if (changed[0]?.[0] === completions.length) {
      return completions.map(() => true);
    }
    const rows = yield* query(
      `SELECT run_id FROM ${this.#t.jobs}
       WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'completed' AND finished_at_ms = ?`,
      [JSON.stringify(completions.map((each) => each.seq)), nowMs],
    );
    const won = new Set(rows.map((row) => row[0]));
    return completions.map((each) => won.has(each.runId));
  }

  /** Writes what handlers report; true for each whose run still holds its job. */
  *report(reports: readonly RunReport[], nowMs: number): Script<readonly boolean[]> {
    const held: boolean[] = [];
    for (const r of reports) {
      const rows = yield* query(this.#reportSql, [
        nowMs,
        r.startedAtMs ?? null,
        r.progress ?? null,
        r.completed ?? null,
        r.total ?? null,
        r.message ?? null,
        r.etaMs ?? null,
        r.state ?? null,
        r.result ?? null,
        r.maxRetries ?? null,
        r.retryDelaySec ?? null,
        r.timeoutSec ?? null,
        r.seq,
        r.runId,
      ]);
      held.push(rows.length === 1);
    }
    return held;
  }

  /**
   * Reads, decides and writes as one compare-and-set on status and sequence, with what follows for
   * others; `news`: it follows itself from another change.
   */
  *change(
    id: string,
    decide: Decide,
    tenantId: string | undefined,
    nowMs: number,
    news?: News,
  ): Script<ChangeResult | undefined> {
    for (;;) {
      const found = yield* this.find(id, tenantId);
      const before = yield* this.#heldStill(found, decide, news !== undefined, nowMs);
      if (before === undefined) {
        return undefined;
      }
      const change = decide(before, nowMs);
      if (change === undefined) {
        return { before, after: before, changed: false };
      }
      const removed = yield* this.consequences.before(before, change, nowMs);
      const after =
        change.remove === true
          ? yield* this.#remove(before)
          : yield* this.#apply(before, change, nowMs);
      if (after !== undefined) {
        const result = yield* this.consequences.of({ before, after, change }, nowMs, news);
        return removed.length === 0 ? result : { ...result, others: removed };
      }
    }
  }

  /**
   * A job that others are concerned with, locked where others write at the same time: what follows
   * for them is written before the job itself, and what stands beside it counts for both. `follows`: rows of
   * other jobs are locked already, so that nobody is waited for who has its key. One that waits for others
   * is locked beside its row too, in our own transactions without waiting for whoever tells it: the end of
   * what it waits for finds it as it is then, or comes before.
   */
  *#heldStill(
    job: JobEntity | undefined,
    decide: Decide,
    follows: boolean,
    nowMs: number,
  ): Script<JobEntity | undefined> {
    const { forUpdate } = this.#t.words;
    if (job === undefined || job.extras === null || forUpdate === '') {
      return job;
    }
    if (hasExtra(job.extras, EXTRA.unique)) {
      yield* this.consequences.uniques.lockOf(job, decide(job, nowMs), follows);
    }
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq = ? ${forUpdate}`,
      [job.seq],
    );
    const lock = hasExtra(job.extras, EXTRA.parents)
      ? `${forUpdate}${this.#isOurs ? ' NOWAIT' : ''}`
      : '';
    return (yield* readBeside(this.#t, rows.map(jobOfRow), lock))[0];
  }

  *find(id: string, tenantId: string | undefined): Script<JobEntity | undefined> {
    const seq = seqOfId(id);
    if (seq === undefined) {
      return undefined;
    }
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq = ? AND job_id = ?${scope}`,
      tenantId === undefined ? [seq, id] : [seq, id, tenantId],
    );
    const [row] = rows;
    return row === undefined ? undefined : (yield* readBeside(this.#t, [jobOfRow(row)]))[0];
  }

  /** Circles of locks are looked for by one transaction at a time; on SQLite each is alone anyway. */
  *oneLockAtATime(): Script<void> {}

  /** Extends every lease of a worker, which touches only rows of the lease index. */
  *renew(workerId: string, leaseMs: number, nowMs: number): Script<Renewal> {
    yield* query(
      `UPDATE ${this.#t.rows} SET lease_until_ms = ?
       WHERE lease_until_ms IS NOT NULL AND worker_id = ? AND status IN ${ACTIVE}`,
      [nowMs + leaseMs, workerId],
    );
    const rows = yield* query(
      `SELECT job_id, run_id, status, locked_by, timeout_sec FROM ${this.#t.jobs}
       WHERE lease_until_ms IS NOT NULL AND worker_id = ? AND status IN ${ACTIVE}`,
      [workerId],
    );
    return { held: rows.map(heldOfRow), missed: [] };
  }

  *disturbed(
    workerId: string,
    writtenSinceMs: number,
    _held: readonly number[],
  ): Script<readonly HeldRun[]> {
    const rows = yield* query(
      `SELECT job_id, run_id, status, locked_by, timeout_sec
       FROM ${this.#t.jobs}${this.#t.words.using(this.#t.index('jobs_phase'))}
       WHERE ${this.#t.words.held} AND worker_id = ?
         AND (status IN ('canceling', 'suspending') OR (status = 'locked' AND locked_by IS NULL)
           OR (timeout_sec > 0 AND updated_at_ms > ?))`,
      [workerId, writtenSinceMs],
    );
    return rows.map(heldOfRow);
  }

  *promote(
    limit: number,
    nowMs: number,
  ): Script<{ promoted: number; nextInMs: number | undefined }> {
    const promoted = yield* query(
      `UPDATE ${this.#t.rows} SET ready = ${READY} WHERE seq IN (
         SELECT seq FROM ${this.#t.rows}
         WHERE status = 'waiting' AND ready = 0 AND run_at_ms <= ?
         ORDER BY run_at_ms LIMIT ? + 0)
       RETURNING seq`,
      [nowMs, limit],
    );
    return { promoted: promoted.length, nextInMs: yield* this.nextDue(nowMs) };
  }

  /** Milliseconds until the next waiting job is due; undefined when none waits for its time. */
  *nextDue(nowMs: number): Script<number | undefined> {
    const next = yield* query(
      `SELECT MIN(${this.#t.words.laterKey}) FROM ${this.#t.rows} WHERE ${this.#t.words.later}`,
    );
    const nextMs = next[0]?.[0] ?? null;
    return nextMs === null ? undefined : Math.max(0, Number(nextMs) - nowMs);
  }

  *#apply(before: JobEntity, change: JobChange, nowMs: number): Script<JobEntity | undefined> {
    const set = withDerived(before, change.set, nowMs);
    const names = Object.keys(set) as JobField[];
    const still = asRead(this.#t.words, before);
    const rows = yield* query(
      `UPDATE ${this.#t.rows} SET ${names.map((name) => `${JOB_COLUMNS[name]} = ?`).join(', ')}
       WHERE ${still.sql} RETURNING seq`,
      [...names.map((name) => boundValue(set[name])), ...still.params],
    );
    if (rows.length === 0) {
      return undefined;
    }
    yield* this.archive(before, change.archiveRun, nowMs);
    return Object.assign(new JobEntity(), before, set);
  }

  /** The run that held the job moves to the history, if it does. */
  protected *archive(before: JobEntity, run: ArchivedRun | undefined, nowMs: number): Script<void> {
    if (run === undefined || before.runId === null) {
      return;
    }
    yield* query(
      this.#t.words.insertNew(
        `INSERT INTO ${this.#t.runs} (run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, ended_at_ms, outcome, error, completed, total)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        'run_id',
      ),
      [
        before.runId,
        before.id,
        before.revision,
        before.workerId,
        before.startedAtMs ?? run.startedAtMs ?? null,
        // What has ended is not changed by who retries it.
        before.finishedAtMs === null ? nowMs : before.updatedAtMs,
        before.finishedAtMs ?? nowMs,
        run.outcome,
        run.error,
        before.completed,
        before.total,
      ],
    );
  }

  *#remove(job: JobEntity): Script<JobEntity | undefined> {
    const still = asRead(this.#t.words, job);
    const rows = yield* query(
      `DELETE FROM ${this.#t.rows} WHERE ${still.sql} RETURNING seq`,
      still.params,
    );
    if (rows.length === 0) {
      return undefined;
    }
    yield* removeDeleted(this.#t, job);
    return job;
  }

  #completeStatement(bits: number): string {
    return `UPDATE ${this.#t.rows} SET
        status = 'completed', sequence = sequence + 1, finished_at_ms = ?, updated_at_ms = ?,
        lease_until_ms = NULL, eta_ms = NULL, progress = 1, error = NULL,
        started_at_ms = COALESCE(${this.#t.rows}.started_at_ms, ended.started_at_ms),
        result = COALESCE(ended.result, ${this.#t.rows}.result)
      FROM (SELECT value ->> 0 AS seq, value ->> 1 AS run_id, value ->> 2 AS started_at_ms, value ->> 3 AS result
            FROM json_each(?)) AS ended
      WHERE ${this.#t.rows}.seq = ended.seq AND ${this.#t.rows}.run_id = ended.run_id
        AND ${this.#t.rows}.status = 'running' AND ${rowEndsAlone(this.#t, bits)}`;
  }

  #reportStatement(): string {
    return `UPDATE ${this.#t.rows} SET updated_at_ms = ?,
        started_at_ms = COALESCE(started_at_ms, ?), progress = COALESCE(?, progress),
        completed = COALESCE(?, completed), total = COALESCE(?, total),
        progress_details = COALESCE(?, progress_details), eta_ms = NULLIF(COALESCE(?, eta_ms), 0),
        state = COALESCE(?, state), result = COALESCE(?, result),
        max_retries = COALESCE(?, max_retries), retry_delay_sec = COALESCE(?, retry_delay_sec),
        timeout_sec = COALESCE(?, timeout_sec)
      WHERE seq = ? AND run_id = ? AND status IN ${ACTIVE} RETURNING seq`;
  }
}

/** As their rows lie: keys that take turns end in an order that goes to and fro in the table. */
export function bySeq(completions: readonly Completion[]): readonly Completion[] {
  return completions.toSorted((a, b) => a.seq - b.seq);
}

/** A row nobody has changed since it was read; nor has a job begun to wait for it, where rows say so. */
function asRead(
  { marksParents }: TableNames['words'],
  { seq, sequence, status, extras }: JobEntity,
): Phrase {
  const most = marksParents ? -1 : ~EXTRA.dependents;
  return {
    sql: `seq = ? AND sequence = ? AND status = ? AND COALESCE(extras, 0)${marksParents ? '' : ` & ${most}`} = ?`,
    params: [seq, sequence, status, (extras ?? 0) & most],
  };
}

/** Adds what follows from a change: version, time, and whether a claim may take the job. */
export function withDerived(
  before: JobEntity,
  set: Partial<JobEntity>,
  nowMs: number,
): Partial<JobEntity> {
  const status = set.status ?? before.status;
  const runAtMs = set.runAtMs ?? before.runAtMs;
  const extras = set.extras === undefined ? before.extras : set.extras;
  const limitKey = set.limitKey === undefined ? before.limitKey : set.limitKey;
  const result: Partial<JobEntity> = { ...set, updatedAtMs: nowMs };
  if (status !== before.status) {
    result.sequence = before.sequence + 1;
  }
  if (
    status !== before.status ||
    runAtMs !== before.runAtMs ||
    extras !== before.extras ||
    limitKey !== before.limitKey
  ) {
    result.ready =
      status !== 'waiting'
        ? 0
        : isHeldBack(extras, before.beside?.blockedBy ?? 0)
          ? -1
          : runAtMs <= nowMs
            ? readyAs(limitKey)
            : 0;
  }
  return result;
}
