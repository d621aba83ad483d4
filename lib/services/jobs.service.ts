import { Inject, Injectable } from '@nestjs/common';
import { defer, from, type Observable, switchMap } from 'rxjs';
import { Engine } from '../engine/engine.js';
import { dependenciesView } from '../engine/dependency-view.js';
import { atKey, planFlow } from '../engine/flow.js';
import { jobOf, runsOf } from '../engine/job-view.js';
import type { JobPatch } from '../engine/operations.js';
import { checkOptionKeys, PATCH_KEYS } from '../engine/option-keys.js';
import { waitForEnd } from '../engine/wait.js';
import type { JobEntity } from '../entities/job.entity.js';
import type { JobDependencies } from '../model/dependencies.js';
import type { Duration } from '../model/duration.js';
import type { EnqueueManyOutcome, EnqueueOptions } from '../model/enqueue-options.js';
import type { EnqueuedFlow, JobFlow } from '../model/flow.js';
import type { EnqueueItem } from '../model/job-type.js';
import { JobsError, notFound } from '../model/errors.js';
import {
  LOG_LEVELS,
  type EnqueuedJob,
  type Job,
  type JobEvent,
  type JobLogLine,
  type JobRun,
  type LogLevel,
} from '../model/job.js';
import type { JobTypeRef, ParamsInput, ParamsOf, ResultOf } from '../model/job-type.js';
import type { JsonObject } from '../model/json.js';
import { isFinal } from '../model/job-status.js';
import type { JobPage, JobQuery, LogQuery } from '../model/query.js';
import type { EntityManager } from 'typeorm';
import { NIL_TENANT } from '../model/tenant.js';
import { JOBS_ENGINE } from '../jobs.tokens.js';
import type { ListedJob } from '../store/store.js';
import {
  checkCallback,
  checkedConflict,
  checkedId,
  checkItems,
  checkOptions,
  checkSignal,
  checkSought,
  DELETE_KEYS,
  FAIL_KEYS,
  FLOW_KEYS,
  LOG_KEYS,
  MANY_KEYS,
  REASON_KEYS,
  SCOPE_KEYS,
  WAIT_KEYS,
  WATCH_KEYS,
  wholeNumber,
} from './arguments.js';
import { cursorOf, resolveQuery } from './list-query.js';
import type { ReasonOptions, Scope } from './scope.js';

const COUNT_LIMIT = 10_000;
const MOST_LINES = 1000;

/** Enqueues jobs, looks after them and watches them: everything that REST offers, in code. */
@Injectable()
export class JobsService {
  readonly #engine: Engine;

