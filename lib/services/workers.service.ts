import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { runOf } from '../engine/job-view.js';
import { badField } from '../engine/enqueue-checks.js';
import { durationMs, type Duration } from '../model/duration.js';
import { notFound } from '../model/errors.js';
import type { JobRun } from '../model/job.js';
import { JOBS_ENGINE } from '../jobs.tokens.js';
import type { WorkerQuery } from '../store/store.js';
import { checkedWorkerId, checkOptions, wholeNumber } from './arguments.js';
import type { Scope } from './scope.js';

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
  /** Only these; what others run is not read. */
  readonly ids?: readonly string[];
}

/** Which runs that are under way are listed, and which page of them. */
export interface ListRunsOptions extends Scope {
  /** Only those whose worker was not heard for that long. @default 0, which is all of them */
  readonly olderThan?: Duration;
  /** Only those of this worker. */
  readonly workerId?: string;
  /** From 1; not with `cursor`; page × limit is at most 10,000. @default 1 */
  readonly page?: number;
  /** 1–1,000. @default 50 */
  readonly limit?: number;
  /** `nextCursor` of the page before; its filters must be the same. */
  readonly cursor?: string;
}

/** A page of runs that are under way, of the jobs enqueued first. */
export interface RunPage {
  readonly page: number;
  readonly limit: number;
  readonly total: number;
  readonly nextCursor: string | null;
  readonly runs: readonly JobRun[];
}

/** Which runs are interrupted. */
export interface InterruptRunsOptions extends Scope {
  /** Those whose worker was not heard for that long; 0 = all of them. */
  readonly olderThan: Duration;
  /** Only those of this worker. */
  readonly workerId?: string;
}

const LIST_KEYS: ReadonlySet<string> = new Set(['olderThan', 'ids']);
const INTERRUPT_KEYS: ReadonlySet<string> = new Set(['olderThan', 'workerId', 'tenantId']);
const RUNS_KEYS: ReadonlySet<string> = new Set([...INTERRUPT_KEYS, 'page', 'limit', 'cursor']);
const MOST_ROWS = 1000;
const DEEPEST_ROW = 10_000;
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
    const { ids } = options;
    const which = workersMeant(options);
    const meant = ids?.map((id) => checkedWorkerId(id));
    return this.#find(which, meant === undefined ? undefined : new Set(meant));
  }

  /** The ids of these workers, in the same order: for whoever shows them a page at a time. */
  async ids(options: ListWorkersOptions = {}): Promise<readonly string[]> {
    const which = workersMeant(options);
    await this.#engine.open();
    return (await this.#engine.store.catalog.workers(which)).map(({ id }) => id);
  }

  /** @throws JobsError `not_found` */
  async get(id: string): Promise<WorkerInfo> {
    const [worker] = await this.#find({ id: checkedWorkerId(id) });
    if (worker === undefined) {
      throw notFound('worker', id);
    }
    return worker;
  }

  /**
   * A page of the runs that workers hold now, of the jobs enqueued first.
   *
   * @throws JobsError `invalid_request` that names the option
   */
  async runs(options: ListRunsOptions = {}): Promise<RunPage> {
    const which = runsMeant(options, RUNS_KEYS, options.olderThan ?? 0);
    const page = wholeNumber(options.page ?? 1, 'page', DEEPEST_ROW);
    const limit = wholeNumber(options.limit ?? 50, 'limit', MOST_ROWS);
    if (options.cursor !== undefined && options.page !== undefined) {
      throw badField('cursor', 'must not be given with page');
    }
    if (page * limit > DEEPEST_ROW) {
      throw badField('page', `× limit is more than ${DEEPEST_ROW}: go on with cursor`);
    }
    const after = options.cursor === undefined ? 0 : rowOf(options.cursor);
    await this.#engine.open();
    const found = await this.#engine.store.history.running({
      ...which,
      after,
      offset: (page - 1) * limit,
      limit,
    });
    return {
      page,
      limit,
      total: found.count,
      nextCursor: found.next === undefined ? null : cursorOf(found.next),
      runs: found.runs.map(runOf),
    };
  }

  /**
   * Takes runs from their workers and returns them as they have ended: their jobs go back in line as
   * after a lost lease, and what a handler that still lives does from now on changes nothing.
   *
   * @throws JobsError `invalid_request` that names the option
   */
  async interruptRuns(options: InterruptRunsOptions): Promise<readonly JobRun[]> {
    const which = runsMeant(options, INTERRUPT_KEYS, options?.olderThan);
    await this.#engine.open();
    return this.#engine.interruptRuns(which);
  }

  async #find(which: WorkerQuery, ids?: ReadonlySet<string>): Promise<readonly WorkerInfo[]> {
    await this.#engine.open();
    const { catalog, history } = this.#engine.store;
    const found = await catalog.workers(which);
    const workers = found.filter(({ id }) => ids?.has(id) ?? true);
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

/** @throws JobsError `invalid_request` that names the option */
function workersMeant(options: ListWorkersOptions): WorkerQuery {
  checkOptions(options, LIST_KEYS);
  if (options.ids !== undefined && !Array.isArray(options.ids)) {
    throw badField('ids', 'must be an array of ids');
  }
  return { silentForMs: durationMs(options.olderThan ?? 0, 'olderThan') };
}

/** @throws JobsError `invalid_request` that names the option */
function runsMeant(
  options: Omit<InterruptRunsOptions, 'olderThan'>,
  known: ReadonlySet<string>,
  olderThan: Duration | undefined,
): { tenantId?: string; workerId?: string; silentForMs: number } {
  checkOptions(options, known);
  const { tenantId } = options;
  const workerId =
    options.workerId === undefined ? undefined : checkedWorkerId(options.workerId, 'workerId');
  return {
    silentForMs: durationMs(olderThan, 'olderThan'),
    ...(tenantId === undefined ? {} : { tenantId }),
    ...(workerId === undefined ? {} : { workerId }),
  };
}

function cursorOf(row: number): string {
  return Buffer.from(String(row)).toString('base64url');
}

/** @throws JobsError `invalid_request` for anything but a cursor of this list */
function rowOf(cursor: unknown): number {
  const text = typeof cursor === 'string' ? Buffer.from(cursor, 'base64url').toString() : '';
  if (!/^\d{1,16}$/.test(text)) {
    throw badField('cursor', 'is not one that this list gave');
  }
  return Number(text);
}
