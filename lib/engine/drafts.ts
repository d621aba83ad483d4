import { createHash } from 'node:crypto';
import { durationMs } from '../model/duration.js';
import type { EnqueueOptions } from '../model/enqueue-options.js';
import { isJobsError, JobsError } from '../model/errors.js';
import { IdSequence } from '../model/id.js';
import { canonicalJson, type JsonValue } from '../model/json.js';
import { toJson, toJsonText, type StoredJson } from '../model/json-text.js';
import type { DraftDependency, JobDraft, JobTerms, Store } from '../store/store.js';
import { draftExtras, type Hearers } from './draft-extras.js';
import {
  badField,
  checkedChannel,
  checkedInstant,
  checkedKey,
  checkedStart,
  checkedTags,
  checkedTenant,
  checkedUser,
} from './enqueue-checks.js';
import type { EngineOptions } from './engine-options.js';
import type { RegisteredType } from './handlers.js';
import { hasHook, instanceFor } from './hooks.js';
import { InitJob } from './init-job.js';
import type { Limits } from './limits.js';
import { wholeNumber } from './retry-policy-columns.js';
import { uniqueClaim } from './unique.js';

/** A checked request for a job: what is stored, and what is given back for it. */
export interface Prepared extends JobDraft {
  readonly type: RegisteredType;
  /** The params as stored, for the job that is given back. */
  readonly value: JsonValue;
}

/** What one item may say, whoever stores it. */
type ItemOptions = Omit<EnqueueOptions<unknown>, 'manager'>;

/** What is needed to make drafts. */
export interface DraftsParts {
  readonly hearers: Hearers;
  readonly store: Store;
  readonly options: EngineOptions;
  readonly limits: Limits;
  readonly random: () => number;
}

/** What only the engine itself says about a draft. */
export interface DraftOrigin {
  readonly upstreamJobId?: string | undefined;
  /** Whether the job brings its id along, as one that a hook has seen does. */
  readonly withId?: boolean;
  /** Jobs of the same call that it waits for, by their places. */
  readonly among?: readonly DraftDependency[] | undefined;
  /** The schedule that makes it. */
  readonly scheduleId?: string;
  /** Whether it is only to be seen that it would be taken: no hook is called. */
  readonly isTrial?: boolean;
}

/** Makes drafts of requests: checks, defaults, the init hook. */
export class Drafts {
  readonly #parts: DraftsParts;
  readonly #defaultTerms = new Map<RegisteredType, JobTerms>();
  // Storing counts from 0 within a millisecond: these ids begin elsewhere, so that both seldom meet.
  readonly #ids: IdSequence;

  constructor(parts: DraftsParts) {
    this.#parts = parts;
    this.#ids = new IdSequence(2048 + Math.floor(parts.random() * 1024));
  }

  /** Checks everything and runs the init hook; synchronous when nothing in it is not. */
  prepare(
    type: RegisteredType,
    params: unknown,
    options: ItemOptions,
    origin: DraftOrigin = {},
  ): Prepared | Promise<Prepared> {
    const received = this.received(params);
    const accepted = type.params.accept(params === undefined ? undefined : received.value);
    return accepted instanceof Promise
      ? accepted.then((value) => this.#draft(type, value, received, options, origin))
      : this.#draft(type, accepted, received, options, origin);
  }

  /** The params of a request as JSON. @throws JobsError `invalid_params`, `too_large` */
  received(params: unknown): StoredJson {
    const { params: bytes, depth } = this.#parts.options.limits;
    return toJson(params === undefined ? {} : params, 'params', { bytes, depth });
  }

  #draft(
    type: RegisteredType,
    params: JsonValue,
    received: StoredJson,
    options: ItemOptions,
    origin: DraftOrigin,
  ): Prepared | Promise<Prepared> {
    const { params: bytes, depth } = this.#parts.options.limits;
    const key = options.idempotencyKey;
    const hasInit = origin.isTrial !== true && hasHook(type, 'onJobInit');
    const prepared: Prepared = {
      type,
      value: params,
      id:
        hasInit || origin.withId === true
          ? this.#ids.next(this.#parts.store.estimateNowMs())
          : undefined,
      idempotencyKey: key === undefined ? null : checkedKey(key),
      requestHash: key === undefined ? null : requestHash(type.typeId, received.value),
      params:
        params === received.value ? received.text : toJsonText(params, 'params', { bytes, depth }),
      limitKey: null,
      extras: draftExtras(
        options,
        origin.among,
        this.#parts.hearers,
        origin.scheduleId,
        uniqueClaim(type, options.unique, params),
      ),
      terms: this.#terms(type, options, origin.upstreamJobId),
      tried: undefined,
    };
    return hasInit ? this.#init(prepared) : this.#limited(prepared);
  }

