import { createHash } from 'node:crypto';
import type { JobEntity } from '../entities/job.entity.js';
import { durationMs } from '../model/duration.js';
import type { EnqueueManyOutcome, EnqueueOptions } from '../model/enqueue-options.js';
import type { EnqueueItem } from '../model/job-type.js';
import { isJobsError, JobsError } from '../model/errors.js';
import { newId } from '../model/id.js';
import type { EnqueuedJob, EnqueueOutcome } from '../model/job.js';
import { canonicalJson, type JsonValue } from '../model/json.js';
import { toJsonText } from '../model/json-text.js';
import { NIL_TENANT } from '../model/tenant.js';
import type { InsertResult, JobDraft, JoinedTransaction, Store } from '../store/store.js';
import { instanceFor } from './hooks.js';
import type { EngineOptions } from './engine-options.js';
import type { HandlerRegistry, RegisteredType } from './handlers.js';
import { InitJob } from './init-job.js';
import { jobOf } from './job-view.js';
import { checkOptionKeys, ENQUEUE_KEYS, ITEM_KEYS } from './option-keys.js';
import { wholeNumber } from './retry-policy-columns.js';

/** What only the engine itself may say about an enqueue. */
export interface EnqueueOrigin {
  readonly upstreamJobId?: string;
  /** A transaction of the handler that the enqueue joins. */
  readonly joined?: JoinedTransaction | undefined;
}

/** What the enqueuer needs of the engine. */
export interface EnqueuerParts {
  readonly store: Store;
  readonly options: EngineOptions;
  readonly handlers: HandlerRegistry;
  isPaused(queue: string): boolean;
  /** Tells that a job was stored, after the commit. */
  enqueued(job: JobEntity): void;
}

/** A checked request for a job. */
interface Prepared {
  readonly draft: JobDraft;
  /** The params as stored, for the job that is given back. */
  readonly params: JsonValue;
}

/** Turns requests into jobs: checks, defaults, the init hook, one insert. */
export class Enqueuer {
  readonly #parts: EnqueuerParts;

  constructor(parts: EnqueuerParts) {
    this.#parts = parts;
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
    const prepared = this.#prepare(type, params, options, origin);
    const { draft, params: stored } = prepared instanceof Promise ? await prepared : prepared;
    const result = await (joined ?? this.#parts.store.jobs).insert(draft);
    return this.#outcome(type, result, draft, stored, joined);
  }

  /** Stores many jobs in one transaction: all or none, or with an outcome each. */
  async enqueueMany(
    items: readonly EnqueueItem[],
    onConflict: 'fail' | 'ignore',
    manager: unknown,
  ): Promise<EnqueueManyOutcome[]> {
    const joined = manager === undefined ? undefined : this.#parts.store.join(manager);
    const outcomes: EnqueueManyOutcome[] = [];
    const accepted: { index: number; type: RegisteredType; prepared: Prepared }[] = [];
    for (const [index, item] of items.entries()) {
      try {
        const type = this.#parts.handlers.named(item.type);
        checkOptionKeys(item, ITEM_KEYS);
        const replayed =
          item.idempotencyKey === undefined
            ? undefined
            : await this.#replay(type, item.params, item, joined);
        if (replayed !== undefined) {
          outcomes[index] = { outcome: 'replayed', job: replayed };
          continue;
        }
        const prepared = this.#prepare(type, item.params, item, {});
        accepted.push({
          index,
          type,
          prepared: prepared instanceof Promise ? await prepared : prepared,
        });
      } catch (error) {
        if (onConflict === 'fail' || !isJobsError(error)) {
          throw isJobsError(error) ? atIndex(error, index) : error;
        }
        outcomes[index] = { outcome: 'rejected', error: atIndex(error, index) };
      }
    }
    const results = await this.#insertAll(accepted, onConflict, joined);
    for (const [at, { index, type, prepared }] of accepted.entries()) {
      const result = results[at];
      if (result !== undefined) {
        outcomes[index] = this.#itemOutcome(index, type, prepared, result, joined);
      }
    }
    return outcomes;
  }

  async #insertAll(
    accepted: readonly { index: number; prepared: Prepared }[],
    onConflict: 'fail' | 'ignore',
    joined: JoinedTransaction | undefined,
  ): Promise<readonly InsertResult[]> {
    let refusal: JobsError | undefined;
    const results = await (joined ?? this.#parts.store.jobs).insertAll(
      accepted.map((each) => each.prepared.draft),
      (taken, at) => {
        const item = accepted[at];
        if (
          onConflict === 'fail' &&
          item !== undefined &&
          taken.job.requestHash !== item.prepared.draft.requestHash
        ) {
          refusal = atIndex(conflict(taken.job), item.index);
        }
        return refusal !== undefined;
      },
    );
    if (refusal !== undefined) {
      throw refusal;
    }
    return results;
  }

