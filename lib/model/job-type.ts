import type { Observable } from 'rxjs';
import type { DependencyOutcome } from './dependencies.js';
import type { Duration } from './duration.js';
import type { EnqueueOptions } from './enqueue-options.js';
import type { EnqueuedJob, InitializingJob, Job, RetryPolicy } from './job.js';
import type { JsonObject, JsonValue } from './json.js';
import type { ConcurrencyLimit, RateLimit } from './limits.js';
import type { JobProgress } from './progress.js';
import type { Backoff } from './retry-policy.js';
import type { UniqueOptions } from './unique.js';

/** A class; `T` is what it makes. */
export type Class<T = unknown> = new (...args: never[]) => T;

/** What a handler's `execute` may give back. */
export type HandlerResult<R> =
  R | Promise<R> | Observable<number | JobProgress> | AsyncIterable<number | JobProgress>;

/** A class that runs jobs of one type. */
export interface JobHandler<P = unknown, R = unknown> {
  /**
   * Does the work. What it returns (other than undefined) is the result; an Observable or async
   * iterable emits progress, and the job completes when it does.
   */
  execute(ctx: JobContext<P>): HandlerResult<R>;
  /** Decides whether a failure is retried within the budget; false → failed. */
  shouldRetry?(error: unknown, job: Job<P>): boolean | Promise<boolean>;
}

/** Called inside enqueue and resume; a throw refuses the job. */
export interface OnJobInit<P = unknown> {
  onJobInit(job: InitializingJob<P>): void | Promise<void>;
}

/** Called inside suspend; a throw refuses it. */
export interface OnJobSuspend<P = unknown> {
  onJobSuspend(job: Job<P>): void | Promise<void>;
}

/** Called inside resume, before `onJobInit`; a throw fails the job. */
export interface OnJobResume<P = unknown> {
  onJobResume(job: Job<P>): void | Promise<void>;
}

/** Called after each stored status, progress and result, in the process that stored it. */
export interface OnJobStateUpdate<P = unknown> {
  onJobStateUpdate(job: Job<P>): void | Promise<void>;
}

/** What `@JobType` takes. */
export interface JobTypeOptions {
  /** The part of the type's id after the colon: `[A-Za-z0-9_.-]{1,64}`. */
  readonly name: string;
  /** The group, which names the queue. @default 'default' */
  readonly group?: string;
  readonly description?: string;
  /** A class-validator class. @default any JSON within the limits */
  readonly params?: Class;
  /** Version of the params, stored with each job. @default 1 */
  readonly version?: number;
  /** How long a run may take; 0 = no limit. @default `defaults.timeout` */
  readonly timeout?: Duration;
  /** @default `defaults.maxRetries` */
  readonly maxRetries?: number;
  /** @default `defaults.retryDelay` */
  readonly retryDelay?: Duration;
  /** @default `defaults.backoff` */
  readonly backoff?: Backoff;
  /** Whether a run that timed out is retried. @default `defaults.retryOnTimeout` */
  readonly retryOnTimeout?: boolean;
  /**
   * A run whose progress does not change for that long is taken from its handler, as a failed attempt
   * with the outcome `interrupted`; 0 = no limit. Set it only where the handler reports progress more
   * often than that.
   * @default 0
   */
  readonly stallAfter?: Duration;
  /** Whether jobs may be suspended and resumed. @default false */
  readonly suspendable?: boolean;
  /** How many of its jobs may be at work at once, over all processes. @default no limit */
  readonly concurrency?: ConcurrencyLimit;
  /** How many of its jobs may begin in a period, over all processes. @default no limit */
  readonly rate?: RateLimit;
  /** Whether there may be only one of its jobs with the same params, or key, at a time. @default any number */
  readonly unique?: true | UniqueOptions;
}

/** A job type, named by its class or by its id `group:name`. */
export type JobTypeRef = Class<JobHandler> | string;

