import type { JobEntity } from '../entities/job.entity.js';
import { JobsError, notFound } from '../model/errors.js';
import { isActive, isFinal } from '../model/job-status.js';
import { toJsonText } from '../model/json-text.js';
import { effectOf, type JobOperation, type OperationEffect } from '../model/operations.js';
import { cutText, storableText } from '../model/text.js';
import { withoutWait } from '../model/extras.js';
import type { ChangeResult, JobChange } from '../store/store.js';
import { sweepDeleted } from './duties.js';
import { deleteAhead } from './cascade.js';
import type { EngineParts } from './engine-parts.js';
import { checkedInstant, checkedTags } from './enqueue-checks.js';
import { runErrorOf } from './job-view.js';
import { messageOf, resumeHooks, suspendHook, typeHere } from './operation-hooks.js';
import { isRefused, refusal } from './operation-refusals.js';
import { checkOptionKeys, PATCH_KEYS } from './option-keys.js';
import { policyColumns, wholeNumber, type PolicyColumns } from './retry-policy-columns.js';
import type { Duration } from '../model/duration.js';

/** Bytes that are kept of who did something. */
const MOST_OF_ACTOR = 255;

/** Whose job, and why. */
export interface OperationOptions {
  readonly tenantId?: string;
  readonly reason?: string;
  readonly actor?: string;
}

/** What `update` changes; what is absent stays. */
export interface JobPatch {
  readonly priority?: number;
  readonly runAt?: Date;
  readonly timeout?: Duration;
  readonly maxRetries?: number;
  readonly retryDelay?: Duration;
  readonly tags?: readonly string[];
}

/** The operations on jobs that exist, for code and REST alike. */
export class Operations {
  readonly #parts: EngineParts;
  readonly #abortLocal: (job: JobEntity, code: 'canceled' | 'suspended') => void;
  readonly #unlockLocal: (job: JobEntity) => void;
  readonly #policyChangedLocal: (job: JobEntity) => void;

  constructor(
    parts: EngineParts,
    local: {
      abort: (job: JobEntity, code: 'canceled' | 'suspended') => void;
      unlock: (job: JobEntity) => void;
      policyChanged: (job: JobEntity) => void;
    },
  ) {
    this.#parts = parts;
    this.#abortLocal = local.abort;
    this.#unlockLocal = local.unlock;
    this.#policyChangedLocal = local.policyChanged;
  }

