import type { JobEntity } from '../../../entities/job.entity.js';
import { DutyScripts } from '../../typeorm/duty.scripts.js';
import { ALL_JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import { endsAlone } from '../../typeorm/ends-alone.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script } from '../sql.js';
import { HELD } from './mysql-words.js';

/** What the background duties look for, by the indexes that are there on MySQL and MariaDB. */
export class MysqlDutyScripts extends DutyScripts {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    super(tables);
    this.#t = tables;
  }

  override *expiredLeases(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} FORCE INDEX (${this.#t.index('jobs_phase')})
       WHERE ${HELD} AND phase_at_ms < ? ORDER BY phase_at_ms LIMIT ?`,
      [nowMs, limit],
    );
    return rows.map((row) => String(row[0]));
  }

  override *isAnyOverdue(nowMs: number): Script<boolean> {
    const rows = yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE overdue_at_ms <= ? LIMIT 1`, [
      nowMs,
    ]);
    return rows.length > 0;
  }

  protected override *expirePlain(limit: number, nowMs: number): Script<readonly JobEntity[]> {
    const found = yield* query(
      `SELECT seq FROM ${this.#t.jobs} WHERE overdue_at_ms <= ? AND ${endsAlone()} ORDER BY overdue_at_ms LIMIT ?`,
      [nowMs, limit],
    );
    const free = yield* query(
      `SELECT seq FROM ${this.#t.jobs} FORCE INDEX (PRIMARY)
       WHERE seq IN (?*) AND overdue_at_ms <= ? AND ${endsAlone()} FOR UPDATE SKIP LOCKED`,
      [JSON.stringify(found.map((row) => Number(row[0])).sort((a, b) => a - b)), nowMs],
    );
    const seqs = JSON.stringify(free.map((row) => row[0]));
    yield* query(
      `UPDATE ${this.#t.jobs} SET status = 'skipped', details = 'expired', ready = 0,
         sequence = sequence + 1, finished_at_ms = ?, updated_at_ms = ?
       WHERE seq IN (?*)`,
      [nowMs, nowMs, seqs],
    );
    const rows = yield* query(`SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq IN (?*)`, [
      seqs,
    ]);
    return rows.map(jobOfRow);
  }

  protected override *overdueOfOthers(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE overdue_at_ms <= ? AND NOT ${endsAlone()} LIMIT ?`,
      [nowMs, limit],
    );
    return rows.map((row) => String(row[0]));
  }
}
