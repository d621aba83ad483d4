import { EARLIEST_ID_MS, FOLLOWED_AFTER_MS, LATEST_ID_MS } from '../../../model/id.js';
import { PER_MS, seqOfMs } from '../shared/row-numbers.js';
import { query, type Script } from '../sql.js';
import { NOW_SQL } from './sqlite-clock.js';

const MOST_AHEAD = FOLLOWED_AFTER_MS * PER_MS;

/**
 * The first of so many free numbers of this very millisecond, as a table of one row with the column
 * `first`, for a statement that inserts so many; a shift of the database's time is bound. No row when
 * there are not as many: numbers have run ahead of the clock, or it is wrong by decades.
 */
export function freeNumbersSql(table: string, count: number): string {
  return `SELECT first FROM (
      SELECT present, MAX(present, COALESCE((SELECT MAX(seq) FROM ${table} WHERE seq < present + ${MOST_AHEAD}), -1) + 1) AS first
      FROM (SELECT (now - ${EARLIEST_ID_MS}) * ${PER_MS} AS present FROM (${NOW_SQL} AS now)
        WHERE now BETWEEN ${EARLIEST_ID_MS} AND ${LATEST_ID_MS}))
    WHERE first + ${count} <= present + ${PER_MS}`;
}

/**
 * The first of so many free row numbers in a row, behind all others: no number is ever given out
 * twice because whoever asks holds the write lock. A clock that was set back is followed once it is
 * more than a minute behind; until then numbers go on from the last one.
 */
export function* freeNumbers(table: string, count: number, nowMs: number): Script<number> {
  const present = Math.max(0, seqOfMs(Math.min(nowMs, LATEST_ID_MS)));
  const beyond = present + MOST_AHEAD;
  const last = yield* query(`SELECT MAX(seq) FROM ${table} WHERE seq < ?`, [beyond]);
  const first = Math.max(present, Number(last[0]?.[0] ?? -1) + 1);
  if (first + count <= beyond) {
    return first;
  }
  const highest = yield* query(`SELECT MAX(seq) FROM ${table}`);
  return Number(highest[0]?.[0] ?? 0) + 1;
}
