import type { Duration } from './duration.js';
import { JobsError } from './errors.js';
import { isFinal, type JobStatus } from './job-status.js';

/** Until when a job holds its unique key: its first claim, or its end. */
export type UniqueUntil = 'started' | 'final';

/** What happens to a job whose unique key another one holds. */
export type UniqueConflict = 'reject' | 'return' | 'replace';

export const UNIQUE_UNTIL: readonly UniqueUntil[] = ['started', 'final'];
export const UNIQUE_CONFLICTS: readonly UniqueConflict[] = ['reject', 'return', 'replace'];

/** How jobs are unique: one at a time with the same key, within their tenant. */
export interface UniqueOptions {
  /** Any string of 1–255 characters. @default the type and its params, defaults included */
  readonly key?: string;
  /** When it is free again: at the job's first claim, or at its end. @default 'final' */
  readonly until?: UniqueUntil;
  /** Not before that long after the enqueue, however soon `until` is reached. @default 0 */
  readonly within?: Duration;
  /**
   * What an enqueue does that meets the holder of its key: it is refused with `duplicate_job`, gives
   * the job that is there, or lays its params and times over that one's while it still waits.
   * @default 'reject'
   */
  readonly onConflict?: UniqueConflict;
}

/** A unique key as a job to be stored claims it. */
export interface UniqueClaim {
  /** Unique within the tenant. */
  readonly key: string;
  readonly until: UniqueUntil;
  /** It is held for at least that long from the enqueue on; 0 is no longer than `until`. */
  readonly withinMs: number;
  readonly onConflict: UniqueConflict;
}

/** A job as far as it says whether it may get other params. */
export interface Replaceable {
  readonly type: string;
  readonly typeVersion: number;
  readonly status: JobStatus;
  readonly revision: number;
}

/** Why the holder of a key does not get the params of a job like that; undefined when it may. */
export function whyNotReplaced(
  holder: Replaceable,
  by: Pick<Replaceable, 'type' | 'typeVersion'>,
): string | undefined {
  const { type, typeVersion, status, revision } = holder;
  if (type !== by.type) {
    return `is of type ${type}; only a job of the same type is replaced`;
  }
  if (typeVersion !== by.typeVersion) {
    return `is of version ${typeVersion} of its type; only a job of the same version is replaced`;
  }
  if (isFinal(status)) {
    return `is ${status}, and has its key for a time (within); only a job that waits for its first run is replaced`;
  }
  if (status !== 'waiting' || revision > 0) {
    const how = status === 'waiting' ? 'waits for another run' : `is ${status}`;
    return `${how}; only a job that waits for its first run is replaced`;
  }
  return undefined;
}

/**
 * Another job holds the key; without an id it is an earlier one of the same call.
 *
 * @param kept why that one is not replaced, where that was asked for
 */
export function duplicateJob(
  { id, kept }: { readonly id?: string | undefined; readonly kept?: string | undefined },
  happened: string,
): JobsError {
  if (id === undefined) {
    const why = kept === undefined ? '' : `; the first ${kept}`;
    return new JobsError(
      'duplicate_job',
      `Two jobs of this call have the same unique key${why}, so ${happened}. Leave one of them out, or give them different keys.`,
    );
  }
  const [said, replace] =
    kept === undefined
      ? ['', " ('replace' is for one of the same type that has not begun)"]
      : [` and ${kept}`, ''];
  return new JobsError(
    'duplicate_job',
    `Job ${id} holds the same unique key${said}, so ${happened}. Wait until the key is free, ask for that job by the conflict mode 'return'${replace}, or use another key.`,
    { members: { job_id: id } },
  );
}
