/**
 * What stands beside the row of a job, bit by bit: `extras` is null for a plain job, which nothing
 * but its row is ever read or written for.
 */
export const EXTRA = {
  /**
   * Other jobs depend on it. It makes no row longer, which would not fit into a full page: SQLite stores
   * a 1 in as many bytes as null, and on MySQL and MariaDB plain jobs have a 0.
   */
  dependents: 1,
  /** It depends on other jobs. */
  parents: 2,
  /** It holds, or has held, a unique key. */
  unique: 4,
  /** It has a `status_hook` of its own. */
  hook: 8,
  /** A schedule made it. */
  schedule: 16,
  /** It waits for a signal now. */
  signal: 32,
  /** It has checked in. */
  checkedIn: 64,
  /** Steps or signals are stored for it. */
  steps: 128,
  /** It waits for its signal until `run_at`, no longer. */
  deadline: 256,
  /** Events of it are stored. */
  events: 512,
  /** Its `status_hook` is told nothing any more. */
  hookDropped: 1024,
} as const;

/** Of a job with one of these more is said in a row of `job_extras`; of others it is neither written nor read. */
export const SAID_BESIDE =
  EXTRA.parents | EXTRA.unique | EXTRA.hook | EXTRA.hookDropped | EXTRA.schedule | EXTRA.checkedIn;

/** Of a job with one of these it is perhaps told what happens to it. */
export const TOLD_OF = EXTRA.hook | EXTRA.events;

/** The end of a job with one of these says something about others: many have to be told of it, or one schedule. */
export const SETTLED_ALONE = TOLD_OF | EXTRA.schedule;

/** The end of a job with one of these concerns others. */
export const CONCERNS_OTHERS = EXTRA.dependents | SETTLED_ALONE;

/** Whether a job has any of so many extras. */
export function hasExtra(extras: number | null, bits: number): boolean {
  return extras !== null && (extras & bits) !== 0;
}

/** The same bits for a job that waits for no signal. */
export function withoutWait(extras: number | null): number | null {
  return extras === null ? null : extras & ~(EXTRA.signal | EXTRA.deadline);
}

/** Whether a waiting job waits for something that has no time: other jobs, or a signal. */
export function isHeldBack(extras: number | null, blockedBy: number): boolean {
  return (
    (hasExtra(extras, EXTRA.parents) && blockedBy > 0) ||
    (hasExtra(extras, EXTRA.signal) && !hasExtra(extras, EXTRA.deadline))
  );
}
