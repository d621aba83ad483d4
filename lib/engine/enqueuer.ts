import type { JobEntity } from '../entities/job.entity.js';
import type { EnqueueManyOutcome, EnqueueOptions } from '../model/enqueue-options.js';
import type { EnqueueItem } from '../model/job-type.js';
import { isJobsError, JobsError } from '../model/errors.js';
import type { EnqueuedJob, Job } from '../model/job.js';
import { duplicateJob } from '../model/unique.js';
import type {
  ChangeResult,
  Created,
  DraftDependency,
  Failure,
  InsertResult,
  JoinedTransaction,
  KeyHolder,
  Store,
} from '../store/store.js';
import { checkedKey, checkedTenant } from './enqueue-checks.js';
import type { Hearers } from './draft-extras.js';
import { Drafts, requestHash, type Prepared } from './drafts.js';
import type { EngineOptions } from './engine-options.js';
import type { HandlerRegistry, RegisteredType } from './handlers.js';
import { hasHook } from './hooks.js';
import { jobOf, jobOfCreated } from './job-view.js';
import type { Limits } from './limits.js';
import { checkOptionKeys, ENQUEUE_KEYS, ITEM_KEYS } from './option-keys.js';

/** What only the engine itself may say about an enqueue. */
export interface EnqueueOrigin {
  readonly upstreamJobId?: string;
  /** A transaction of the handler that the enqueue joins. */
  readonly joined?: JoinedTransaction | undefined;
  /** Throws when whoever enqueues may not any more; asked right before a job is stored. */
  readonly check?: () => void;
}

/** What only the engine itself may say about an enqueue of many. */
export interface ManyOrigin {
  /** What items wait for among the others, by their places. */
  readonly among?: readonly (readonly DraftDependency[])[];
  readonly tries?: number;
}

/** What the enqueuer needs of the engine. */
export interface EnqueuerParts {
  readonly hearers: Hearers;
  readonly store: Store;
  readonly options: EngineOptions;
  readonly handlers: HandlerRegistry;
  readonly limits: Limits;
  readonly random: () => number;
  isPaused(queue: string): boolean;
  /** Tells that a job was stored, after the commit. */
  enqueued(created: Created, type: RegisteredType): void;
  /** Tells that a job that waits has changed, after the commit. */
  stored(result: ChangeResult): void;
}

/** Turns requests into jobs: drafts, one insert, the answer. */
export class Enqueuer {
  readonly #parts: EnqueuerParts;
  readonly #drafts: Drafts;

  constructor(parts: EnqueuerParts) {
    this.#parts = parts;
    this.#drafts = new Drafts(parts);
  }

