import type { JobGroupEntity } from '../entities/job-group.entity.js';
import type { JobTypeEntity } from '../entities/job-type.entity.js';
import type { JobWorkerEntity } from '../entities/worker.entity.js';
import type { Marks } from './claims.js';

/** Which workers; without anything all that were heard within an hour, after which they are forgotten. */
export interface WorkerQuery {
  readonly id?: string;
  readonly heardWithinMs?: number;
  /** Only those that were not heard for that long. */
  readonly silentForMs?: number;
}

/** Types, groups, queues and workers. */
export interface CatalogStore {
  /** Records what this process declares; the scopes of limits for a day. */
  declare(
    types: readonly JobTypeEntity[],
    groups: readonly JobGroupEntity[],
    scopes: readonly string[],
  ): Promise<void>;
  setPaused(queue: string, paused: boolean): Promise<void>;
  /** The queues that are paused, and the scopes of limits that anybody has declared. */
  marked(): Promise<Marks>;
  /** Registers this worker, or says that it lives. */
  beat(worker: Omit<JobWorkerEntity, 'startedAtMs' | 'heartbeatAtMs'>): Promise<void>;
  /** Workers that are registered and meet the query, newest first. */
  workers(query: WorkerQuery): Promise<readonly JobWorkerEntity[]>;
  /** Takes a worker that has stopped off the list. */
  forgetWorker(id: string): Promise<void>;
}
