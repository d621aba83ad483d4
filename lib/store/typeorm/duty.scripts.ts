import { JobEntity } from '../../entities/job.entity.js';
import { query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { ChangeResult, JobChange, Standing } from '../store.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import { endsAlone, rowEndsAlone } from './ends-alone.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';

/** Jobs that may expire unstarted, and have. */
const OVERDUE = `expires_at_ms IS NOT NULL AND finished_at_ms IS NULL AND expires_at_ms <= ?
  AND status = 'waiting' AND revision = 0`;

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

  /** Whether there is anything to expire: most of the time there is not, and no lock is taken. */
  *isAnyOverdue(nowMs: number): Script<boolean> {
    const rows = yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE ${OVERDUE} LIMIT 1`, [nowMs]);
    return rows.length > 0;
  }

  /**
   * Skips overdue jobs, all in one statement: while they are ready, each claim looks at those that
   * are ahead of what it may take. Of one that was enqueued before anybody listened its row does not say
   * that it is heard: what is told of its end is written beside it.
   */
  *expire(
    limit: number,
    scripts: JobScripts,
    nowMs: number,
  ): Script<{ jobs: readonly JobEntity[]; results: readonly ChangeResult[] }> {
    const plain = yield* this.expirePlain(limit, nowMs);
    const { events } = scripts.consequences;
    const heard = plain.filter(({ tenantId }) => events.isHeard(tenantId));
    yield* events.skipped(heard, nowMs);
    const results: ChangeResult[] = heard.map((after) => ({
      before: Object.assign(new JobEntity(), after, { status: 'waiting' }),
      after,
      changed: true,
    }));
    for (const id of yield* this.overdueOfOthers(limit, nowMs)) {
      const result = yield* scripts.change(id, expired, undefined, nowMs);
      if (result?.changed === true) {
        results.push(result);
      }
    }
    return { jobs: plain.filter(({ tenantId }) => !events.isHeard(tenantId)), results };
  }

  /**
   * Those whose end concerns nobody else. That is asked of the row itself too: only so PostgreSQL looks
   * again where it waited for whoever has begun to wait for the job.
   */
  protected *expirePlain(limit: number, nowMs: number): Script<readonly JobEntity[]> {
    const skipped = yield* query(
      `UPDATE ${this.#t.rows} SET status = 'skipped', details = 'expired', ready = 0,
         sequence = sequence + 1, finished_at_ms = ?, updated_at_ms = ?
       WHERE status = 'waiting' AND revision = 0 AND ${rowEndsAlone(this.#t)}
         AND seq IN (SELECT seq FROM ${this.#t.rows} WHERE ${OVERDUE} AND ${rowEndsAlone(this.#t)}
         ORDER BY expires_at_ms LIMIT ? + 0)
       RETURNING seq`,
      [nowMs, nowMs, nowMs, limit],
    );
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
      [JSON.stringify(skipped.map((row) => Number(row[0])))],
    );
    return rows.map(jobOfRow);
  }

  /** Ids of the others. */
  protected *overdueOfOthers(limit: number, nowMs: number): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE ${OVERDUE} AND NOT ${endsAlone()}
       ORDER BY expires_at_ms ${this.#t.words.limit}`,
      [nowMs, limit],
    );
    return rows.map((row) => String(row[0]));
  }

  *standings(ids: readonly string[]): Script<ReadonlyMap<string, Standing>> {
    const rows = yield* query(
      `SELECT job_id, status, sequence, progress FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
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

function expired({ status, revision }: JobEntity, nowMs: number): JobChange | undefined {
  return status === 'waiting' && revision === 0
    ? { set: { status: 'skipped', details: 'expired', finishedAtMs: nowMs } }
    : undefined;
}
