import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { runOf } from '../engine/job-view.js';
import { durationMs, type Duration } from '../model/duration.js';
import { notFound } from '../model/errors.js';
import type { JobRun } from '../model/job.js';
import { JOBS_ENGINE } from '../jobs.tokens.js';
import type { WorkerQuery } from '../store/store.js';
import { checkedId, checkOptions } from './arguments.js';

/** A process that takes jobs. */
export interface WorkerInfo {
  /** New at every start of the process. */
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** Version of this package there. */
  readonly version: string;
  readonly queues: readonly string[];
  readonly startedAt: Date;
  /** When it was last heard; it tells of itself every ten seconds. */
  readonly heartbeatAt: Date;
  /** How many runs it holds: handlers at work, and what it has claimed ahead. */
  readonly running: number;
  /** These runs, of the jobs enqueued first; at most a hundred. */
  readonly runs: readonly JobRun[];
}

/** Which workers are listed. */
export interface ListWorkersOptions {
  /** Only those that were not heard for that long. @default 0, which is all of them */
  readonly olderThan?: Duration;
}

const LIST_KEYS: ReadonlySet<string> = new Set(['olderThan']);
const MOST_RUNS = 100;

/**
 * The workers of the cluster. One that stops in order leaves the list at once; one that died leaves
 * it an hour after it was last heard.
 */
@Injectable()
export class WorkersService {
  readonly #engine: Engine;

  constructor(@Inject(JOBS_ENGINE) engine: Engine) {
    this.#engine = engine;
  }

  /** Workers heard within the last hour, the one that started last first. */
  async list(options: ListWorkersOptions = {}): Promise<readonly WorkerInfo[]> {
    checkOptions(options, LIST_KEYS);
    return this.#find({ silentForMs: durationMs(options.olderThan ?? 0, 'olderThan') });
  }

  /** @throws JobsError `not_found` */
  async get(id: string): Promise<WorkerInfo> {
    const [worker] = await this.#find({ id: checkedId(id, 'worker') });
    if (worker === undefined) {
      throw notFound('worker', id);
    }
    return worker;
  }

  async #find(which: WorkerQuery): Promise<readonly WorkerInfo[]> {
    await this.#engine.open();
    const { catalog, history } = this.#engine.store;
    const workers = await catalog.workers(which);
    const held = await history.heldRuns(
      workers.map(({ id }) => id),
      MOST_RUNS,
    );
    return workers.map((worker) => ({
      id: worker.id,
      host: worker.host,
      pid: worker.pid,
      version: worker.version,
      queues: JSON.parse(worker.queues) as string[],
      startedAt: new Date(worker.startedAtMs),
      heartbeatAt: new Date(worker.heartbeatAtMs),
      running: held.get(worker.id)?.count ?? 0,
      runs: (held.get(worker.id)?.runs ?? []).map(runOf),
    }));
  }
}
