import type { JobEntity } from '../entities/job.entity.js';

/** What jobs that are enqueued alike have in common. */
export interface JobTerms {
  readonly tenantId: string;
  readonly userId: string | null;
  readonly type: string;
  readonly typeVersion: number;
  readonly group: string;
  readonly queue: string;
  readonly channel: string;
  readonly priority: number;
  /** Absolute start, or none: then `delayMs` counts from the database's now. */
  readonly runAtMs: number | undefined;
  readonly delayMs: number;
  readonly expiresAtMs: number | null;
  readonly timeoutSec: number;
  readonly maxRetries: number;
  readonly retryDelaySec: number;
  readonly state: string | null;
  readonly tags: string | null;
  readonly meta: string | null;
  readonly upstreamJobId: string | null;
}

/** A job to be stored; what depends on the database's time is decided in its transaction. */
export interface JobDraft {
  /** Only where somebody has seen the job before it is stored; else storing gives the id. */
  readonly id: string | undefined;
  readonly idempotencyKey: string | null;
  readonly requestHash: string | null;
  /** JSON text. */
  readonly params: string;
  /** What limits count it by; null without limits. */
  readonly limitKey: string | null;
  /** One object for many drafts, where it can be: drafts of one object share a statement. */
  readonly terms: JobTerms;
  /**
   * Where a try put the job whose answer may never come. The next one goes to the same place, so
   * that it finds what the first has stored.
   */
  tried?: { readonly seq: number; readonly id: string } | undefined;
}

/** A job that an insert has stored. */
export interface Created {
  readonly outcome: 'created';
  readonly draft: JobDraft;
  readonly seq: number;
  readonly id: string;
  readonly scheduledAtMs: number;
  /** The database's time of the insert. */
  readonly nowMs: number;
  readonly job: JobEntity;
}

/**
 * What an insert did. `taken`: the idempotency key names a job that is there. `id_taken`: another
 * job of the same moment has the id that the draft came with, so nothing was stored.
 */
export type InsertResult =
  | Created
  | { readonly outcome: 'taken'; readonly job: JobEntity }
  | { readonly outcome: 'id_taken' };

/** Who holds an idempotency key: a stored job, or an earlier one of the same call. */
export interface KeyHolder {
  readonly id: string | undefined;
  readonly requestHash: string | null;
}
