import type { JobLogEntity } from '../../entities/job-log.entity.js';
import type { JobRunEntity } from '../../entities/run.entity.js';
import type { Session } from '../dialects/session.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import type { HeldRuns, HistoryStore, RunLines } from '../store.js';
import type { BatchKind } from '../write-batch.js';
import type { Writer } from '../writer.js';
import { runningRuns, runOfRow } from './interrupt.scripts.js';
import { ACTIVE } from './job.scripts.js';
import { readsOf } from './reads.js';
import { besideAndParents, relatedJobs, waitingFor } from './related-jobs.js';
import type { TableNames } from './table-names.js';

/** Builds the history's part of the store. */
export function historyStore(
  tables: TableNames,
  session: () => Session,
  writer: () => Writer,
  log: (batch: readonly RunLines[]) => Script<void> = (batch) => insertLines(tables, batch),
): HistoryStore {
  const logKind: BatchKind<readonly RunLines[], undefined> = {
    name: 'log',
    // Before anything that may end a run, which fences its lines off.
    rank: 12,
    isQuiet: true,
    maxItems: 4,
    *script(batches) {
      yield* log(batches.flat());
      return batches.map(() => undefined);
    },
  };
  const read = readsOf(session);
  return {
    runs: (jobId) => read(() => runs(tables, jobId), 'search'),
    heldRuns: (workerIds, most) => read(() => heldRuns(tables, workerIds, most), 'search'),
    running: (wanted) => read((nowMs) => runningRuns(tables, wanted, nowMs), 'search'),
    beside: (job) => read(() => besideAndParents(tables, job)),
    waitingFor: (parents, after) => read(() => waitingFor(tables, parents, after), 'search'),
    related: (job) => read(() => relatedJobs(tables, job), 'search'),
    log: async (batch) => writer().add(logKind, batch, 'engine'),
    lines: (jobId, request) => read(() => lines(tables, jobId, request), 'search'),
  };
}

function* runs(t: TableNames, jobId: string): Script<readonly JobRunEntity[]> {
  const rows = yield* query(
    `SELECT run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, ended_at_ms, outcome, error, completed, total
     FROM ${t.runs} WHERE job_id = ? ORDER BY revision`,
    [jobId],
  );
  return rows.map((row) => ({
    id: String(row[0]),
    jobId: String(row[1]),
    revision: Number(row[2]),
    workerId: row[3] as string | null,
    startedAtMs: numberOrNull(row[4]),
    updatedAtMs: Number(row[5]),
    endedAtMs: numberOrNull(row[6]),
    outcome: row[7] as JobRunEntity['outcome'],
    error: row[8] as string | null,
    completed: numberOrNull(row[9]),
    total: numberOrNull(row[10]),
  }));
}

/** Visits only what is held, by the index of leases: as much as all processes run and have claimed ahead. */
export function* heldRuns(
  t: TableNames,
  workerIds: readonly string[],
  most: number,
): Script<ReadonlyMap<string, HeldRuns>> {
  if (workerIds.length === 0) {
    return new Map();
  }
  const rows = yield* query(
    `SELECT run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, completed, total, held_runs
     FROM (
       SELECT run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, completed, total, seq,
         ROW_NUMBER() OVER (PARTITION BY worker_id ORDER BY seq) AS place,
         COUNT(*) OVER (PARTITION BY worker_id) AS held_runs
       FROM ${t.jobs}${t.words.using(t.index('jobs_phase'))}
       WHERE ${t.words.held} AND status IN ${ACTIVE} AND worker_id ${t.words.amongTexts}
     ) AS held WHERE place <= ? ORDER BY worker_id, seq`,
    [JSON.stringify(workerIds), most],
  );
  const found = new Map<string, { runs: JobRunEntity[]; count: number }>();
  for (const row of rows) {
    const workerId = String(row[3]);
    const held = found.get(workerId) ?? { runs: [], count: Number(row[8]) };
    found.set(workerId, held);
    held.runs.push(runOfRow(row));
  }
  return found;
}

/**
 * Stores the lines of runs that still hold their jobs, in one statement: the runs are looked up in
 * the order given, and each one's lines follow in theirs.
 */
export function* insertLines(t: TableNames, batch: readonly RunLines[]): Script<void> {
  yield* query(
    `INSERT INTO ${t.logs} (job_id, run_id, at_ms, level, message, fields)
     SELECT job.job_id, job.run_id, line.value ->> 0, line.value ->> 1, line.value ->> 2, line.value ->> 3
     FROM json_each(?) AS run CROSS JOIN ${t.jobs} AS job CROSS JOIN json_each(run.value, '$[2]') AS line
     WHERE job.seq = run.value ->> 0 AND job.run_id = run.value ->> 1
       AND job.status IN ('running', 'canceling', 'suspending', 'locked')`,
    [JSON.stringify(batch.map(({ seq, runId, lines }) => [seq, runId, lines]))],
  );
}

function* lines(
  t: TableNames,
  jobId: string,
  request: Parameters<HistoryStore['lines']>[1],
): Script<readonly JobLogEntity[]> {
  const { after, level, tail } = request;
  const rows = yield* query(
    `SELECT seq, job_id, run_id, at_ms, level, message, fields FROM ${t.logs}
     WHERE job_id = ? AND seq > ? AND level >= ? ORDER BY seq${tail === undefined ? '' : ' DESC'} LIMIT ?`,
    [jobId, after, level, tail ?? request.limit],
  );
  const found = rows.map((row) => ({
    seq: Number(row[0]),
    jobId: String(row[1]),
    runId: String(row[2]),
    atMs: Number(row[3]),
    level: Number(row[4]),
    message: String(row[5]),
    fields: row[6] as string | null,
  }));
  return tail === undefined ? found : found.reverse();
}

function numberOrNull(value: SqlValue | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
