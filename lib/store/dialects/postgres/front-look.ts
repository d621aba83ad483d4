import type { Lane } from '../../typeorm/claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Row, type Script } from '../sql.js';
import { texts } from './arrays.js';

/** A lane with jobs of more priorities is not looked through. */
const MOST_PRIORITIES = 16;

/** The first ready job of each priority in some lanes. */
export interface Front {
  readonly first: readonly {
    readonly type: string;
    readonly channel: string;
    readonly priority: number;
    readonly runAtMs: number;
  }[];
  /** Whether there are no more. */
  readonly isWhole: boolean;
  /** How long it took the server to find them. */
  readonly tookMs: number;
}

/** Looks where ready jobs begin, from the first entry of the index on, and says how long that took. */
export class FrontLook {
  readonly #sql: string;

  constructor({ jobs }: TableNames) {
    const first = (lane: string, after: string): string =>
      `(SELECT priority, run_at_ms FROM ${jobs} AS job
        WHERE ready = 1 AND job.type = ${lane}.type AND job.channel = ${lane}.channel${after}
        ORDER BY priority DESC, run_at_ms, seq LIMIT 1) AS first`;
    // One step from each priority to the next lower one that there are jobs of. The time comes last, when
    // all of that is done.
    this.#sql = `WITH RECURSIVE found (n, type, channel, priority, run_at_ms) AS (
        SELECT 1, lane.type, lane.channel, first.priority, first.run_at_ms
        FROM unnest(?::text[], ?::text[]) AS lane (type, channel) CROSS JOIN LATERAL ${first('lane', '')}
        UNION ALL
        SELECT n + 1, found.type, found.channel, first.priority, first.run_at_ms
        FROM found CROSS JOIN LATERAL ${first('found', ' AND job.priority < found.priority')}
        WHERE n < ${MOST_PRIORITIES})
      SELECT n, type, channel, priority, run_at_ms FROM found
      UNION ALL
      SELECT NULL, NULL, NULL, NULL, (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)::bigint`;
  }

  *script(lanes: readonly Lane[]): Script<Front> {
    const rows = yield* query(this.#sql, [
      texts(lanes.map(([type]) => type)),
      texts(lanes.map(([, channel]) => channel)),
    ]);
    return frontOf(rows);
  }
}

function frontOf(rows: readonly Row[]): Front {
  const found = rows.slice(0, -1);
  return {
    first: found.map((row) => ({
      type: String(row[1]),
      channel: String(row[2]),
      priority: Number(row[3]),
      runAtMs: Number(row[4]),
    })),
    isWhole: found.every((row) => Number(row[0]) < MOST_PRIORITIES),
    tookMs: Number(rows.at(-1)?.[4]),
  };
}