/** The params that a type's handler takes. */
export type ParamsOf<T> =
  T extends Class<infer H>
    ? H extends { execute(ctx: JobContext<infer P>): unknown }
      ? P
      : unknown
    : unknown;

/** What a caller gives: the params with every field optional, since the class has defaults. */
export type ParamsInput<T> = T extends string ? unknown : DeepPartial<ParamsOf<T>>;

/** The result of a type's handler. */
export type ResultOf<T> =
  T extends Class<infer H>
    ? H extends { execute(ctx: never): infer Out }
      ? Resolved<Out>
      : unknown
    : unknown;

type Resolved<Out> =
  Awaited<Out> extends infer R
    ? R extends Observable<unknown> | AsyncIterable<unknown>
      ? unknown
      : R
    : never;

type DeepPartial<T> = T extends readonly unknown[] | Date
  ? T
  : T extends object
    ? { [K in keyof T]?: DeepPartial<T[K]> }
    : T;

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

/** What `ctx.waitForSignal` takes. */
export interface WaitForSignalOptions {
  /** After that long it gives undefined. @default it waits without end */
  readonly timeout?: Duration;
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
  /** The jobs that it depends on, in the order in which they were named, with how each has ended. */
  readonly dependencies: readonly DependencyOutcome[];
  /**
   * Reports progress: a fraction 0–1, or counts. Writes are throttled; the last one is always kept.
   * @throws JobsError `invalid_progress`; the stored value is unchanged
   */
  progress(progress: number | JobProgress, message?: string): void;
  /** Keeps a (partial) result; a value that the handler returns wins over it. */
  setResult(value: unknown): Promise<void>;
  /** Saves the checkpoint: JSON that survives retry, suspension and crash. */
  checkpoint(state: unknown): Promise<void>;
  /**
   * Reports a milestone: it is stored with the job, in its stream of events, and sent to those who are
   * told of it.
   * @throws JobsError `invalid_request` for an empty message, `lease_lost` when the run is over
   */
  checkIn(message: string): Promise<void>;
  /** Ends the job as `skipped`: it throws, so nothing after it runs. */
  skip(reason: string): never;
  /** Waits, slot released, until the other job is final, and resolves with it. */
  lockOn(jobId: string): Promise<Job>;
  /** Ends a `lockOn` that is under way. */
  unlock(): Promise<void>;
  /**
   * Enqueues a job that carries this one as `upstreamJobId`, its tenant, user and meta.
   * @throws JobsError what an enqueue is refused with; `lease_lost` when this process knows that
   *   the run is over, and nothing is stored then
   */
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
   * ends, with the returned value as its result, in the same commit. Inside a step what it returns
   * must be JSON: it is remembered with the commit, so that no later run makes it again.
   */
  transaction<T>(work: (manager: M) => Promise<T>, options?: { complete?: boolean }): Promise<T>;
  /**
   * Calls the function once in the life of the job and remembers its JSON result: later runs get
   * it back without a call. What it throws is the handler's, and is not remembered.
   * @throws JobsError `invalid_request` for a name that this run has used before, and for a result
   *   that is no JSON; `too_large`; `lease_lost`
   */
  step<T>(name: string, fn: () => T | Promise<T>): Promise<T>;
  /** Gives the slot back for that long: it throws, and in the run that comes then it returns. */
  sleep(duration: Duration): Promise<void>;
  /**
   * Gives the slot back until somebody sends the job a signal of that name, and gives its payload;
   * undefined when the timeout is over first. It throws, and in the run that comes then it returns.
   */
  waitForSignal<T = JsonValue>(
    name: string,
    options?: WaitForSignalOptions,
  ): Promise<T | undefined>;
}

/** One item of `enqueueMany`. */
export interface EnqueueItem extends Omit<EnqueueOptions<unknown>, 'manager'> {
  readonly type: JobTypeRef;
  readonly params?: unknown;
}