  /** @throws JobsError with every code that contract an enqueue may refuse with */
  async enqueue(
    ref: unknown,
    params: unknown,
    options: EnqueueOptions<unknown>,
    origin: EnqueueOrigin = {},
  ): Promise<EnqueuedJob> {
    const type = this.#parts.handlers.named(ref);
    checkOptionKeys(options, ENQUEUE_KEYS);
    const joined =
      origin.joined ??
      (options.manager === undefined ? undefined : this.#parts.store.join(options.manager));
    const replayed =
      options.idempotencyKey === undefined
        ? undefined
        : await this.#replay(type, params, options, joined);
    if (replayed !== undefined) {
      return replayed;
    }
    for (let tries = 1; ; tries += 1) {
      const preparing = this.#drafts.prepare(type, params, options, origin);
      const prepared = preparing instanceof Promise ? await preparing : preparing;
      // Checks and hooks may have taken longer than the run that enqueues.
      origin.check?.();
      const result = await (joined ?? this.#parts.store.jobs).insert(prepared);
      if (result.outcome !== 'id_taken') {
        return this.#outcome(result, prepared, joined);
      }
      refuseAfter(tries);
    }
  }

  /** Stores many jobs in one transaction: all or none, or with an outcome each. */
  async enqueueMany(
    items: readonly EnqueueItem[],
    onConflict: 'fail' | 'ignore',
    manager: unknown,
    { among = [], tries = 1 }: ManyOrigin = {},
  ): Promise<EnqueueManyOutcome[]> {
    // Once one job of a call brings its id along all do, so that their order is the call's.
    const withId = this.#isAnySeen(items);
    const joined = manager === undefined ? undefined : this.#parts.store.join(manager);
    const outcomes: EnqueueManyOutcome[] = [];
    const accepted: Prepared[] = [];
    /** Where the accepted ones stand in the call. */
    const indexes: number[] = [];
    const places = new Map<number, number>();
    for (let index = 0; index < items.length; index += 1) {
      const item = items[index] as EnqueueItem;
      try {
        checkOptionKeys(item, ITEM_KEYS, 'item');
        const type = this.#parts.handlers.named(item.type);
        const replayed =
          item.idempotencyKey === undefined
            ? undefined
            : await this.#replay(type, item.params, item, joined);
        if (replayed !== undefined) {
          outcomes[index] = { outcome: 'replayed', job: replayed };
          continue;
        }
        const preparing = this.#drafts.prepare(type, item.params, item, {
          withId,
          among: among[index]?.map(({ on, onFailure }) => ({
            // One that was there before, or one that is stored with it.
            on: outcomes[Number(on)]?.job?.id ?? places.get(Number(on)) ?? on,
            onFailure,
          })),
        });
        const prepared = preparing instanceof Promise ? await preparing : preparing;
        refuseForeign(prepared, accepted);
        places.set(index, accepted.length);
        accepted.push(prepared);
        indexes.push(index);
      } catch (error) {
        if (onConflict === 'fail' || !isJobsError(error)) {
          throw isJobsError(error) ? atIndex(error, index) : error;
        }
        outcomes[index] = { outcome: 'rejected', error: atIndex(error, index) };
      }
    }
    const results = await this.#insertAll(accepted, indexes, onConflict, joined);
    if (results[0]?.outcome === 'id_taken') {
      refuseAfter(tries);
      return this.enqueueMany(items, onConflict, manager, { among, tries: tries + 1 });
    }
    for (let at = 0; at < accepted.length; at += 1) {
      const prepared = accepted[at];
      const index = indexes[at];
      const result = results[at];
      if (prepared && index !== undefined && result && result.outcome !== 'id_taken') {
        outcomes[index] = this.#itemOutcome(prepared, index, result, joined);
      }
    }
    return outcomes;
  }

