import { CONCERNS_OTHERS } from '../../../model/extras.js';
import type {
  Completion,
  HeldRun,
  Renewal,
  RunLines,
  RunReport,
  TransactionRun,
} from '../../store.js';
import { heldOfRow, missedOf } from '../../typeorm/held.rows.js';
import { endsAlone } from '../../typeorm/ends-alone.js';
import { ACTIVE, bySeq, JobScripts } from '../../typeorm/job.scripts.js';
import { READY } from '../../typeorm/ready.js';
import { halfLease, LEASE_KEPT } from '../../typeorm/lease.scripts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { seqOfId } from '../shared/row-numbers.js';
import { CHANGES_SQL, query, queryAlone, type Script } from '../sql.js';
import { JOINED, joined, numbers, texts } from './arrays.js';

/** The statements on the path of a job, where PostgreSQL has its own. */
export class PostgresJobScripts extends JobScripts {
  readonly #t: TableNames;
  readonly #completeSql: string;
  readonly #completing: (left: number) => string;
  readonly #renewSql: string;
  readonly #reportSql: string;

  constructor(tables: TableNames, isOurs = true) {
    super(tables, isOurs);
    this.#t = tables;
    const { jobs } = tables;
    this.#completing = (left) => `UPDATE ${jobs} AS job SET
        status = 'completed', sequence = sequence + 1, finished_at_ms = ?, updated_at_ms = ?,
        lease_until_ms = NULL, eta_ms = NULL, progress = 1, error = NULL,
        started_at_ms = COALESCE(job.started_at_ms, ended.started_at_ms),
        result = COALESCE(ended.result, job.result)
      FROM unnest(?::bigint[], ${JOINED}, ?::bigint[], ${JOINED}) AS ended (seq, run_id, started_at_ms, result)
      WHERE job.seq = ended.seq AND job.run_id = ended.run_id AND job.status = 'running'
        AND ${endsAlone('job.extras', left)}`;
    this.#completeSql = this.#completing(CONCERNS_OTHERS);
    // A job that a transaction of the application holds must not keep the others from living on.
    this.#renewSql = `UPDATE ${jobs} SET lease_until_ms = ?
      WHERE seq = ANY(ARRAY(
        SELECT seq FROM ${jobs} WHERE lease_until_ms IS NOT NULL AND worker_id = ? AND status IN ${ACTIVE}
        FOR UPDATE SKIP LOCKED))`;
    const reported = (column: string): string =>
      `${column} = COALESCE(said.${column}, job.${column})`;
    this.#reportSql = `UPDATE ${jobs} AS job SET updated_at_ms = ?,
        started_at_ms = COALESCE(job.started_at_ms, said.started_at_ms),
        ${['progress', 'completed', 'total', 'progress_details', 'state', 'result', 'max_retries', 'retry_delay_sec', 'timeout_sec'].map(reported).join(', ')},
        eta_ms = NULLIF(COALESCE(said.eta_ms, job.eta_ms), 0)
      FROM unnest(?::bigint[], ?::text[], ?::bigint[], ?::float8[], ?::float8[], ?::float8[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::int[], ?::float8[], ?::float8[])
        AS said (seq, run_id, started_at_ms, progress, completed, total, progress_details, eta_ms, state, result, max_retries, retry_delay_sec, timeout_sec)
      WHERE job.seq = said.seq AND job.run_id = said.run_id AND job.status IN ${ACTIVE}
      RETURNING job.run_id`;
  }

  override *complete(
    completions: readonly Completion[],
    nowMs: number,
    left = CONCERNS_OTHERS,
  ): Script<readonly boolean[]> {
    const ended = bySeq(completions);
    const seqs = numbers(ended.map((each) => each.seq));
    yield {
      sql: left === CONCERNS_OTHERS ? this.#completeSql : this.#completing(left),
      params: [
        nowMs,
        nowMs,
        seqs,
        joined(ended.map((each) => each.runId)),
        numbers(ended.map((each) => each.startedAtMs)),
        ended.every((each) => each.result === null)
          ? null
          : joined(ended.map((each) => each.result)),
      ],
      alone: true,
      fuses: 'ahead',
    };
    const changed = yield* query(CHANGES_SQL);
    if (changed[0]?.[0] === completions.length) {
      return completions.map(() => true);
    }
    // A run ends once, and nobody else ends it so: what is completed under it was done here, perhaps
    // by a statement whose answer was lost.
    const rows = yield* query(
      `SELECT run_id FROM ${this.#t.jobs} WHERE seq = ANY(?::bigint[]) AND status = 'completed'`,
      [seqs],
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
    const said = [...merged.values()];
    const rows = yield* queryAlone(this.#reportSql, [
      nowMs,
      numbers(said.map((r) => r.seq)),
      texts(said.map((r) => r.runId)),
      numbers(said.map((r) => r.startedAtMs)),
      numbers(said.map((r) => r.progress)),
      numbers(said.map((r) => r.completed)),
      numbers(said.map((r) => r.total)),
      texts(said.map((r) => r.message)),
      numbers(said.map((r) => r.etaMs)),
      texts(said.map((r) => r.state)),
      texts(said.map((r) => r.result)),
      numbers(said.map((r) => r.maxRetries)),
      numbers(said.map((r) => r.retryDelaySec)),
      numbers(said.map((r) => r.timeoutSec)),
    ]);
    const held = new Set(rows.map((row) => row[0]));
    return reports.map((each) => held.has(each.runId));
  }

  override *oneLockAtATime(): Script<void> {
    yield* query('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [
      `nestjs-jobs locks ${this.#t.jobs}`,
    ]);
  }

