import type { JobGroupEntity } from '../entities/job-group.entity.js';
import type { ScopeLimits } from '../model/limits.js';
import type { Store } from '../store/store.js';
import type { EngineLogger, EngineOptions } from './engine-options.js';
import type { HandlerRegistry } from './handlers.js';
import type { LogSink } from './log-writer.js';
import type { HookSender } from './hook-sender.js';
import type { DeclaredSchedule } from './scheduling.js';

/** What an engine is built from. */
export interface EngineSources {
  readonly store: Store;
  readonly options: EngineOptions;
  readonly handlers: HandlerRegistry;
  /** The limits of a queue over the cluster. */
  limitsOf(queue: string): ScopeLimits | undefined;
  /** The groups that are declared by the time it opens. */
  readonly groups: () => Iterable<JobGroupEntity>;
  /** The schedules that code declares, once it was explored. */
  declaredSchedules(): readonly DeclaredSchedule[];
  /** Fills the registry with what is declared so far. */
  explore(): Promise<void>;
  readonly logger: EngineLogger;
  readonly sink: LogSink | undefined;
  /** Tells others over the network; undefined where nobody is told. */
  readonly hookSender?: HookSender;
  readonly version: string;
  readonly random?: () => number;
}
