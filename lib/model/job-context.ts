import type { Duration } from './duration.js';
import type { EnqueuedJob, Job, RetryPolicy } from './job.js';
import type { EnqueueOptions } from './enqueue-options.js';
import type { JobProgress } from './progress.js';
import type { JsonObject, JsonValue } from './json.js';
import type { JobTypeRef, ParamsInput, ParamsOf, ResultOf } from './job-type.js';

/** Writes lines to the job's own log; `fields` is any small JSON object. */
export interface JobLogger {
  trace(message: string, fields?: JsonObject): void;
  debug(message: string, fields?: JsonObject): void;
  info(message: string, fields?: JsonObject): void;
  warn(message: string, fields?: JsonObject): void;
  error(message: string, fields?: JsonObject): void;
}

/** What `ctx.reschedule` takes: when, and what the next run starts with. */
export interface RescheduleOptions {
  readonly runAt?: Date;
  readonly delay?: Duration;
  /** The checkpoint of the next run; kept when absent. */
  readonly state?: JsonValue;
  /** New params, checked like those of an enqueue; kept when absent. */
  readonly params?: JsonValue;
}

/** What a handler is given: its job, its params, and everything it may do while it runs. */
export interface JobContext<P = unknown, M = unknown> {
  readonly job: Job<P>;
  /** An instance of the type's params class, or the JSON itself. */
  readonly params: P;
  /** Fires with a `JobAbortError` whose `code` says why. */
  readonly signal: AbortSignal;
  /** 1 for the first run. */
  readonly attempt: number;
  readonly log: JobLogger;
  /** The checkpoint, as last saved; null when there is none. */
  readonly state: JsonValue;
  readonly meta: JsonObject;
  /**
   * Reports progress: a fraction 0–1, or counts. Writes are throttled; the last one is always kept.
   * @throws JobsError `invalid_progress`; the stored value is unchanged
   */
  progress(progress: number | JobProgress, message?: string): void;
  /** Keeps a (partial) result; a value that the handler returns wins over it. */
  setResult(value: unknown): Promise<void>;
  /** Saves the checkpoint: JSON that survives retry, suspension and crash. */
  checkpoint(state: unknown): Promise<void>;
  /** Ends the job as `skipped`: it throws, so nothing after it runs. */
  skip(reason: string): never;
  /** Waits, slot released, until the other job is final, and resolves with it. */
  lockOn(jobId: string): Promise<Job>;
  /** Ends a `lockOn` that is under way. */
  unlock(): Promise<void>;
  /** Enqueues a job that carries this one as `upstreamJobId`, its tenant, user and meta. */
  enqueue<T extends JobTypeRef>(
    type: T,
    params?: ParamsInput<T>,
    options?: EnqueueOptions<M>,
  ): Promise<EnqueuedJob<ParamsOf<T>, ResultOf<T>>>;
  /** Ends this run; the same job runs again then, with a fresh retry budget. It throws. */
  reschedule(options: RescheduleOptions): never;
  /** Changes retry policy and timeout of this job from the next decision on. */
  setRetryPolicy(policy: RetryPolicy): Promise<void>;
  /**
   * One database transaction in which the host's entities are available and `enqueue`,
   * `checkpoint`, `setResult` and `progress` of this context join. With `complete: true` the job
   * ends, with the returned value as its result, in the same commit.
   */
  transaction<T>(work: (manager: M) => Promise<T>, options?: { complete?: boolean }): Promise<T>;
}
