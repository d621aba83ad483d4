import { JobEntity, type JobField } from '../../../entities/job.entity.js';
import { CONCERNS_OTHERS, EXTRA, hasExtra } from '../../../model/extras.js';
import type {
  ChangeResult,
  Completion,
  Decide,
  JobChange,
  Renewal,
  RunLines,
  RunReport,
  TransactionRun,
} from '../../store.js';
import { readBeside } from '../../typeorm/beside.script.js';
import { ALL_JOB_COLUMNS, boundValue, JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import { endsAlone } from '../../typeorm/ends-alone.js';
import { ACTIVE, bySeq, JobScripts, withDerived } from '../../typeorm/job.scripts.js';
import { heldOfRow, missedOf } from '../../typeorm/held.rows.js';
import { halfLease, keepLease } from '../../typeorm/lease.scripts.js';
import type { News } from '../../typeorm/news.js';
import { removeDeleted } from '../../typeorm/purge.script.js';
import { READY } from '../../typeorm/ready.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { seqOfId } from '../shared/row-numbers.js';
import { CHANGES_SQL, query, type Script } from '../sql.js';
import { chunks } from '../shared/chunks.js';
import { list, literal } from './literals.js';
import { HELD } from './mysql-words.js';
import { REPORT_COLUMNS, REPORTED, reportAsArray } from './report-columns.js';

/** Of ended runs, those with a result: each is one more choice for each row of the statement. */
const MOST_RESULTS = 100;
const MOST_COMPLETIONS = 1000;
const MOST_REPORTS = 500;
const MOST_LINES = 1000;

/**
 * The statements on the path of a job on MySQL and MariaDB.
 *
 * Rows are locked by their numbers, in ascending order, also where an index says which: whoever holds
 * the entry of an index waits for no row (`SKIP LOCKED`), so nobody waits in a circle.
 */
export class MysqlJobScripts extends JobScripts {
  readonly #t: TableNames;
  readonly #isOurs: boolean;

  /** On a connection of the host a lock is waited for as long as the host likes. */
  constructor(tables: TableNames, isOurs: boolean) {
    super(tables, isOurs);
    this.#t = tables;
    this.#isOurs = isOurs;
  }

  override get latest(): string {
    return this.#isOurs ? '' : this.#t.words.latest;
  }

  /** A row that is singled out after it met a lock is not waited for: see `#takeOne`. */
  override lockOf(count: number): string {
    return this.#isOurs && count === 1 ? 'FOR UPDATE NOWAIT' : 'FOR UPDATE';
  }

  override *complete(
    completions: readonly Completion[],
    nowMs: number,
    left = CONCERNS_OTHERS,
  ): Script<readonly boolean[]> {
    yield* this.#takeOne(completions);
    const sorted = bySeq(completions);
    const parts = [
      ...chunks(
        sorted.filter(({ result }) => result === null),
        MOST_COMPLETIONS,
        () => 0,
      ),
      ...chunks(
        sorted.filter(({ result }) => result !== null),
        MOST_RESULTS,
        ({ result }) => result?.length ?? 0,
      ),
    ];
    let changed = 0;
    for (const part of parts) {
      const sql = this.#completion(part, nowMs, left);
      yield parts.length === 1 && completions.length > 1
        ? { sql, params: [], alone: true }
        : { sql, params: [] };
      changed += Number((yield* query(CHANGES_SQL))[0]?.[0]);
    }
    if (changed === completions.length) {
      return completions.map(() => true);
    }
    // A run ends once, and nobody else ends it so: what is completed under it was done here, perhaps
    // in a transaction whose answer was lost.
    const rows = yield* query(
      `SELECT run_id FROM ${this.#t.jobs} WHERE seq IN (?*) AND status = 'completed'`,
      [JSON.stringify(completions.map((each) => each.seq))],
    );
    const won = new Set(rows.map((row) => row[0]));
    return completions.map((each) => won.has(each.runId));
  }

  /** Reports of one run that share a transaction are merged in time: the last word of each counts. */
  override *report(reports: readonly RunReport[], nowMs: number): Script<readonly boolean[]> {
    const merged = new Map<string, RunReport>();
    for (const each of reports) {
      const before = merged.get(each.runId);
      merged.set(each.runId, before === undefined ? each : { ...before, ...present(each) });
    }
    const said = [...merged.values()].sort((a, b) => a.seq - b.seq);
    yield* this.#takeOne(said);
    let changed = 0;
    for (const part of chunks(said, MOST_REPORTS, lengthOfReport)) {
      yield* query(
        `UPDATE JSON_TABLE(?, '$[*]' COLUMNS (${REPORT_COLUMNS})) AS said
           STRAIGHT_JOIN ${this.#t.jobs} AS job ON job.seq = said.seq
         SET job.updated_at_ms = ?, job.started_at_ms = COALESCE(job.started_at_ms, said.started_at_ms),
           ${REPORTED.map(reported).join(', ')}
         WHERE job.run_id = said.run_id AND job.status IN ${ACTIVE}`,
        [JSON.stringify(part.map(reportAsArray)), nowMs],
      );
      changed += Number((yield* query(CHANGES_SQL))[0]?.[0]);
    }
    // A connection may count only rows that became different.
    if (changed === said.length) {
      return reports.map(() => true);
    }
    const rows = yield* query(
      `SELECT run_id FROM ${this.#t.jobs} WHERE seq IN (?*) AND status IN ${ACTIVE} ${this.#t.words.latest}`,
      [JSON.stringify(said.map((each) => each.seq))],
    );
    const held = new Set(rows.map((row) => row[0]));
    return reports.map((each) => held.has(each.runId));
  }

  /** Reads with a lock, decides and writes: nobody can come in between. */
  override *change(
    id: string,
    decide: Decide,
    tenantId: string | undefined,
    nowMs: number,
    news?: News,
  ): Script<ChangeResult | undefined> {
    const before = yield* this.#findLocked(id, tenantId);
    if (before === undefined) {
      return undefined;
    }
    const change = decide(before, nowMs);
    if (change === undefined) {
      return { before, after: before, changed: false };
    }
    let after = before;
    if (this.#isOurs) {
      yield* this.consequences.uniques.lockOf(before, change, true);
    }
    const removed = yield* this.consequences.before(before, change, nowMs);
    if (change.remove === true) {
      yield* query(`DELETE FROM ${this.#t.jobs} WHERE seq = ?`, [before.seq]);
      yield* removeDeleted(this.#t, before);
    } else {
      after = yield* this.#set(before, change, nowMs);
    }
    const result = yield* this.consequences.of({ before, after, change }, nowMs, news);
    return removed.length === 0 ? result : { ...result, others: removed };
  }

  override *oneLockAtATime(): Script<void> {
    yield* query(`SELECT version FROM ${this.#t.migrations} WHERE version = ? FOR UPDATE`, [
      CIRCLES_ROW,
    ]);
  }

  /** A job that a transaction of the application holds must not keep the others from living on. */
  override *renew(workerId: string, leaseMs: number, nowMs: number): Script<Renewal> {
    const rows = yield* query(
      `SELECT job_id, run_id, status, locked_by, timeout_sec, seq, lease_until_ms
       FROM ${this.#t.jobs} FORCE INDEX (${this.#t.index('jobs_phase')})
       WHERE ${HELD} AND worker_id = ? AND status IN ${ACTIVE}`,
      [workerId],
    );
    const free = yield* this.#passingOver(
      rows.map((row) => Number(row[5])),
      `worker_id = ? AND status IN ${ACTIVE}`,
      [workerId],
    );
    if (free.length > 0) {
      yield* query(`UPDATE ${this.#t.jobs} SET lease_until_ms = ? WHERE seq IN (?*)`, [
        nowMs + leaseMs,
        JSON.stringify(free),
      ]);
    }
    const reached = new Set(free);
    const others = rows.filter((row) => !reached.has(Number(row[5])));
    return { held: rows.map(heldOfRow), missed: missedOf(others, 6, leaseMs, nowMs) };
  }

  override *promote(
    limit: number,
    nowMs: number,
  ): Script<{ promoted: number; nextInMs: number | undefined }> {
    const { later, laterKey } = this.#t.words;
    const rows = yield* query(
      `SELECT seq FROM ${this.#t.jobs} FORCE INDEX (${this.#t.index('jobs_phase')})
       WHERE ${later} AND ${laterKey} <= ? ORDER BY ${laterKey} LIMIT ?`,
      [nowMs, limit],
    );
    const free = yield* this.#passingOver(
      rows.map((row) => Number(row[0])),
      `${later} AND ${laterKey} <= ?`,
      [nowMs],
    );
    if (free.length > 0) {
      yield* query(`UPDATE ${this.#t.jobs} SET ready = ${READY} WHERE seq IN (?*)`, [
        JSON.stringify(free),
      ]);
    }
    return { promoted: free.length, nextInMs: yield* this.nextDue(nowMs) };
  }

  /** The row of a run stays locked until the transaction ends, so nobody takes the job meanwhile. */
  *fence(run: TransactionRun, nowMs: number): Script<boolean> {
    const rows = yield* query(
      `SELECT lease_until_ms FROM ${this.#t.jobs} WHERE seq = ? AND job_id = ? AND run_id = ? AND status IN ${ACTIVE} FOR UPDATE`,
      [seqOfId(run.jobId) ?? -1, run.jobId, run.runId],
    );
    if (rows.length === 1 && Number(rows[0]?.[0]) < halfLease(run, nowMs)[0]) {
      yield* keepLease(this.#t, run, nowMs);
    }
    return rows.length === 1;
  }

  /** Stores the lines of runs that still hold their jobs, each one's in its order. */
  *log(batch: readonly RunLines[]): Script<void> {
    const rows = yield* query(
      `SELECT run_id, job_id FROM ${this.#t.jobs} WHERE seq IN (?*) AND status IN ${ACTIVE}`,
      [JSON.stringify(batch.map(({ seq }) => seq))],
    );
    const jobs = new Map(rows.map((row) => [String(row[0]), String(row[1])]));
    const lines = batch.flatMap(({ runId, lines: own }) => {
      const jobId = jobs.get(runId);
      return jobId === undefined
        ? []
        : own.map(
            ([atMs, level, message, fields]) =>
              `(${literal(jobId)},${literal(runId)},${atMs},${level},${literal(message)},${literal(fields)})`,
          );
    });
    for (const part of chunks(lines, MOST_LINES, (line) => line.length)) {
      yield {
        sql: `INSERT INTO ${this.#t.logs} (job_id, run_id, at_ms, level, message, fields) VALUES ${part.join(',')}`,
        params: [],
      };
    }
  }

  #completion(part: readonly Completion[], nowMs: number, left: number): string {
    const runs = part.map(({ seq, runId }) => `(${seq},${literal(runId)})`).join(',');
    // Pairs alone lead MariaDB to no row.
    const seqs = list(part.map(({ seq }) => seq));
    return `UPDATE ${this.#t.jobs} SET
        status = 'completed', sequence = sequence + 1, finished_at_ms = ${nowMs}, updated_at_ms = ${nowMs},
        lease_until_ms = NULL, eta_ms = NULL, progress = 1, error = NULL,
        started_at_ms = COALESCE(started_at_ms, ${starts(part)})${results(part)}
      WHERE seq IN ${seqs} AND (seq, run_id) IN (${runs}) AND status = 'running'
        AND ${endsAlone('extras', left)}`;
  }

  /** Those of the rows that nobody has locked and that still meet the condition, locked. */
  *#passingOver(
    seqs: readonly number[],
    condition: string,
    params: readonly (string | number)[],
  ): Script<readonly number[]> {
    if (seqs.length === 0) {
      return [];
    }
    const rows = yield* query(
      `SELECT seq FROM ${this.#t.jobs} FORCE INDEX (PRIMARY) WHERE seq IN (?*) AND ${condition} FOR UPDATE SKIP LOCKED`,
      [JSON.stringify(seqs.toSorted((a, b) => a - b)), ...params],
    );
    return rows.map((row) => Number(row[0]));
  }

  /**
   * A session cannot wait for less than a second. Work on a single row, which is what is singled out
   * after it met a lock, does not wait at all and is tried again.
   */
  *#takeOne(items: readonly { readonly seq: number }[]): Script<void> {
    const [item] = items;
    if (this.#isOurs && item !== undefined && items.length === 1) {
      yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE seq = ? FOR UPDATE NOWAIT`, [item.seq]);
    }
  }

  /** One that waits for others is locked beside its row too: see `JobScripts.change`. */
  *#findLocked(id: string, tenantId: string | undefined): Script<JobEntity | undefined> {
    const seq = seqOfId(id);
    if (seq === undefined) {
      return undefined;
    }
    const lock = this.#isOurs ? 'FOR UPDATE NOWAIT' : 'FOR UPDATE';
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq = ? ${lock}`,
      [seq],
    );
    const job = rows.map(jobOfRow)[0];
    if (job?.id !== id || (tenantId !== undefined && job.tenantId !== tenantId)) {
      return undefined;
    }
    const beside = hasExtra(job.extras, EXTRA.parents) ? lock : this.latest;
    return (yield* readBeside(this.#t, [job], beside))[0];
  }

  *#set(before: JobEntity, change: JobChange, nowMs: number): Script<JobEntity> {
    const set = withDerived(before, change.set, nowMs);
    const names = Object.keys(set) as JobField[];
    const values = names.map((name) => boundValue(set[name]));
    yield* query(
      `UPDATE ${this.#t.jobs} SET ${names.map((name) => `${JOB_COLUMNS[name]} = ?`).join(', ')} WHERE seq = ?`,
      [...values, before.seq],
    );
    yield* this.archive(before, change.archiveRun, nowMs);
    return Object.assign(
      new JobEntity(),
      before,
      Object.fromEntries(names.map((name, at) => [name, values[at]])),
    );
  }
}