  constructor(@Inject(JOBS_ENGINE) engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Stores a job; it runs as soon as a worker has room. With `manager` it joins the caller's
   * transaction.
   *
   * @throws JobsError `unknown_type`, `invalid_params`, `init_failed`, `invalid_request`,
   *   `too_large`, `idempotency_conflict`, `database_busy`, `database_unavailable`
   */
  async enqueue<T extends JobTypeRef>(
    type: T,
    params?: ParamsInput<T>,
    options: EnqueueOptions<EntityManager> = {},
  ): Promise<EnqueuedJob<ParamsOf<T>, ResultOf<T>>> {
    // No wait when it is open: params are taken as they are at the call.
    if (!this.#engine.isOpen) {
      await this.#engine.open();
    }
    const job = await this.#engine.enqueuer.enqueue(type, params, options);
    return job as EnqueuedJob<ParamsOf<T>, ResultOf<T>>;
  }

  /**
   * Stores many jobs in one transaction: all or, when one is refused, none. With
   * `onConflict: 'ignore'` each item has an outcome of its own.
   *
   * @throws JobsError as `enqueue`, with fields that begin with `jobs.<index>.`
   */
  async enqueueMany(
    items: readonly EnqueueItem[],
    options: { readonly onConflict?: 'fail' | 'ignore'; readonly manager?: EntityManager } = {},
  ): Promise<EnqueueManyOutcome[]> {
    checkItems(items);
    checkOptions(options, MANY_KEYS);
    const onConflict = checkedConflict(options.onConflict);
    await this.#opened();
    return this.#engine.enqueuer.enqueueMany(items, onConflict, options.manager);
  }

  /**
   * Stores a whole graph of jobs in one transaction. `dependsOn` of each names others of the flow by
   * their keys, or jobs that are there by id.
   *
   * @throws JobsError as `enqueue`, with fields that begin with the key; `invalid_request` for a
   *   circle, `unknown_dependency`
   */
  async enqueueFlow<F extends JobFlow>(
    flow: F,
    options: { readonly manager?: EntityManager } = {},
  ): Promise<EnqueuedFlow<F>> {
    checkOptions(options, FLOW_KEYS);
    const { keys, items, among } = planFlow(flow);
    await this.#opened();
    const stored = await this.#engine.enqueuer
      .enqueueMany(items, 'fail', options.manager, { among })
      .catch((error: unknown) => {
        throw atKey(error, keys);
      });
    const jobs = Object.fromEntries(keys.map((key, at) => [key, stored[at]?.job]));
    // Each item of a call that stores all of them has its job.
    return jobs as EnqueuedFlow<F>;
  }

  /** What a job depends on, what depends on it, and why it was not run. @throws JobsError `not_found` */
  async dependencies(id: string, scope: Scope = {}): Promise<JobDependencies> {
    checkOptions(scope, SCOPE_KEYS);
    const { job } = await this.#find(id, scope.tenantId);
    return dependenciesView(job, await this.#engine.store.history.related(job));
  }

  /** @throws JobsError `not_found`, `invalid_request` for what is no id, as all that take one */
  async get(id: string, scope: Scope = {}): Promise<Job> {
    checkOptions(scope, SCOPE_KEYS);
    const found = await this.#find(id, scope.tenantId);
    return this.#view(found.job, found.isPaused);
  }

  /** The job that holds an idempotency key in a tenant. */
  async findByIdempotencyKey(key: string, scope: Scope = {}): Promise<Job | undefined> {
    checkSought(key, 'key');
    checkOptions(scope, SCOPE_KEYS);
    await this.#opened();
    const found = await this.#engine.store.jobs.findByKey(scope.tenantId ?? NIL_TENANT, key);
    return found === undefined ? undefined : this.#view(found.job, found.isPaused);
  }

  /**
   * A page of jobs, newest first unless ordered otherwise.
   *
   * @throws JobsError `invalid_request` that names the parameter
   */
  async list(query: JobQuery = {}): Promise<JobPage> {
    await this.#opened();
    const resolved = resolveQuery(query);
    const { jobs, count, next } = await this.#engine.store.jobs.list(resolved.query);
    return {
      page: resolved.query.page,
      limit: resolved.query.limit,
      total: Math.min(count, COUNT_LIMIT),
      totalIsExact: count <= COUNT_LIMIT,
      order: resolved.order,
      nextCursor: next === undefined ? null : cursorOf(next, resolved.order),
      jobs: jobs.map(({ job, isPaused }) => this.#view(job, isPaused)),
    };
  }

  /**
   * Changes a job that has not ended; on a running one timeout and retry policy apply from the next
   * decision on.
   *
   * @throws JobsError `not_found`, `already_ended`, `invalid_request`
   */
  async update(id: string, patch: JobPatch, options: ReasonOptions = {}): Promise<Job> {
    checkOptionKeys(patch, PATCH_KEYS, 'patch');
    return this.#after(id, options, (engine, jobId) =>
      engine.operations.update(jobId, patch, options),
    );
  }

  /** Cancels a job; a running one gets its signal. @throws JobsError `not_found` */
  async cancel(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.cancel(jobId, options));
  }

  /**
   * Suspends a job of a suspendable type; its slot is freed.
   *
   * @throws JobsError `not_found`, `not_suspendable`, `suspend_failed`, `illegal_transition`, `try_later`
   */
  async suspend(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.suspend(jobId, options));
  }

