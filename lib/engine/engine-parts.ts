import type { JobEntity } from '../entities/job.entity.js';
import type { JobProgressEvent } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { ChangeResult, Store } from '../store/store.js';
import type { Hearers } from './draft-extras.js';
import type { EngineLogger, EngineOptions } from './engine-options.js';
import type { Enqueuer } from './enqueuer.js';
import type { EventBus } from './event-bus.js';
import type { FailedJobs } from './failed-jobs.js';
import type { HandlerRegistry, RegisteredType } from './handlers.js';
import type { Limits } from './limits.js';
import type { LogBacklog } from './log-backlog.js';
import type { LogSink } from './log-writer.js';

/** What the parts of the engine share. */
export interface EngineParts {
  readonly store: Store;
  readonly options: EngineOptions;
  readonly handlers: HandlerRegistry;
  readonly limits: Limits;
  readonly hearers: Hearers;
  readonly bus: EventBus;
  readonly logger: EngineLogger;
  readonly sink: LogSink | undefined;
  readonly logs: LogBacklog;
  /** What could not be stored of runs that go on. */
  readonly unstored: { readonly start: FailedJobs; readonly progress: FailedJobs };
  readonly random: () => number;
  /** Id of this process as a worker, new at every start. */
  readonly workerId: string;
  readonly enqueuer: Enqueuer;
  /** Tells everybody that a job, as it stands in memory after the commit, changed its status. */
  changed(job: JobEntity, from: JobStatus | undefined): void;
  /** The same for a change that the store made; wakes whoever it concerns. */
  stored(result: ChangeResult, type?: RegisteredType): void;
  /** Jobs have been claimed here. */
  claimed(jobs: readonly JobEntity[]): void;
  /** Tells what has changed in jobs without a change of one's own. */
  told(news: Pick<ChangeResult, 'others' | 'freed' | 'isMore'>): void;
  /** Tells that progress or a result was stored. */
  progressed(job: JobEntity): void;
  /** Tells this process's observers what a handler reported, stored or not. */
  announceProgress(event: JobProgressEvent): void;
}
