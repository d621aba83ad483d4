import type { OnFailure } from './dependencies.js';
import type { Duration } from './duration.js';
import type { EnqueuedJob } from './job.js';
import type { JobsError } from './errors.js';
import type { UniqueOptions } from './unique.js';

/** A job that is waited for: its id, or with what follows when it does not complete. */
export type DependsOn = string | { readonly id: string; readonly onFailure?: OnFailure };

/** Options of `enqueue`; `M` is the caller's `EntityManager`. */
export interface EnqueueOptions<M = never> {
  /** Any string of 1–255 characters, unique in its tenant for as long as the job's row lives. */
  readonly idempotencyKey?: string;
  /** Not before then. */
  readonly runAt?: Date;
  /** Not before that long from now; not with `runAt`. */
  readonly delay?: Duration;
  /** Higher runs first; an integer. @default 0 */
  readonly priority?: number;
  /** Routing label of at most 64 characters. @default '' */
  readonly channel?: string;
  /** How long a run may take; 0 = no limit. @default the type's */
  readonly timeout?: Duration;
  /** @default the type's */
  readonly maxRetries?: number;
  /** @default the type's */
  readonly retryDelay?: Duration;
  /** A first checkpoint. */
  readonly state?: unknown;
  /** At most 20 of at most 64 characters. */
  readonly tags?: readonly string[];
  /** A JSON object of at most 16 kB, given to handlers, inherited by `ctx.enqueue`. */
  readonly meta?: object;
  /** Not started by then: `skipped`. */
  readonly expiresAt?: Date;
  /**
   * Jobs of the same tenant that it waits for, by id: it runs when all of them are final. When one of
   * them did not complete (a skipped one counts as done), `onFailure` says what becomes of this one.
   */
  readonly dependsOn?: readonly DependsOn[];
  /**
   * Only one job at a time with this key, or with the same type and params; what is said here goes over
   * what the type says. `outcome` tells whether the job was made.
   */
  readonly unique?: true | UniqueOptions;
  /**
   * A URL that is told each change of the job's status and each check-in, signed with the option
   * `webhooks.secret`.
   */
  readonly statusHook?: string;
  /** 1–64 characters. @default the nil UUID */
  readonly tenantId?: string;
  /** 1–64 characters. */
  readonly userId?: string | null;
  /** The caller's transaction: the job exists when, and only when, it commits. */
  readonly manager?: M;
}

/** What became of one item of `enqueueMany`. */
export interface EnqueueManyOutcome {
  readonly outcome: 'created' | 'replayed' | 'existing' | 'replaced' | 'rejected';
  readonly job?: EnqueuedJob;
  readonly error?: JobsError;
}