  /** With what limits count it by, which is worked out of the job as it will be stored. */
  #limited(prepared: Prepared): Prepared {
    const { type, terms } = prepared;
    if (this.#parts.limits.of(type) === undefined) {
      return prepared;
    }
    const limitKey = this.#parts.limits.keyOf(type, terms.tenantId, () => {
      const { id: _, ...job } = this.#initJob(prepared, '').view;
      return job;
    });
    return { ...prepared, limitKey };
  }

  #initJob(prepared: Prepared, id: string): InitJob {
    return new InitJob(
      prepared,
      id,
      prepared.type.params.instantiate(JSON.parse(prepared.params) as JsonValue),
      this.#parts.store.estimateNowMs(),
    );
  }

  #terms(type: RegisteredType, options: ItemOptions, upstreamJobId: string | undefined): JobTerms {
    if (upstreamJobId !== undefined || hasTerms(options)) {
      return this.#ownTerms(type, options, upstreamJobId ?? null);
    }
    let terms = this.#defaultTerms.get(type);
    if (terms === undefined) {
      terms = this.#ownTerms(type, {}, null);
      this.#defaultTerms.set(type, terms);
    }
    return terms;
  }

  #ownTerms(type: RegisteredType, options: ItemOptions, upstreamJobId: string | null): JobTerms {
    const { limits } = this.#parts.options;
    const { priority, expiresAt, timeout, maxRetries, retryDelay, state } = options;
    return {
      tenantId: checkedTenant(options.tenantId),
      userId: checkedUser(options.userId),
      type: type.typeId,
      typeVersion: type.version,
      group: type.group,
      queue: type.queue,
      channel: checkedChannel(options.channel),
      priority: priority === undefined ? 0 : wholeNumber(priority, 'priority', -(2 ** 31)),
      ...checkedStart(options),
      expiresAtMs: expiresAt === undefined ? null : checkedInstant(expiresAt, 'expiresAt'),
      timeoutSec: timeout === undefined ? type.timeoutSec : durationMs(timeout, 'timeout') / 1000,
      maxRetries:
        maxRetries === undefined ? type.maxRetries : wholeNumber(maxRetries, 'maxRetries'),
      retryDelaySec:
        retryDelay === undefined ? type.retryDelaySec : durationMs(retryDelay, 'retryDelay') / 1000,
      state:
        state === undefined
          ? null
          : toJsonText(
              state,
              'state',
              { bytes: limits.state, depth: limits.depth },
              'invalid_request',
            ),
      tags: checkedTags(options.tags),
      meta: this.#metaText(options.meta),
      upstreamJobId,
    };
  }

  /** Calls the hook, which sees the job under the id that it will have. */
  async #init(prepared: Prepared): Promise<Prepared> {
    const { type } = prepared;
    // `#draft` gives an id to whatever has the hook.
    const id = prepared.id ?? '';
    const job = this.#initJob(prepared, id);
    try {
      const handler = await instanceFor(type, 'onJobInit', id);
      await handler?.onJobInit?.(job.view);
    } catch (error) {
      throw isJobsError(error) && error.code === 'invalid_request'
        ? error
        : initFailed(type.typeId, error);
    }
    return this.#limited({ ...prepared, terms: { ...prepared.terms, ...job.policy } });
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
export function requestHash(typeId: string, received: JsonValue): string {
  return createHash('sha256')
    .update(typeId)
    .update('\n')
    .update(canonicalJson(received))
    .digest('hex');
}

/** What a request may say without terms of its own. */
const NO_TERMS: ReadonlySet<string> = new Set([
  'type',
  'params',
  'idempotencyKey',
  'manager',
  'dependsOn',
]);

/** Whether a request asks for anything but its type's defaults. */
function hasTerms(options: object): boolean {
  for (const key in options) {
    if (!NO_TERMS.has(key)) {
      return true;
    }
  }
  return false;
}

function initFailed(typeId: string, error: unknown): JobsError {
  const reason = error instanceof Error ? error.message : String(error);
  return new JobsError(
    'init_failed',
    `The job type "${typeId}" refused the job: ${reason.slice(0, 1000)}. Nothing was stored.`,
    { cause: error },
  );
}