  /**
   * Puts a suspended job back in line.
   *
   * @throws JobsError `not_found`, `resume_failed`, `illegal_transition`, `try_later`
   */
  async resume(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.resume(jobId, options));
  }

  /** Runs a failed, timed out or canceled job again. @throws JobsError `not_found`, `illegal_transition` */
  async retry(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.retry(jobId, options));
  }

  /** Skips a job that has not started. @throws JobsError `not_found`, `illegal_transition` */
  async skip(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.skip(jobId, options));
  }

  /** Fails a job that has not started. @throws JobsError `not_found`, `illegal_transition` */
  async fail(
    id: string,
    options: ReasonOptions & { readonly result?: unknown } = {},
  ): Promise<Job> {
    return this.#after(
      id,
      options,
      (engine, jobId) => engine.operations.fail(jobId, options),
      FAIL_KEYS,
    );
  }

  /** Ends a `ctx.lockOn` from outside. @throws JobsError `not_found` */
  async unlock(id: string, options: ReasonOptions = {}): Promise<Job> {
    return this.#after(id, options, (engine, jobId) => engine.operations.unlock(jobId, options));
  }

  /**
   * Sends a job a signal, which the first `ctx.waitForSignal` of that name receives, now or later;
   * several are received in their order.
   *
   * @throws JobsError `not_found`, `already_ended`, `invalid_request`, `too_large`
   */
  async signal(id: string, name: string, payload?: unknown, scope: Scope = {}): Promise<Job> {
    return this.#after(
      id,
      scope,
      (engine, jobId) => engine.signal(jobId, { name, payload, tenantId: scope.tenantId }),
      SCOPE_KEYS,
    );
  }

  /**
   * Deletes a job that no worker holds, its runs and its log; with `cascade` also, transitively, the
   * jobs that wait for it.
   *
   * @throws JobsError `not_found`, `job_active`, `has_dependents` while jobs that have not ended
   *   depend on it
   */
  async delete(
    id: string,
    options: ReasonOptions & { readonly cascade?: boolean } = {},
  ): Promise<void> {
    const jobId = checkedId(id);
    checkOptions(options, DELETE_KEYS);
    await this.#opened();
    await this.#engine.operations.delete(jobId, options);
  }

  /**
   * Waits until the job is final; the job goes on whatever becomes of the wait.
   *
   * @throws JobsError `not_found`, `not_finished` when the time is over first
   */
  async wait(
    id: string,
    options: Scope & { readonly timeout?: Duration; readonly signal?: AbortSignal } = {},
  ): Promise<Job> {
    checkOptions(options, WAIT_KEYS);
    checkSignal(options.signal);
    const found = await this.#find(id, options.tenantId);
    if (isFinal(found.job.status)) {
      return this.#view(found.job, found.isPaused);
    }
    await waitForEnd(this.#engine, found.job.id, options);
    const { job, isPaused } = await this.#find(id, options.tenantId);
    return this.#view(job, isPaused);
  }

  /**
   * The job's present state, then each change of status and progress, each check-in and each thing that
   * an operator does, until it is final. A job that fails is no error of the stream. `after` is the
   * sequence of the last event the caller has: what came since is told. A promise of `whenReady`, which is
   * asked before each event, holds the next one back: for readers that take their time.
   */
  watch(
    id: string,
    options: Scope & {
      readonly after?: number;
      readonly whenReady?: () => Promise<unknown> | undefined;
    } = {},
  ): Observable<JobEvent> {
    return defer(() => {
      const jobId = checkedId(id);
      checkOptions(options, WATCH_KEYS);
      checkCallback(options.whenReady, 'whenReady');
      const after = wholeNumber(options.after ?? 0, 'after', Number.MAX_SAFE_INTEGER, 0);
      return from(this.#engine.open()).pipe(
        switchMap(() =>
          this.#engine.watch(jobId, options.after === undefined ? options : { ...options, after }),
        ),
      );
    });
  }

  /** Every attempt so far, the present one last. @throws JobsError `not_found` */
  async runs(id: string, scope: Scope = {}): Promise<readonly JobRun[]> {
    checkOptions(scope, SCOPE_KEYS);
    const found = await this.#find(id, scope.tenantId);
    return runsOf(found.job, await this.#engine.store.history.runs(found.job.id));
  }

  /** Lines that the job's handlers logged. @throws JobsError `not_found`, `invalid_request` */
  async logs(
    id: string,
    query: LogQuery = {},
  ): Promise<{ readonly lines: readonly JobLogLine[]; readonly nextAfter: number }> {
    checkOptions(query, LOG_KEYS, 'query');
    const { job } = await this.#find(id, query.tenantId);
    const after = wholeNumber(query.after ?? 0, 'after', Number.MAX_SAFE_INTEGER, 0);
    const lines = await this.#engine.store.history.lines(job.id, {
      after,
      level: levelOf(query.level ?? 'trace'),
      limit: wholeNumber(query.limit ?? 200, 'limit', MOST_LINES),
      tail: query.tail === undefined ? undefined : wholeNumber(query.tail, 'tail', MOST_LINES),
    });
    return {
      lines: lines.map((line) => ({
        seq: line.seq,
        at: new Date(line.atMs),
        level: LOG_LEVELS[line.level] ?? 'info',
        runId: line.runId,
        message: line.message,
        fields: line.fields === null ? null : (JSON.parse(line.fields) as JsonObject),
      })),
      nextAfter: lines.at(-1)?.seq ?? after,
    };
  }

  /**
   * Stops this process's workers gracefully, for a `main.ts` whose own resources close early. The
   * module does the same when the application closes.
   */
  drain(): Promise<void> {
    return this.#engine.drain();
  }

  async #after(
    id: string,
    options: Scope,
    work: (engine: Engine, jobId: string) => Promise<JobEntity>,
    known: ReadonlySet<string> = REASON_KEYS,
  ): Promise<Job> {
    const jobId = checkedId(id);
    checkOptions(options, known);
    await this.#opened();
    const job = await work(this.#engine, jobId);
    return this.#view(job, this.#engine.isPaused(job.queue));
  }

  async #find(id: string, tenantId: string | undefined): Promise<ListedJob> {
    const jobId = checkedId(id);
    await this.#opened();
    const found = await this.#engine.store.jobs.find(jobId, tenantId);
    if (found === undefined) {
      throw notFound('job', id);
    }
    return found;
  }

  #view(job: JobEntity, isPaused: boolean): Job {
    return jobOf(job, { isPaused, nowMs: this.#engine.store.estimateNowMs() });
  }

  #opened(): Promise<void> | undefined {
    return this.#engine.isOpen ? undefined : this.#engine.open();
  }
}

function levelOf(level: LogLevel): number {
  const index = LOG_LEVELS.indexOf(level);
  if (index < 0) {
    throw new JobsError(
      'invalid_request',
      `level is "${String(level)}": use ${LOG_LEVELS.join(', ')}.`,
      {
        errors: [{ field: 'level', message: `must be one of ${LOG_LEVELS.join(', ')}` }],
      },
    );
  }
  return index;
}
