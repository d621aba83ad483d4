import type { JobEntity } from '../../../entities/job.entity.js';
import type { LimitedRequest } from '../../store.js';
import type { JobScripts } from '../../typeorm/job.scripts.js';
import { atWorkOf, type AtWork, type LimitRoom } from '../../typeorm/limit-room.js';
import {
  candidateOf,
  type Candidate,
  type InLine,
  type LimitLane,
  type Line,
} from '../../typeorm/limit-turns.js';
import { LimitedClaims, type Served } from '../../typeorm/limited-claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script, type SqlValue } from '../sql.js';
import { MAY_START, ORDER, type MysqlClaimScript } from './claim.script.js';
import { HELD, MYSQL_NOW } from './mysql-words.js';

/** Lines that are looked at in one statement. */
const MOST_LINES = 50;

/**
 * Claims within limits on MySQL and MariaDB. The rows of the limits are locked first, by one process
 * at a time; whoever has them waits for no other lock, so nobody waits in a circle.
 */
export class MysqlLimitedClaims extends LimitedClaims {
  protected override readonly countsAll = true;
  protected override readonly now = MYSQL_NOW;
  readonly #claims: MysqlClaimScript;
  readonly #ready: string;

  constructor(tables: TableNames, scripts: JobScripts, claims: MysqlClaimScript) {
    super(tables, scripts, 'FOR UPDATE');
    this.#claims = claims;
    this.#ready = `FROM ${tables.jobs} FORCE INDEX (${tables.index('jobs_ready')})`;
  }

  protected override *lanes(request: Served): Script<readonly LimitLane[]> {
    const lanes = yield* this.#claims.lanesOf(request, [1, 2]);
    return lanes.map(([type, channel]) => ({ type, line: type, channel }));
  }

  protected override *turns(
    lanes: readonly LimitLane[],
    after: string | null,
    most: number,
  ): Script<readonly InLine[]> {
    const found: InLine[] = [];
    for (const lane of lanes) {
      const own: SqlValue[] = [lane.type, lane.channel];
      const rows = yield* query(
        `SELECT DISTINCT limit_key ${this.#ready} WHERE ready = 2 AND type = ? AND channel = ?${
          after === null ? '' : ' AND limit_key > ?'
        } ORDER BY limit_key LIMIT ?`,
        [...own, ...(after === null ? [] : [after]), most],
      );
      for (const [key = null] of rows) {
        found.push({ lane, key: String(key) });
      }
      const unkeyed = yield* query(
        `SELECT 1 ${this.#ready} WHERE ready = 1 AND type = ? AND channel = ? LIMIT 1`,
        own,
      );
      if (unkeyed.length > 0) {
        found.push({ lane, key: null });
      }
    }
    return found;
  }

  protected override *atWork(
    _firstParts: readonly string[] | undefined,
    withReturning: boolean,
    room: LimitRoom,
  ): Script<readonly AtWork[]> {
    const rows = yield* query(
      `SELECT type, queue, limit_key, COUNT(*) FROM ${this.t.jobs} FORCE INDEX (${this.t.index('jobs_phase')})
       WHERE ${HELD} AND limit_key IS NOT NULL AND status <> 'resuming'
         AND (status <> 'locked'${withReturning ? ' OR locked_by IS NULL' : ''})
       GROUP BY type, queue, limit_key`,
    );
    const [now] = yield* query(`SELECT ${MYSQL_NOW}`);
    room.passTime(Number(now?.[0]));
    return rows.map(atWorkOf);
  }

  protected override *candidates(
    lines: readonly Line[],
    nowMs: number,
  ): Script<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (let from = 0; from < lines.length; from += MOST_LINES) {
      const part = lines.slice(from, from + MOST_LINES);
      const rows = yield* query(
        part
          .map(
            ({ key }, at) =>
              `(SELECT ${from + at}, seq, priority, run_at_ms ${this.#ready}
                WHERE type = ? AND channel = ? AND ${key === null ? 'ready = 1 AND limit_key IS NULL' : 'ready = 2 AND limit_key = ?'}
                  AND ${MAY_START} ${ORDER} LIMIT ?)`,
          )
          .join(' UNION ALL '),
        part.flatMap(({ lane, key, most }): SqlValue[] => [
          lane.type,
          lane.channel,
          ...(key === null ? [] : [key]),
          nowMs,
          most,
        ]),
      );
      for (const row of rows) {
        found.push(candidateOf(lines[Number(row[0])] as Line, row));
      }
    }
    return found;
  }

  protected override *takeLines(
    lines: readonly Line[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const found = yield* this.candidates(lines, nowMs);
    return found.length === 0 ? [] : yield* this.take(found, request, nowMs);
  }

  protected override take(
    chosen: readonly Candidate[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const keys = new Map(chosen.map(({ seq, line }) => [seq, line.key]));
    return this.#claims.take(keys, request, nowMs);
  }

  protected override *unkeyed(
    { type, channel }: LimitLane,
    most: number,
  ): Script<readonly (readonly [seq: number, tenantId: string])[]> {
    const rows = yield* query(
      `SELECT seq, tenant_id ${this.#ready} WHERE ready = 1 AND type = ? AND channel = ?
       LIMIT ? FOR UPDATE SKIP LOCKED`,
      [type, channel, most],
    );
    return rows.map((row) => [Number(row[0]), String(row[1])]);
  }
}