  /** Whether a hook sees one of the jobs before they are stored. Items of a call mostly are of one type. */
  #isAnySeen(items: readonly (EnqueueItem | null)[]): boolean {
    let last: unknown;
    return items.some((item) => {
      const ref: unknown = item?.type;
      if (ref === last) {
        return false;
      }
      last = ref;
      const type = this.#parts.handlers.find(ref);
      return type !== undefined && hasHook(type, 'onJobInit');
    });
  }

  async #insertAll(
    accepted: readonly Prepared[],
    indexes: readonly number[],
    onConflict: 'fail' | 'ignore',
    joined: JoinedTransaction | undefined,
  ): Promise<readonly InsertResult[]> {
    let refusal: JobsError | undefined;
    const results = await (joined ?? this.#parts.store.jobs).insertAll(accepted, (by, at) => {
      const item = accepted[at];
      if (onConflict === 'fail' && item !== undefined) {
        if ('outcome' in by) {
          refusal = atIndex(failure(by), indexes[at] ?? at);
        } else if (by.requestHash !== item.requestHash) {
          refusal = atIndex(conflict(by), indexes[at] ?? at);
        }
      }
      return refusal !== undefined;
    });
    if (refusal !== undefined) {
      throw refusal;
    }
    return results;
  }

  #itemOutcome(
    prepared: Prepared,
    index: number,
    result: Exclude<InsertResult, { outcome: 'id_taken' }>,
    joined: JoinedTransaction | undefined,
  ): EnqueueManyOutcome {
    try {
      const job = this.#outcome(result, prepared, joined);
      return { outcome: job.outcome, job };
    } catch (error) {
      if (!isJobsError(error)) {
        throw error;
      }
      return { outcome: 'rejected', error: atIndex(error, index) };
    }
  }

  /** The job that holds the key already, before params are checked and hooks run. */
  async #replay(
    type: RegisteredType,
    params: unknown,
    options: Omit<EnqueueOptions<unknown>, 'manager'>,
    joined: JoinedTransaction | undefined,
  ): Promise<EnqueuedJob | undefined> {
    const key = checkedKey(options.idempotencyKey);
    const tenantId = checkedTenant(options.tenantId);
    const found =
      joined === undefined
        ? (await this.#parts.store.jobs.findByKey(tenantId, key))?.job
        : await joined.findByKey(tenantId, key);
    if (found === undefined) {
      return undefined;
    }
    if (found.requestHash !== requestHash(type.typeId, this.#drafts.received(params).value)) {
      throw conflict(found);
    }
    return this.#replayed(found);
  }

  #outcome(
    result: Exclude<InsertResult, { outcome: 'id_taken' }>,
    prepared: Prepared,
    joined: JoinedTransaction | undefined,
  ): EnqueuedJob {
    if (result.outcome === 'taken') {
      const { job } = result;
      if (job.requestHash !== prepared.requestHash) {
        throw conflict(job);
      }
      return this.#replayed(job);
    }
    if (result.outcome === 'existing' || result.outcome === 'replaced') {
      if (result.outcome === 'replaced') {
        const { news } = result;
        afterCommit(joined, () => this.#parts.stored(news));
      }
      return Object.assign(this.#view(result.job), { outcome: result.outcome });
    }
    if (result.outcome !== 'created') {
      throw failure(result);
    }
    afterCommit(joined, () => this.#parts.enqueued(result, prepared.type));
    const isPaused = this.#parts.isPaused(prepared.terms.queue);
    return jobOfCreated(result, isPaused, prepared.value);
  }

  #replayed(job: JobEntity): EnqueuedJob {
    return Object.assign(this.#view(job), { outcome: 'replayed' as const });
  }

  #view(job: JobEntity): Job {
    const isPaused = this.#parts.isPaused(job.queue);
    return jobOf(job, { isPaused, nowMs: this.#parts.store.estimateNowMs() });
  }
}

const MOST_TRIES = 5;

/** Now, or when the caller's transaction has committed. */
function afterCommit(joined: JoinedTransaction | undefined, tell: () => void): void {
  if (joined === undefined) {
    tell();
  } else {
    joined.onCommit(tell);
  }
}

/** Whoever loses a place to a job of the same moment tries again, under another id. */
function refuseAfter(tries: number): void {
  if (tries >= MOST_TRIES) {
    throw new JobsError(
      'database_busy',
      `Other jobs had the row of this one ${MOST_TRIES} times, so nothing was stored. Try again; check that the clocks of all machines are right.`,
      { retryAfterSec: 1 },
    );
  }
}

function failure(refused: Failure): JobsError {
  if (refused.outcome === 'duplicate') {
    return duplicateJob(refused, 'nothing was stored');
  }
  const [first = ''] = refused.ids;
  const more = refused.ids.length > 1 ? ` and ${refused.ids.length - 1} more` : '';
  return new JobsError(
    'unknown_dependency',
    `There is no job ${first}${more} to depend on, so nothing was stored. Name jobs of the same tenant that are there, or in a flow its own keys; retention may have deleted it.`,
    {
      errors: refused.ids.map((id) => ({ field: 'dependsOn', message: `there is no job ${id}` })),
    },
  );
}

/** @throws JobsError `unknown_dependency` where a job waits for an earlier one of the call that is another tenant's */
function refuseForeign({ terms, extras }: Prepared, earlier: readonly Prepared[]): void {
  const isForeign = (extras?.dependsOn ?? []).some(
    ({ on }) => typeof on === 'number' && earlier[on]?.terms.tenantId !== terms.tenantId,
  );
  if (isForeign) {
    throw new JobsError(
      'unknown_dependency',
      `A job of tenant ${terms.tenantId} cannot depend on one of another tenant, so nothing was stored. Give both the same tenantId.`,
      { errors: [{ field: 'dependsOn', message: 'names a job of another tenant' }] },
    );
  }
}

function conflict({ id }: KeyHolder): JobsError {
  return id === undefined
    ? new JobsError(
        'idempotency_conflict',
        'Two jobs of this call have the same idempotency key, and another type or other params. Use a new key for other work.',
      )
    : new JobsError(
        'idempotency_conflict',
        `The idempotency key names job ${id}, which was made with another type or other params. Use a new key for other work.`,
        { members: { job_id: id } },
      );
}

function atIndex(error: JobsError, index: number): JobsError {
  return new JobsError(error.code, `jobs.${index}: ${error.message}`, {
    cause: error,
    errors: (error.errors ?? []).map((each) => ({ ...each, field: `jobs.${index}.${each.field}` })),
    members: { ...error.members, index },
  });
}
