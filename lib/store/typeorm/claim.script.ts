import type { JobEntity } from '../../entities/job.entity.js';
import { newId } from '../../model/id.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import type { ClaimRequest } from '../store.js';
import { CLAIMED_COLUMNS, claimedJobOfRow } from './claimed-job.js';
import type { TableNames } from './table-names.js';

/** A line of ready jobs: one range of the ready index. */
export type Lane = readonly [type: string, channel: string];

/** So many lanes are named in a statement; SQLite takes at most 500 parts of a UNION. */
const MOST_NAMED = 50;

const MAY_START = '(expires_at_ms IS NULL OR expires_at_ms > ? OR revision > 0)';
const ORDER = 'ORDER BY priority DESC, run_at_ms, seq';

/** Takes ready jobs, and says whether there are any. */
export class ClaimScript {
  readonly #t: TableNames;
  readonly #statements = new Map<number, string>();

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  /**
   * Takes ready jobs. Safe because it is one statement under the write lock: the rows it selects
   * are the rows it changes, and `ready` becomes 0 in the same step.
   *
   * Plan (asserted by test/store/plans.spec.ts): one range of the ready index for each type and
   * channel that the worker serves, merged in claim order, so the cost is the number of jobs taken
   * plus the number of lanes; delayed, running and ended rows and other lanes' backlogs are never
   * visited.
   */
  *claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]> {
    const { limit, starts } = request;
    const lanes = limit <= 0 ? [] : yield* this.lanes(request);
    if (lanes.length === 0) {
      return [];
    }
    // A run's id is this claim's own prefix and the end of the job's row number: distinct for each
    // row of one statement without a round trip, and distinct from every other claim by time and
    // chance.
    const prefix = newId(nowMs).slice(0, 24);
    const rows = yield* query(this.#statement(lanes.length), [
      prefix,
      request.workerId,
      nowMs + request.leaseMs,
      nowMs,
      starts ? nowMs : null,
      starts ? nowMs : null,
      request.queue,
      ...(lanes.length > MOST_NAMED
        ? [JSON.stringify(lanes), nowMs, limit]
        : lanes.flatMap((lane): SqlValue[] => [...lane, nowMs])),
      limit,
    ]);
    // RETURNING promises no order.
    return rows.map((row) => claimedJobOfRow(row, request, nowMs)).sort(byClaimOrder);
  }

  /** Whether there is anything that a claim would find, priorities and pauses aside. */
  *hasReady(request: ClaimRequest): Script<boolean> {
    if (request.channels === '*') {
      for (const type of request.types) {
        const rows = yield* query(
          `SELECT 1 FROM ${this.#t.jobs} WHERE ready = 1 AND type = ? LIMIT 1`,
          [type],
        );
        if (rows.length > 0) {
          return true;
        }
      }
      return false;
    }
    for (const lane of yield* this.lanes(request)) {
      const rows = yield* query(
        `SELECT 1 FROM ${this.#t.jobs} WHERE ready = 1 AND type = ? AND channel = ? LIMIT 1`,
        lane,
      );
      if (rows.length > 0) {
        return true;
      }
    }
    return false;
  }

  protected *lanes({ types, channels }: ClaimRequest): Script<readonly Lane[]> {
    return channels === '*'
      ? yield* this.lanesOfAllChannels(types)
      : types.flatMap((type) => channels.map((channel): Lane => [type, channel]));
  }

  /** Which channels have ready jobs: one step in the index for each, however many jobs it has. */
  protected *lanesOfAllChannels(types: readonly string[]): Script<readonly Lane[]> {
    const next = (after: string): string =>
      `(SELECT MIN(channel) FROM ${this.#t.jobs} WHERE ready = 1 AND type = lane.type${after})`;
    const rows = yield* query(
      `WITH RECURSIVE found (type, channel) AS (
         SELECT type, ${next('')} FROM (SELECT value AS type FROM json_each(?)) AS lane
         UNION ALL
         SELECT type, ${next(' AND channel > lane.channel')} FROM found AS lane WHERE channel IS NOT NULL)
       SELECT type, channel FROM found WHERE channel IS NOT NULL`,
      [JSON.stringify(types)],
    );
    return rows.map((row): Lane => [String(row[0]), String(row[1])]);
  }

  #statement(lanes: number): string {
    const key = Math.min(lanes, MOST_NAMED + 1);
    let sql = this.#statements.get(key);
    if (sql === undefined) {
      // `LIMIT ? + 0`: for a bare `LIMIT ?` SQLite prepares the statement anew at each execution.
      sql = `UPDATE ${this.#t.jobs} SET
          status = 'running', ready = 0, sequence = sequence + 1, revision = revision + 1,
          run_id = ? || printf('%012x', seq & 281474976710655), worker_id = ?,
          lease_until_ms = ?, updated_at_ms = ?, started_at_ms = ?,
          eta_ms = CASE WHEN timeout_sec > 0 THEN ? + CAST(timeout_sec * 1000 AS INTEGER) END
        WHERE status = 'waiting'
          AND NOT EXISTS (SELECT 1 FROM ${this.#t.queues} WHERE name = ? AND paused = 1)
          AND seq IN (SELECT seq FROM (
            ${lanes > MOST_NAMED ? this.#anyLanes() : this.#namedLanes(lanes)}
            ${ORDER} LIMIT ? + 0))
        RETURNING ${CLAIMED_COLUMNS}`;
      this.#statements.set(key, sql);
    }
    return sql;
  }

  #namedLanes(lanes: number): string {
    const lane = `SELECT seq, priority, run_at_ms FROM ${this.#t.jobs}
      WHERE ready = 1 AND type = ? AND channel = ? AND ${MAY_START}`;
    return Array.from({ length: lanes }, () => lane).join('\n UNION ALL ');
  }

  /** Of each lane no more rows than are wanted in all. */
  #anyLanes(): string {
    return `SELECT seq, priority, run_at_ms FROM json_each(?) AS lane, ${this.#t.jobs}
      WHERE seq IN (SELECT seq FROM ${this.#t.jobs}
        WHERE ready = 1 AND type = lane.value ->> 0 AND channel = lane.value ->> 1 AND ${MAY_START}
        ${ORDER} LIMIT ? + 0)`;
  }
}

/** The order in which jobs are taken. */
export function byClaimOrder(a: JobEntity, b: JobEntity): number {
  return b.priority - a.priority || a.runAtMs - b.runAtMs || a.seq - b.seq;
}
