/**
 * The one place that asks SQLite for the time, in Unix milliseconds. Rounded, because the seconds
 * come as a binary fraction.
 */
export const PRESENT = "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)";

/** The bound value is the shift that tests set. */
export const NOW_SQL = `SELECT ${PRESENT} + ?`;

/** The database's clock as this process knows it. */
export class DatabaseClock {
  /** Milliseconds that are added to the database's time: for tests, 0 otherwise. */
  shiftMs = 0;

  #offsetMs = 0;

  /** Takes note of a time that the database gave. */
  observe(nowMs: number): number {
    this.#offsetMs = nowMs - Date.now();
    return nowMs;
  }

  /** The database's time, estimated from the last one it gave. */
  estimateMs(): number {
    return Date.now() + this.#offsetMs;
  }
}