  async cancel(id: string, options: OperationOptions): Promise<JobEntity> {
    const result = await this.#operate(id, 'cancel', options, (_job, effect, nowMs) => ({
      set: {
        ...(effect === 'canceling' ? { status: effect } : ended('canceled', nowMs)),
        cancelRequestedAtMs: nowMs,
        ...this.#details(options.reason),
      },
    }));
    if (result.changed && result.after.status === 'canceling') {
      this.#abortLocal(result.after, 'canceled');
    }
    return result.after;
  }

  /** Cancels a job if it still waits; false when it does not. */
  async cancelWaiting(id: string, options: OperationOptions): Promise<boolean> {
    const result = await this.#change(id, options.tenantId, (job, nowMs) =>
      job.status === 'waiting'
        ? this.#noted(
            {
              set: {
                ...ended('canceled', nowMs),
                cancelRequestedAtMs: nowMs,
                ...this.#details(options.reason),
              },
            },
            options,
          )
        : undefined,
    );
    return result.changed;
  }

  async suspend(id: string, options: OperationOptions): Promise<JobEntity> {
    const job = await this.#find(id, options.tenantId);
    const effect = effectOf('suspend', job.status);
    if (isRefused(effect)) {
      throw refusal('suspend', job, effect);
    }
    if (effect !== 'same') {
      await suspendHook(this.#parts, job);
    }
    const result = await this.#operate(id, 'suspend', options, (_job, next) => ({
      set: {
        status: next === 'suspending' ? 'suspending' : 'suspended',
        ...this.#details(options.reason),
      },
    }));
    if (result.changed && result.after.status === 'suspending') {
      this.#abortLocal(result.after, 'suspended');
    }
    return result.after;
  }

  async resume(id: string, options: OperationOptions): Promise<JobEntity> {
    const job = await this.#find(id, options.tenantId);
    const effect = effectOf('resume', job.status);
    if (isRefused(effect)) {
      throw refusal('resume', job, effect);
    }
    if (effect === 'same') {
      return job;
    }
    const type = typeHere(this.#parts, job);
    const { workerId, options: engine } = this.#parts;
    const begun = await this.#operate(id, 'resume', options, (_job, _effect, nowMs) => ({
      set: { status: 'resuming', workerId, leaseUntilMs: nowMs + engine.lease.durationMs },
    }));
    if (!begun.changed) {
      return begun.after;
    }
    const policy: PolicyColumns = {};
    const failure = await resumeHooks(this.#parts, begun.after, type, policy);
    const result = await this.#change(id, undefined, (stored, nowMs) =>
      stored.status !== 'resuming' || stored.sequence !== begun.after.sequence
        ? undefined
        : {
            ...(failure === undefined ? this.#noted({ set: {} }, options) : {}),
            set:
              failure === undefined
                ? {
                    status: 'waiting',
                    workerId: null,
                    leaseUntilMs: null,
                    ...policy,
                    ...this.#details(options.reason),
                  }
                : {
                    ...ended('failed', nowMs),
                    workerId: null,
                    error: this.#errorText(failure.thrown),
                    ...this.#details(messageOf(failure.thrown)),
                  },
          },
    );
    if (failure !== undefined) {
      throw new JobsError(
        'resume_failed',
        `Job ${id} could not be resumed and has failed: ${messageOf(failure.thrown)}`,
        {
          cause: failure.thrown,
          members: { job_id: id },
        },
      );
    }
    if (!result.changed) {
      // Canceled meanwhile, or put back because its hooks outlived its lease.
      throw refusal('resume', result.after, 'refused');
    }
    return result.after;
  }

  async retry(id: string, options: OperationOptions): Promise<JobEntity> {
    const result = await this.#operate(id, 'retry', options, (job, _effect, nowMs) => ({
      isRetry: true,
      set: {
        status: 'waiting',
        runAtMs: nowMs,
        retries: 0,
        lost: 0,
        progress: 0,
        progressDetails: null,
        completed: null,
        total: null,
        error: null,
        result: null,
        startedAtMs: null,
        finishedAtMs: null,
        cancelRequestedAtMs: null,
        runId: null,
        workerId: null,
        runOutcome: null,
        extras: withoutWait(job.extras),
        expiresAtMs: job.expiresAtMs !== null && job.expiresAtMs <= nowMs ? null : job.expiresAtMs,
        ...this.#details(options.reason),
      },
      archiveRun: {
        outcome:
          job.runOutcome ??
          (job.status === 'canceled' || job.status === 'timeout' ? job.status : 'failed'),
        error: runErrorOf(job),
      },
    }));
    return result.after;
  }

  async skip(id: string, options: OperationOptions): Promise<JobEntity> {
    const result = await this.#operate(id, 'skip', options, (_job, _effect, nowMs) => ({
      set: { ...ended('skipped', nowMs), ...this.#details(options.reason) },
    }));
    return result.after;
  }

  async fail(
    id: string,
    options: OperationOptions & { readonly result?: unknown },
  ): Promise<JobEntity> {
    const { limits } = this.#parts.options;
    const text =
      options.result === undefined
        ? undefined
        : toJsonText(options.result, 'result', { bytes: limits.result, depth: limits.depth });
    const reason = options.reason ?? 'failed by an operator';
    const result = await this.#operate(id, 'fail', options, (_job, _effect, nowMs) => ({
      set: {
        ...ended('failed', nowMs),
        error: this.#errorText(reason),
        ...this.#details(reason),
        ...(text === undefined ? {} : { result: text }),
      },
    }));
    return result.after;
  }

  async update(id: string, patch: JobPatch, options: OperationOptions): Promise<JobEntity> {
    checkOptionKeys(patch, PATCH_KEYS);
    const set: Partial<JobEntity> = {
      ...policyColumns(patch),
      ...(patch.priority === undefined
        ? {}
        : { priority: wholeNumber(patch.priority, 'priority', -(2 ** 31)) }),
      ...(patch.runAt === undefined ? {} : { runAtMs: checkedInstant(patch.runAt, 'runAt') }),
      ...(patch.tags === undefined ? {} : { tags: checkedTags(patch.tags) }),
    };
    const result = await this.#change(id, options.tenantId, (job) =>
      isFinal(job.status)
        ? undefined
        : this.#acted(job, { set: { ...set, ...etaColumns(job, set.timeoutSec) } }, options),
    );
    if (isFinal(result.before.status)) {
      throw new JobsError(
        'already_ended',
        `Job ${id} has ended as ${result.before.status}, so it cannot be updated.`,
        {
          members: { status: result.before.status },
        },
      );
    }
    this.#policyChangedLocal(result.after);
    return result.after;
  }

  async unlock(id: string, options: OperationOptions): Promise<JobEntity> {
    const result = await this.#change(id, options.tenantId, (job) =>
      job.status === 'locked' ? this.#acted(job, { set: { lockedBy: null } }, options) : undefined,
    );
    if (result.changed) {
      this.#unlockLocal(result.after);
    }
    return result.after;
  }

  /** With `cascade` also, transitively, the jobs that wait for it. */
  async delete(
    id: string,
    options: OperationOptions & { readonly cascade?: boolean },
  ): Promise<void> {
    if (options.cascade === true) {
      const job = await this.#find(id, options.tenantId);
      const effect = effectOf('delete', job.status);
      if (isRefused(effect)) {
        throw refusal('delete', job, effect);
      }
      await deleteAhead(this.#parts.store, job, (gone) => this.#parts.bus.removed(gone));
    }
    const {
      before,
      note,
      others = [],
    } = await this.#operate(id, 'delete', options, () => ({
      set: {},
      remove: true,
      cascade: options.cascade === true,
    }));
    if (note !== undefined) {
      this.#parts.bus.said(before, note, before.sequence + 1);
    }
    for (const removed of [before, ...others.map((each) => each.before)]) {
      this.#parts.bus.removed(removed.id);
    }
    void sweepDeleted(this.#parts);
  }

  async #operate(
    id: string,
    operation: JobOperation,
    options: OperationOptions,
    change: (job: JobEntity, effect: OperationEffect, nowMs: number) => JobChange,
  ): Promise<ChangeResult> {
    let effect: OperationEffect = 'same';
    const result = await this.#change(id, options.tenantId, (job, nowMs) => {
      effect = effectOf(operation, job.status);
      return effect === 'same' || isRefused(effect)
        ? undefined
        : this.#noted(change(job, effect, nowMs), options);
    });
    if (isRefused(effect)) {
      throw refusal(operation, result.before, effect);
    }
    return result;
  }

  async #change(
    id: string,
    tenantId: string | undefined,
    decide: (job: JobEntity, nowMs: number) => JobChange | undefined,
  ): Promise<ChangeResult> {
    const result = await this.#parts.store.jobs.change(id, decide, tenantId);
    if (result === undefined) {
      throw notFound('job', id);
    }
    if (result.changed) {
      this.#parts.stored(result);
    }
    return result;
  }

  async #find(id: string, tenantId: string | undefined): Promise<JobEntity> {
    const found = await this.#parts.store.jobs.find(id, tenantId);
    if (found === undefined) {
      throw notFound('job', id);
    }
    return found.job;
  }

  /** A change with who made it and why, where that is said. */
  #noted(change: JobChange, { actor, reason }: OperationOptions): JobChange {
    return actor === undefined && reason === undefined
      ? change
      : {
          ...change,
          note: {
            ...(actor === undefined ? {} : { actor: cutText(storableText(actor), MOST_OF_ACTOR) }),
            ...(reason === undefined ? {} : { message: this.#errorText(reason) }),
          },
        };
  }

  /** The same of a change that leaves the status as it is: it takes a sequence, unless a resume counts on it. */
  #acted(job: JobEntity, change: JobChange, options: OperationOptions): JobChange {
    const noted = this.#noted(change, options);
    return noted.note === undefined || job.status === 'resuming'
      ? change
      : { ...noted, set: { ...noted.set, sequence: job.sequence + 1 } };
  }

  /** The reason, or none: that of an earlier operation is over. */
  #details(reason: string | undefined): { details: string | null } {
    return { details: reason === undefined ? null : this.#errorText(reason) };
  }

  #errorText(thrown: unknown): string {
    const text = typeof thrown === 'string' ? thrown : messageOf(thrown);
    return cutText(storableText(text), this.#parts.options.limits.error);
  }
}

function ended(status: 'canceled' | 'skipped' | 'failed', nowMs: number): Partial<JobEntity> {
  return { status, finishedAtMs: nowMs, leaseUntilMs: null, etaMs: null, lockedBy: null };
}

/** Without progress to tell by, a running job is expected to end with its timeout. */
function etaColumns(job: JobEntity, timeoutSec: number | undefined): Partial<JobEntity> {
  const { progress, startedAtMs, status } = job;
  return timeoutSec === undefined || progress > 0 || startedAtMs === null || !isActive(status)
    ? {}
    : { etaMs: timeoutSec > 0 ? startedAtMs + Math.round(timeoutSec * 1000) : null };
}