  #itemOutcome(
    index: number,
    type: RegisteredType,
    { draft, params }: Prepared,
    result: InsertResult,
    joined: JoinedTransaction | undefined,
  ): EnqueueManyOutcome {
    try {
      const job = this.#outcome(type, result, draft, params, joined);
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
    if (found.requestHash !== requestHash(type.typeId, this.#received(params))) {
      throw conflict(found);
    }
    return this.#view(found, 'replayed');
  }

  /** Checks everything and runs the init hook; synchronous when nothing in it is not. */
  #prepare(
    type: RegisteredType,
    params: unknown,
    options: Omit<EnqueueOptions<unknown>, 'manager'>,
    origin: EnqueueOrigin,
  ): Prepared | Promise<Prepared> {
    const received = this.#received(params);
    const parsed = JSON.parse(received) as JsonValue;
    const accepted =
      params === undefined ? type.params.accept(undefined) : type.params.accept(parsed);
    if (accepted instanceof Promise) {
      return accepted.then((value) =>
        this.#draft(type, this.#paramsText(value), value, received, options, origin),
      );
    }
    const text = accepted === parsed ? received : this.#paramsText(accepted);
    return this.#draft(type, text, accepted, received, options, origin);
  }

  #draft(
    type: RegisteredType,
    text: string,
    params: JsonValue,
    received: string,
    options: Omit<EnqueueOptions<unknown>, 'manager'>,
    origin: EnqueueOrigin,
  ): Prepared | Promise<Prepared> {
    const { limits } = this.#parts.options;
    const key = options.idempotencyKey;
    const draft: JobDraft = {
      id: newId(this.#parts.store.estimateNowMs()),
      tenantId: checkedTenant(options.tenantId),
      userId: checkedUser(options.userId),
      idempotencyKey: key === undefined ? null : checkedKey(key),
      requestHash: key === undefined ? null : requestHash(type.typeId, received),
      type: type.typeId,
      typeVersion: type.version,
      group: type.group,
      queue: type.queue,
      channel: checkedChannel(options.channel),
      priority:
        options.priority === undefined ? 0 : wholeNumber(options.priority, 'priority', -(2 ** 31)),
      ...checkedStart(options),
      expiresAtMs:
        options.expiresAt === undefined ? null : checkedInstant(options.expiresAt, 'expiresAt'),
      timeoutSec:
        options.timeout === undefined
          ? type.timeoutSec
          : durationMs(options.timeout, 'timeout') / 1000,
      maxRetries:
        options.maxRetries === undefined
          ? type.maxRetries
          : wholeNumber(options.maxRetries, 'maxRetries'),
      retryDelaySec:
        options.retryDelay === undefined
          ? type.retryDelaySec
          : durationMs(options.retryDelay, 'retryDelay') / 1000,
      params: text,
      state:
        options.state === undefined
          ? null
          : toJsonText(
              options.state,
              'state',
              { bytes: limits.state, depth: limits.depth },
              'invalid_request',
            ),
      tags: checkedTags(options.tags),
      meta: this.#metaText(options.meta),
      upstreamJobId: origin.upstreamJobId ?? null,
    };
    const handler = instanceFor(type, 'onJobInit', draft.id);
    return handler === undefined ? { draft, params } : this.#init(type, draft, params, handler);
  }

  async #init(
    type: RegisteredType,
    draft: JobDraft,
    params: JsonValue,
    handler: NonNullable<ReturnType<typeof instanceFor>>,
  ): Promise<Prepared> {
    const job = new InitJob(
      draft,
      type.params.instantiate(JSON.parse(draft.params) as JsonValue),
      this.#parts.store.estimateNowMs(),
    );
    try {
      await (await handler).onJobInit?.(job.view);
    } catch (error) {
      throw isJobsError(error) && error.code === 'invalid_request'
        ? error
        : initFailed(type.typeId, error);
    }
    return { draft: { ...draft, ...job.policy }, params };
  }

  #outcome(
    type: RegisteredType,
    result: InsertResult,
    draft: JobDraft,
    params: JsonValue,
    joined: JoinedTransaction | undefined,
  ): EnqueuedJob {
    if (result.outcome === 'taken') {
      if (result.job.requestHash !== draft.requestHash) {
        throw conflict(result.job);
      }
      return this.#view(result.job, 'replayed');
    }
    const tell = (): void => this.#parts.enqueued(result.job);
    if (joined === undefined) {
      tell();
    } else {
      joined.onCommit(tell);
    }
    void type;
    return this.#view(result.job, 'created', params);
  }

  #view(job: JobEntity, outcome: EnqueueOutcome, params?: JsonValue): EnqueuedJob {
    const view = jobOf(job, {
      isPaused: this.#parts.isPaused(job.queue),
      nowMs: this.#parts.store.estimateNowMs(),
      params: params === undefined ? JSON.parse(job.params) : params,
    });
    return Object.assign(view, { outcome });
  }

  #received(params: unknown): string {
    return this.#paramsText(params === undefined ? {} : params);
  }

  #paramsText(params: unknown): string {
    const { params: bytes, depth } = this.#parts.options.limits;
    return toJsonText(params, 'params', { bytes, depth });
  }

  #metaText(meta: object | undefined): string | null {
    if (meta === undefined) {
      return null;
    }
    const { meta: bytes, depth } = this.#parts.options.limits;
    if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) {
      throw badField('meta', 'must be a JSON object');
    }
    return toJsonText(meta, 'meta', { bytes, depth }, 'invalid_request');
  }
}

