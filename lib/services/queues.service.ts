import { setImmediate as nextTurn } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { isJobsError, notFound } from '../model/errors.js';
import { JOBS_CATALOG, JOBS_ENGINE } from '../jobs.tokens.js';
import type { WaitingJobs } from '../store/store.js';
import { checkOptions, REASON_KEYS, SCOPE_KEYS } from './arguments.js';
import type { Catalog } from './catalog.service.js';
import type { ReasonOptions, Scope } from './scope.js';

/** A queue as it is shown; counts up to 10,000. */
export interface QueueInfo {
  readonly name: string;
  /** Handlers at once in one process. */
  readonly capacity: number;
  /** Whether it is paused for the whole cluster. */
  readonly paused: boolean;
  readonly waiting: number;
  readonly running: number;
  /** When the oldest job that could run now was enqueued. */
  readonly oldestWaitingAt: Date | null;
}

/** So many are looked up at once. */
const PAGE = 1000;
/** So many are canceled in one turn of the event loop, and so in one transaction: about two milliseconds. */
const BATCH = 20;

/** The queues, for the whole cluster. */
@Injectable()
export class QueuesService {
  readonly #engine: Engine;
  readonly #catalog: Catalog;

  constructor(@Inject(JOBS_ENGINE) engine: Engine, @Inject(JOBS_CATALOG) catalog: Catalog) {
    this.#engine = engine;
    this.#catalog = catalog;
  }

  /** All queues, by name. */
  async list(scope: Scope = {}): Promise<readonly QueueInfo[]> {
    checkOptions(scope, SCOPE_KEYS);
    const names = [...this.#catalog.queues.keys()].sort();
    return Promise.all(names.map((name) => this.get(name, scope)));
  }

  /** @throws JobsError `not_found` */
  async get(name: string, scope: Scope = {}): Promise<QueueInfo> {
    checkOptions(scope, SCOPE_KEYS);
    const capacity = this.#catalog.queues.get(name);
    if (capacity === undefined) {
      throw notFound('queue', name);
    }
    await this.#engine.open();
    const { jobs, catalog } = this.#engine.store;
    const types = this.#catalog.handlers.idsOf(name);
    const [{ paused }, counts, oldest] = await Promise.all([
      catalog.marked(),
      jobs.queueCounts(name, types, scope.tenantId),
      jobs.oldestWaitingAtMs(types, scope.tenantId),
    ]);
    return {
      name,
      capacity,
      paused: paused.has(name),
      ...counts,
      oldestWaitingAt: oldest === undefined ? null : new Date(oldest),
    };
  }

  /** No process takes jobs from it any more; running ones go on. @throws JobsError `not_found` */
  async pause(name: string): Promise<QueueInfo> {
    return this.#setPaused(name, true);
  }

  /** @throws JobsError `not_found` */
  async resume(name: string): Promise<QueueInfo> {
    return this.#setPaused(name, false);
  }

  /** Cancels every job that waits in the queue; how many. @throws JobsError `not_found` */
  async cancelWaiting(name: string, options: ReasonOptions = {}): Promise<number> {
    checkOptions(options, REASON_KEYS);
    if (!this.#catalog.queues.has(name)) {
      throw notFound('queue', name);
    }
    await this.#engine.open();
    const { jobs } = this.#engine.store;
    let canceled = 0;
    for (let after: number | undefined = 0; after !== undefined;) {
      const { ids, next }: WaitingJobs = await jobs.waitingIn(name, PAGE, after, options.tenantId);
      for (let at = 0; at < ids.length; at += BATCH) {
        const batch = ids.slice(at, at + BATCH);
        const outcomes = await Promise.all(batch.map((id) => this.#cancel(id, options)));
        canceled += outcomes.filter(Boolean).length;
        await nextTurn();
      }
      after = next;
    }
    return canceled;
  }

  async #cancel(id: string, options: ReasonOptions): Promise<boolean> {
    try {
      return await this.#engine.operations.cancelWaiting(id, options);
    } catch (error) {
      if (isJobsError(error) && error.code === 'not_found') {
        return false; // It was deleted meanwhile.
      }
      throw error;
    }
  }

  async #setPaused(name: string, paused: boolean): Promise<QueueInfo> {
    if (!this.#catalog.queues.has(name)) {
      throw notFound('queue', name);
    }
    await this.#engine.open();
    await this.#engine.store.catalog.setPaused(name, paused);
    await this.#engine.refreshPaused();
    return this.get(name);
  }
}
