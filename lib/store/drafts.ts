import type { JobEntity } from '../entities/job.entity.js';
import type { OnFailure } from '../model/dependencies.js';
import type { UniqueClaim } from '../model/unique.js';
import type { ChangeResult } from './changes.js';

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

/** What a job to be stored has to do with others. */
export interface DraftExtras {
  /** Jobs that it waits for: stored ones by id, or those of the same call by their place in it. */
  readonly dependsOn: readonly DraftDependency[];
  readonly uniqueClaim: UniqueClaim | null;
  readonly statusHook: string | null;
  readonly scheduleId: string | null;
  /** Whether somebody hears of all jobs of its tenant. */
  readonly isHeard: boolean;
}

/** One of the jobs that a job to be stored waits for. */
export interface DraftDependency {
  readonly on: string | number;
  readonly onFailure: OnFailure;
}

/** What a job to be stored waits for, counted in the transaction that stores it. */
export interface Blocked {
  /** How many jobs that are not final. */
  readonly by: number;
  /** What follows from those that are. */
  readonly verdict: number;
  readonly ended: ReadonlySet<string>;
}

/** Why the store does not take a draft. */
export type Failure =
  /** These jobs are not there, or of another tenant. */
  | { readonly outcome: 'unknown_dependency'; readonly ids: readonly string[] }
  /** Another job holds its unique key; without an id it is an earlier one of the same call. */
  | {
      readonly outcome: 'duplicate';
      readonly id: string | undefined;
      /** Why that one was not replaced, where that was asked for. */
      readonly kept?: string | undefined;
    };

/** What a draft meets that is not stored: a failure, or another job that is given for it. */
export type Refusal =
  | Failure
  /** That job is given back instead, as it is or with the draft's params and times. */
  | { readonly outcome: 'existing'; readonly job: JobEntity }
  | { readonly outcome: 'replaced'; readonly job: JobEntity; readonly news: ChangeResult };

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
  /** Null for a plain job. A try may find that some of what it depends on is one job: see `said`. */
  extras: DraftExtras | null;
  /** What `extras` were before that: the next try finds it anew. */
  said?: DraftExtras | undefined;
  blocked?: Blocked | undefined;
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
  /** Whether it is stored otherwise than its draft says. */
  readonly isSettled: boolean;
  /** What has changed because of it already: jobs that it depends on may have ended. */
  readonly news?: ChangeResult | undefined;
}

/**
 * What an insert did. `taken`: the idempotency key names a job that is there. `id_taken`: another
 * job of the same moment has the id that the draft came with, so nothing was stored.
 */
export type InsertResult =
  | Created
  | { readonly outcome: 'taken'; readonly job: JobEntity }
  | { readonly outcome: 'id_taken' }
  | Refusal;

/** Who holds an idempotency key: a stored job, or an earlier one of the same call. */
export interface KeyHolder {
  readonly id: string | undefined;
  readonly requestHash: string | null;
}