/** What two requests under one key are compared by: the type and the params as received. */
export function requestHash(typeId: string, receivedText: string): string {
  return createHash('sha256')
    .update(typeId)
    .update('\n')
    .update(canonicalJson(JSON.parse(receivedText) as JsonValue))
    .digest('hex');
}

function checkedStart(options: Omit<EnqueueOptions<unknown>, 'manager'>): {
  runAtMs: number | undefined;
  delayMs: number;
} {
  if (options.runAt !== undefined && options.delay !== undefined) {
    throw badField('delay', 'must not be given together with run_at: give one of them');
  }
  return {
    runAtMs: options.runAt === undefined ? undefined : checkedInstant(options.runAt, 'runAt'),
    delayMs: options.delay === undefined ? 0 : durationMs(options.delay, 'delay'),
  };
}

/** @throws JobsError `invalid_request` for anything but a Date that a database can keep */
export function checkedInstant(value: unknown, field: string): number {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (!(Math.abs(ms) <= 8.64e15)) {
    throw badField(field, 'must be a valid Date');
  }
  return Math.trunc(ms);
}

/** @throws JobsError `invalid_request`; null when there are none */
export function checkedTags(tags: unknown): string | null {
  if (tags === undefined) {
    return null;
  }
  if (!Array.isArray(tags) || tags.length > 20) {
    throw badField('tags', 'must be an array of at most 20 texts');
  }
  for (const [index, tag] of tags.entries()) {
    if (!isPlainText(tag, 1, 64)) {
      throw badField(`tags.${index}`, 'must be a text of 1 to 64 characters');
    }
  }
  return tags.length === 0 ? null : JSON.stringify(tags);
}

function checkedKey(key: unknown): string {
  if (!isPlainText(key, 1, 255)) {
    throw badField('idempotency_key', 'must be a text of 1 to 255 characters');
  }
  return key;
}

/** @throws JobsError `invalid_request`; the nil UUID when absent */
export function checkedTenant(tenantId: unknown): string {
  if (tenantId === undefined) {
    return NIL_TENANT;
  }
  if (!isPlainText(tenantId, 1, 64)) {
    throw badField('tenantId', 'must be a text of 1 to 64 characters');
  }
  return tenantId;
}

function checkedUser(userId: unknown): string | null {
  if (userId === undefined || userId === null) {
    return null;
  }
  if (!isPlainText(userId, 1, 64)) {
    throw badField('userId', 'must be a text of 1 to 64 characters');
  }
  return userId;
}

function checkedChannel(channel: unknown): string {
  if (channel === undefined) {
    return '';
  }
  if (!isPlainText(channel, 0, 64)) {
    throw badField('channel', 'must be a text of at most 64 characters');
  }
  return channel;
}

const UNSTORABLE = /[\0]|\p{Surrogate}/u;

function isPlainText(value: unknown, least: number, most: number): value is string {
  return (
    typeof value === 'string' &&
    value.length >= least &&
    (value.length <= most || [...value].length <= most) &&
    !UNSTORABLE.test(value)
  );
}

function badField(field: string, message: string): JobsError {
  return new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
}

function conflict(job: JobEntity): JobsError {
  return new JobsError(
    'idempotency_conflict',
    `The idempotency key names job ${job.id}, which was made with another type or other params. Use a new key for other work.`,
    { members: { job_id: job.id } },
  );
}

function initFailed(typeId: string, error: unknown): JobsError {
  const reason = error instanceof Error ? error.message : String(error);
  return new JobsError(
    'init_failed',
    `The job type "${typeId}" refused the job: ${reason.slice(0, 1000)}. Nothing was stored.`,
    {
      cause: error,
    },
  );
}

function atIndex(error: JobsError, index: number): JobsError {
  return new JobsError(error.code, `jobs.${index}: ${error.message}`, {
    cause: error,
    errors: (error.errors ?? []).map((each) => ({ ...each, field: `jobs.${index}.${each.field}` })),
    members: { ...error.members, index },
  });
}
