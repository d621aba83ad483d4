import { DutyScripts } from '../../typeorm/duty.scripts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script } from '../sql.js';

/** What the background duties look for, where PostgreSQL goes another way. */
export class PostgresDutyScripts extends DutyScripts {
  readonly #expired: string;

  constructor(tables: TableNames) {
    super(tables);
    const held = `FROM ${tables.jobs} AS job WHERE job.lease_until_ms IS NOT NULL`;
    const next = (after: string): string =>
      `(SELECT job.worker_id ${held}${after} ORDER BY job.worker_id LIMIT 1)`;
    // The index of leases is led by the worker, since each looks at its own many times a second: so
    // here one step leads from worker to worker, and one to the first lease of each.
    this.#expired = `WITH RECURSIVE worker (id) AS (
        SELECT ${next('')}
        UNION ALL
        SELECT ${next(' AND job.worker_id > worker.id')} FROM worker WHERE id IS NOT NULL)
      SELECT expired.job_id FROM worker CROSS JOIN LATERAL (
        SELECT job.job_id, job.lease_until_ms ${held} AND job.worker_id = worker.id AND job.lease_until_ms < ?
        ORDER BY job.lease_until_ms LIMIT ?) AS expired
      ORDER BY expired.lease_until_ms LIMIT ?`;
  }

  override *expiredLeases(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(this.#expired, [nowMs, limit, limit]);
    return rows.map((row) => String(row[0]));
  }
}
