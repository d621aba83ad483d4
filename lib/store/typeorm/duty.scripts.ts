import { query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/sqlite/row-numbers.js';
import type { Standing } from '../store.js';
import type { TableNames } from './table-names.js';

/** What the background duties look for. */
export class DutyScripts {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *expiredLeases(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE lease_until_ms IS NOT NULL AND lease_until_ms < ?
       ORDER BY lease_until_ms LIMIT ?`,
      [nowMs, limit],
    );
    return rows.map((row) => String(row[0]));
  }

  *overdue(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs}
       WHERE expires_at_ms IS NOT NULL AND finished_at_ms IS NULL AND expires_at_ms <= ?
         AND status = 'waiting' AND revision = 0
       ORDER BY expires_at_ms LIMIT ?`,
      [nowMs, limit],
    );
    return rows.map((row) => String(row[0]));
  }

  *standings(ids: readonly string[]): Script<ReadonlyMap<string, Standing>> {
    const rows = yield* query(
      `SELECT job_id, status, sequence, progress FROM ${this.#t.jobs} WHERE seq IN (SELECT value FROM json_each(?))`,
      [JSON.stringify(ids.map(seqOfId))],
    );
    return new Map(
      rows.map((row) => [
        String(row[0]),
        {
          status: row[1] as Standing['status'],
          sequence: Number(row[2]),
          progress: Number(row[3]),
        },
      ]),
    );
  }
}
