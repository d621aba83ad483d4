import type { Observable } from 'rxjs';
import type { Duration } from './duration.js';
import type { InitializingJob, Job } from './job.js';
import type { JobContext } from './job-context.js';
import type { JobProgress } from './progress.js';
import type { Backoff } from './retry-policy.js';

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
  /** Whether jobs may be suspended and resumed. @default false */
  readonly suspendable?: boolean;
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