/** The row of the migrations' table that is locked while circles of locks are looked for. */
export const CIRCLES_ROW = -1;

/** When the runs began: most of a burst began in a few milliseconds. */
function starts(part: readonly Completion[]): string {
  const bySecond = new Map<number, number[]>();
  for (const { seq, startedAtMs } of part) {
    const seqs = bySecond.get(startedAtMs);
    if (seqs === undefined) {
      bySecond.set(startedAtMs, [seq]);
    } else {
      seqs.push(seq);
    }
  }
  const times = [...bySecond].sort((a, b) => a[1].length - b[1].length);
  const last = times.pop()?.[0] ?? null;
  const choices = times.map(([ms, seqs]) => ` WHEN seq IN ${list(seqs)} THEN ${ms}`).join('');
  return choices === '' ? literal(last) : `CASE${choices} ELSE ${literal(last)} END`;
}

function results(part: readonly Completion[]): string {
  const choices = part
    .filter(({ result }) => result !== null)
    .map(({ seq, result }) => ` WHEN ${seq} THEN ${literal(result)}`)
    .join('');
  return choices === '' ? '' : `, result = CASE seq${choices} ELSE result END`;
}

/** An expected end of 0 is none. */
function reported({ column }: (typeof REPORTED)[number]): string {
  const value = `COALESCE(said.${column}, job.${column})`;
  return `job.${column} = ${column === 'eta_ms' ? `NULLIF(${value}, 0)` : value}`;
}

function present(report: RunReport): Partial<RunReport> {
  return Object.fromEntries(Object.entries(report).filter(([, value]) => value !== undefined));
}

function lengthOfReport({ message, state, result }: RunReport): number {
  return 200 + (message?.length ?? 0) + (state?.length ?? 0) + (result?.length ?? 0);
}
