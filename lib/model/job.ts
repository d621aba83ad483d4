import type { JobDependency } from './dependencies.js';
import type { Duration } from './duration.js';
import type { JobStatus } from './job-status.js';
import type { JsonObject, JsonValue } from './json.js';

/** How a job came to be: at once, for later, or from a schedule. */
export type JobKind = 'generic' | 'scheduled' | 'periodic';

/** Why a `waiting` job waits. */
export type WaitingFor = 'dependencies' | 'signal' | 'retry' | 'time' | 'paused' | 'worker';

/** What an enqueue did: a new job, the one its idempotency key names, or the one that is there. */
export type EnqueueOutcome = 'created' | 'replayed' | 'existing' | 'replaced';

/** Retry policy and timeout of one job; what is absent stays. */
export interface RetryPolicy {
  readonly maxRetries?: number;
  readonly retryDelay?: Duration;
  readonly timeout?: Duration;
}

/**
 * A job: one piece of work, kept after it ended. Instants are `Date`, durations milliseconds,
 * absent values null; `params` is an instance of the type's class inside hooks and handlers and
 * plain JSON elsewhere.
 */
export interface Job<P = unknown, R = unknown> {
  /** UUID, ordered by time. */
  readonly id: string;
  /** The tenant; the nil UUID without `identify`. */
  readonly tenantId: string;
  readonly userId: string | null;
  readonly idempotencyKey: string | null;
  /** `group:name` of the job type. */
  readonly type: string;
  readonly typeVersion: number;
  readonly group: string;
  readonly queue: string;
  /** Routing label, matched exactly; `''` by default. */
  readonly channel: string;
  readonly kind: JobKind;
  /** Higher runs first. */
  readonly priority: number;
  readonly status: JobStatus;
  /** The first reason that holds while `waiting`, else null. */
  readonly waitingFor: WaitingFor | null;
  /** When it was enqueued. */
  readonly scheduledAt: Date;
  /** Not before then; moves with a retry. */
  readonly runAt: Date;
  readonly updatedAt: Date;
  /** When the handler of the latest run was called. */
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  /** Expected end: from progress once there is some, else start + timeout, else null. */
  readonly eta: Date | null;
  /** The job this one waits for while `locked`. */
  readonly lockedBy: string | null;
  /** Fraction 0–1. */
  readonly progress: number;
  readonly progressDetails: string | null;
  readonly completed: number | null;
  readonly total: number | null;
  /** Reason of the latest cancel, skip or fail. */
  readonly details: string | null;
  /** Milliseconds a run may take; 0 = no limit. */
  readonly timeout: number;
  readonly maxRetries: number;
  /** Milliseconds before the first retry. */
  readonly retryDelay: number;
  /** Runs that ended by a failure that was retried. */
  readonly retries: number;
  /** Runs whose worker was lost. */
  readonly lost: number;
  /** Number of its runs so far (`ctx.attempt`); 0 before the first. */
  readonly revision: number;
  readonly error: string | null;
  readonly result: R | null;
  readonly params: P;
  /** The checkpoint. */
  readonly state: JsonValue;
  readonly tags: readonly string[];
  readonly meta: JsonObject;
  readonly cancelRequestedAt: Date | null;
  readonly upstreamJobId: string | null;
  /** The schedule that made it. */
  readonly scheduleId: string | null;
  readonly expiresAt: Date | null;
  /** The latest milestone that its handler has reported (`ctx.checkIn`). */
  readonly checkIn: string | null;
  readonly checkInAt: Date | null;
  /** Where its events are sent. */
  readonly statusHook: string | null;
  /** The jobs that it waits for, or has waited for. */
  readonly dependsOn: readonly JobDependency[];
  /** Grows with each change of status, check-in and act of an operator; the `id:` of server-sent events. */
  readonly sequence: number;
}

/** What `enqueue` resolves with: the job, and how it came to be. */
export interface EnqueuedJob<P = unknown, R = unknown> extends Job<P, R> {
  readonly outcome: EnqueueOutcome;
}

/** What `onJobInit` sees: the job before it is stored, whose retry policy may still be set. */
export interface InitializingJob<P = unknown, R = unknown> extends Job<P, R> {
  /** Sets retry policy and timeout of this job alone. */
  setRetryPolicy(policy: RetryPolicy): void;
}

/** How a run ended, or `running`. */
export type RunOutcome =
  | 'running'
  | 'completed'
  | 'failed'
  | 'timeout'
  | 'canceled'
  | 'suspended'
  | 'skipped'
  | 'released'
  | 'interrupted'
  | 'lost';

/** One attempt at a job; never changed once ended. */
export interface JobRun {
  readonly id: string;
  readonly jobId: string;
  /** 1 for the first. */
  readonly revision: number;
  readonly workerId: string | null;
  readonly startedAt: Date | null;
  readonly updatedAt: Date;
  readonly endedAt: Date | null;
  readonly outcome: RunOutcome;
  readonly error: string | null;
  readonly completed: number | null;
  readonly total: number | null;
}

/** Levels of a job's log, lowest first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A line that a handler logged. */
export interface JobLogLine {
  /** Grows within the job; `?after=` takes it. */
  readonly seq: number;
  readonly at: Date;
  readonly level: LogLevel;
  readonly runId: string;
  readonly message: string;
  readonly fields: JsonObject | null;
}

/**
 * Something that happened to a job. `sequence` grows with each change of status, each check-in and
 * each thing that an operator does; progress is sampled and takes none of its own.
 */
export interface JobEvent {
  readonly sequence: number;
  readonly type: 'status' | 'progress' | 'check_in';
  readonly jobId: string;
  readonly runId: string | null;
  readonly at: Date;
  readonly status: JobStatus;
  /** The status before, where it is known. */
  readonly from?: JobStatus;
  readonly progress: number;
  /** What the handler has said, or the reason that an operator gave. */
  readonly message?: string;
  /** The operator who did it. */
  readonly actor?: string;
}

/** What a status says: its reason, or its error. A run that has begun does not say how the one before ended. */
export function saidOf({
  status,
  details,
  error,
}: {
  readonly status: JobStatus;
  readonly details: string | null;
  readonly error: string | null;
}): string | null {
  return details ?? (status === 'running' ? null : error);
}

/** A handler's progress, as `QueueWorker.progress$` emits it. */
export interface JobProgressEvent {
  readonly jobId: string;
  readonly type: string;
  readonly queue: string;
  readonly runId: string;
  readonly at: Date;
  readonly progress?: number;
  readonly completed?: number;
  readonly total?: number;
  readonly message?: string;
}