  override *renew(workerId: string, leaseMs: number, nowMs: number): Script<Renewal> {
    // No transaction, here and below, that a process could hold open while its event loop is blocked.
    yield* queryAlone(this.#renewSql, [nowMs + leaseMs, workerId]);
    const rows = yield* query(
      `SELECT job_id, run_id, status, locked_by, timeout_sec, lease_until_ms FROM ${this.#t.jobs}
       WHERE lease_until_ms IS NOT NULL AND worker_id = ? AND status IN ${ACTIVE}`,
      [workerId],
    );
    return { held: rows.map(heldOfRow), missed: missedOf(rows, 5, leaseMs, nowMs) };
  }

  /**
   * By row numbers, not by leases: many times a second the index of leases would lead to every run
   * that has ended, as long as somebody's snapshot keeps their entries.
   */
  override *disturbed(
    workerId: string,
    writtenSinceMs: number,
    held: readonly number[],
  ): Script<readonly HeldRun[]> {
    const rows = yield* query(
      `SELECT job_id, run_id, status, locked_by, timeout_sec FROM ${this.#t.jobs}
       WHERE seq = ANY(?::bigint[]) AND worker_id = ? AND status IN ${ACTIVE}
         AND (status IN ('canceling', 'suspending') OR (status = 'locked' AND locked_by IS NULL)
           OR (timeout_sec > 0 AND updated_at_ms > ?))`,
      [numbers(held), workerId, writtenSinceMs],
    );
    return rows.map(heldOfRow);
  }

  override *promote(
    limit: number,
    nowMs: number,
  ): Script<{ promoted: number; nextInMs: number | undefined }> {
    yield* queryAlone(
      `UPDATE ${this.#t.jobs} SET ready = ${READY} WHERE status = 'waiting' AND seq = ANY(ARRAY(
         SELECT seq FROM ${this.#t.jobs}
         WHERE status = 'waiting' AND ready = 0 AND run_at_ms <= ?
         ORDER BY run_at_ms LIMIT ? FOR UPDATE SKIP LOCKED))`,
      [nowMs, limit],
    );
    const changed = yield* query(CHANGES_SQL);
    return { promoted: Number(changed[0]?.[0]), nextInMs: yield* this.nextDue(nowMs) };
  }

  /** Not MIN: with statistics of an empty table that is worked out by walking through the index. */
  override *nextDue(nowMs: number): Script<number | undefined> {
    const rows = yield* query(
      `SELECT run_at_ms FROM ${this.#t.jobs} WHERE status = 'waiting' AND ready = 0 ORDER BY run_at_ms LIMIT 1`,
    );
    const [row] = rows;
    return row === undefined ? undefined : Math.max(0, Number(row[0]) - nowMs);
  }

  /** The row of a run stays locked until the transaction ends, so nobody takes the job meanwhile. */
  *fence(run: TransactionRun, nowMs: number): Script<boolean> {
    const rows = yield* query(
      `UPDATE ${this.#t.jobs} SET updated_at_ms = ?, ${LEASE_KEPT}
       WHERE seq = ? AND job_id = ? AND run_id = ? AND status IN ${ACTIVE} RETURNING seq`,
      [nowMs, ...halfLease(run, nowMs), seqOfId(run.jobId) ?? -1, run.jobId, run.runId],
    );
    return rows.length === 1;
  }

  /** Stores the lines of runs that still hold their jobs, each one's in its order. */
  *log(batch: readonly RunLines[]): Script<void> {
    const lines = batch.flatMap(({ seq, runId, lines: own }) =>
      own.map((line) => ({ seq, runId, line })),
    );
    if (lines.length === 0) {
      return;
    }
    yield* queryAlone(
      `INSERT INTO ${this.#t.logs} (job_id, run_id, at_ms, level, message, fields)
       SELECT job.job_id, job.run_id, line.at_ms, line.level, line.message, line.fields
       FROM unnest(?::bigint[], ?::text[], ?::bigint[], ?::int[], ?::text[], ?::text[])
         WITH ORDINALITY AS line (seq, run_id, at_ms, level, message, fields, n)
       JOIN ${this.#t.jobs} AS job ON job.seq = line.seq AND job.run_id = line.run_id AND job.status IN ${ACTIVE}
       ORDER BY line.n`,
      [
        numbers(lines.map(({ seq }) => seq)),
        texts(lines.map(({ runId }) => runId)),
        numbers(lines.map(({ line }) => line[0])),
        numbers(lines.map(({ line }) => line[1])),
        texts(lines.map(({ line }) => line[2])),
        texts(lines.map(({ line }) => line[3])),
      ],
    );
  }
}

function present(report: RunReport): Partial<RunReport> {
  return Object.fromEntries(Object.entries(report).filter(([, value]) => value !== undefined));
}
