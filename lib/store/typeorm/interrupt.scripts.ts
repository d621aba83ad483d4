import type { JobRunEntity } from '../../entities/run.entity.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import type { RunningQuery, RunningRuns } from '../store.js';
import { ACTIVE } from './job.scripts.js';
import type { TableNames } from './table-names.js';

const COLUMNS =
  'run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, completed, total, seq';

/**
 * The runs that workers hold, of the jobs enqueued first. A worker that is not on the list was heard
 * when its run was last written. Visits only what is held, by the index of leases.
 */
export function* runningRuns(
  t: TableNames,
  wanted: RunningQuery,
  nowMs: number,
): Script<RunningRuns> {
  const { tenantId, workerId, silentForMs = 0, after = 0, offset = 0, limit } = wanted;
  const conditions: string[] = [];
  const params: SqlValue[] = [];
  const only = (condition: string, value: SqlValue): void => {
    conditions.push(condition);
    params.push(value);
  };
  if (tenantId !== undefined) {
    only('tenant_id = ?', tenantId);
  }
  if (workerId !== undefined) {
    only('worker_id = ?', workerId);
  }
  if (silentForMs > 0) {
    only(
      `COALESCE((SELECT heartbeat_at_ms FROM ${t.workers} AS worker WHERE worker.worker_id = held.worker_id), updated_at_ms) <= ?`,
      nowMs - silentForMs,
    );
  }
  const held = `FROM (
      SELECT ${COLUMNS}, tenant_id FROM ${t.jobs}${t.words.using(t.index('jobs_phase'))}
      WHERE ${t.words.held} AND status IN ${ACTIVE}
    ) AS held WHERE ${['seq > ?', ...conditions].join(' AND ')}`;
  const counted = yield* query(`SELECT COUNT(*) ${held}`, [0, ...params]);
  const rows = yield* query(
    `SELECT ${COLUMNS} ${held} ORDER BY seq ${t.words.limit} OFFSET ${Math.trunc(offset)}`,
    [after, ...params, limit],
  );
  return {
    runs: rows.map(runOfRow),
    count: Number(counted[0]?.[0]),
    next: rows.length < limit ? undefined : Number(rows.at(-1)?.[8]),
  };
}

/** A run that is under way, as the row of its job tells it. */
export function runOfRow(row: readonly SqlValue[]): JobRunEntity {
  return {
    id: String(row[0]),
    jobId: String(row[1]),
    revision: Number(row[2]),
    workerId: String(row[3]),
    startedAtMs: numberOrNull(row[4]),
    updatedAtMs: Number(row[5]),
    endedAtMs: null,
    outcome: 'running',
    error: null,
    completed: numberOrNull(row[6]),
    total: numberOrNull(row[7]),
  };
}

function numberOrNull(value: SqlValue | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
