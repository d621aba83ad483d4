import type { JobEntity } from '../entities/job.entity.js';
import type { JobRunEntity } from '../entities/run.entity.js';
import type { EnqueuedJob, Job, JobRun, RunOutcome, WaitingFor } from '../model/job.js';
import { isFinal } from '../model/job-status.js';
import type { JobDependency, OnFailure } from '../model/dependencies.js';
import { EXTRA, hasExtra } from '../model/extras.js';
import { isDue, startOf } from '../store/job-of-draft.js';
import type { Created, DraftExtras } from '../store/store.js';
import type { JsonObject, JsonValue } from '../model/json.js';
import { isActive } from '../model/job-status.js';

/** What the view of a stored job depends on besides its row. */
export interface ViewContext {
  readonly isPaused: boolean;
  readonly nowMs: number;
  /** The params to show instead of the stored JSON, such as an instance of their class. */
  readonly params?: unknown;
}

/** The public shape of a stored job. */
export function jobOf(stored: JobEntity, context: ViewContext): Job {
  return {
    id: stored.id,
    tenantId: stored.tenantId,
    userId: stored.userId,
    idempotencyKey: stored.idempotencyKey,
    type: stored.type,
    typeVersion: stored.typeVersion,
    group: stored.group,
    queue: stored.queue,
    channel: stored.channel,
    kind: stored.kind,
    priority: stored.priority,
    status: stored.status,
    waitingFor: waitingFor(stored, context),
    scheduledAt: new Date(stored.scheduledAtMs),
    runAt: new Date(stored.runAtMs),
    updatedAt: new Date(stored.updatedAtMs),
    startedAt: dateOrNull(stored.startedAtMs),
    finishedAt: dateOrNull(stored.finishedAtMs),
    eta: dateOrNull(stored.etaMs),
    lockedBy: stored.lockedBy,
    progress: stored.progress,
    progressDetails: stored.progressDetails,
    completed: stored.completed,
    total: stored.total,
    details: stored.details,
    timeout: Math.round(stored.timeoutSec * 1000),
    maxRetries: stored.maxRetries,
    retryDelay: Math.round(stored.retryDelaySec * 1000),
    retries: stored.retries,
    lost: stored.lost,
    revision: stored.revision,
    error: stored.error,
    result: jsonOrNull(stored.result),
    params: 'params' in context ? context.params : JSON.parse(stored.params),
    state: jsonOrNull(stored.state),
    tags: stored.tags === null ? [] : (JSON.parse(stored.tags) as string[]),
    meta: stored.meta === null ? {} : (JSON.parse(stored.meta) as JsonObject),
    cancelRequestedAt: dateOrNull(stored.cancelRequestedAtMs),
    upstreamJobId: stored.upstreamJobId,
    scheduleId: stored.beside?.scheduleId ?? null,
    expiresAt: dateOrNull(stored.expiresAtMs),
    dependsOn: dependsOnOf(stored),
    checkIn: stored.beside?.checkIn ?? null,
    checkInAt: dateOrNull(stored.beside?.checkInAtMs ?? null),
    statusHook: stored.beside?.statusHook ?? null,
    sequence: stored.sequence,
  };
}

/**
 * The same of a job that was just stored, without the detour over its row: half of what a bulk
 * enqueue allocates.
 */
export function jobOfCreated(created: Created, isPaused: boolean, params: unknown): EnqueuedJob {
  const { terms, idempotencyKey, extras, blocked } = created.draft;
  if (extras !== null && (created.isSettled || !saysJust(extras))) {
    const view = jobOf(created.job, { isPaused, nowMs: created.nowMs, params });
    return Object.assign(view, { outcome: 'created' as const });
  }
  const due = isDue(terms, created.nowMs);
  const { scheduledAtMs } = created;
  const runAtMs = startOf(terms, scheduledAtMs, created.nowMs);
  return {
    id: created.id,
    tenantId: terms.tenantId,
    userId: terms.userId,
    idempotencyKey,
    type: terms.type,
    typeVersion: terms.typeVersion,
    group: terms.group,
    queue: terms.queue,
    channel: terms.channel,
    kind: due ? 'generic' : 'scheduled',
    priority: terms.priority,
    status: 'waiting',
    waitingFor:
      (blocked?.by ?? 0) > 0 ? 'dependencies' : due ? (isPaused ? 'paused' : 'worker') : 'time',
    // One for each, though a job in a bulk enqueue allocates little else: whoever changes one changes no other.
    scheduledAt: new Date(scheduledAtMs),
    runAt: new Date(runAtMs),
    updatedAt: new Date(scheduledAtMs),
    startedAt: null,
    finishedAt: null,
    eta: null,
    lockedBy: null,
    progress: 0,
    progressDetails: null,
    completed: null,
    total: null,
    details: null,
    timeout: Math.round(terms.timeoutSec * 1000),
    maxRetries: terms.maxRetries,
    retryDelay: Math.round(terms.retryDelaySec * 1000),
    retries: 0,
    lost: 0,
    revision: 0,
    error: null,
    result: null,
    params,
    state: jsonOrNull(terms.state),
    tags: terms.tags === null ? [] : (JSON.parse(terms.tags) as string[]),
    meta: terms.meta === null ? {} : (JSON.parse(terms.meta) as JsonObject),
    cancelRequestedAt: null,
    upstreamJobId: terms.upstreamJobId,
    scheduleId: null,
    expiresAt: dateOrNull(terms.expiresAtMs),
    dependsOn:
      extras === null
        ? NO_DEPENDENCIES
        : extras.dependsOn.map(({ on, onFailure }) => ({ id: String(on), onFailure })),
    checkIn: null,
    checkInAt: null,
    statusHook: null,
    sequence: 1,
    outcome: 'created',
  };
}

/** Whether a job is plain but for jobs that it waits for, which were stored before it. */
function saysJust({ dependsOn, statusHook, scheduleId }: DraftExtras): boolean {
  return (
    statusHook === null &&
    scheduleId === null &&
    dependsOn.every(({ on }) => typeof on === 'string')
  );
}

/** The runs of a job: its history, and the run that its own row holds. */
export function runsOf(job: JobEntity, history: readonly JobRunEntity[]): readonly JobRun[] {
  const runs = history.map(runOf);
  if (job.runId !== null) {
    const isEnded = isFinal(job.status);
    runs.push({
      id: job.runId,
      jobId: job.id,
      revision: job.revision,
      workerId: job.workerId,
      startedAt: dateOrNull(job.startedAtMs),
      updatedAt: new Date(job.updatedAtMs),
      endedAt: isEnded ? dateOrNull(job.finishedAtMs) : null,
      outcome: job.runOutcome ?? (isEnded ? (job.status as RunOutcome) : 'running'),
      error: runErrorOf(job),
      completed: job.completed,
      total: job.total,
    });
  }
  return runs;
}

/** The error of the run that its own row holds: where it ended well or was told to, the row has that of one before. */
export function runErrorOf({ status, error }: JobEntity): string | null {
  return status === 'failed' || status === 'timeout' ? error : null;
}

/** The public shape of a run that is stored by itself. */
export function runOf(run: JobRunEntity): JobRun {
  return {
    id: run.id,
    jobId: run.jobId,
    revision: run.revision,
    workerId: run.workerId,
    startedAt: dateOrNull(run.startedAtMs),
    updatedAt: new Date(run.updatedAtMs),
    endedAt: dateOrNull(run.endedAtMs),
    outcome: run.outcome,
    error: run.error,
    completed: run.completed,
    total: run.total,
  };
}

function waitingFor(job: JobEntity, { isPaused, nowMs }: ViewContext): WaitingFor | null {
  if (job.status !== 'waiting') {
    return null;
  }
  if (job.extras !== null) {
    if (job.ready === -1) {
      return hasExtra(job.extras, EXTRA.signal) ? 'signal' : 'dependencies';
    }
    if (job.runAtMs > nowMs && hasExtra(job.extras, EXTRA.signal)) {
      return 'signal';
    }
  }
  if (job.ready === 0 && job.runAtMs > nowMs) {
    // A run that ends well, to sleep, leaves no error.
    return job.retries > 0 && job.error !== null ? 'retry' : 'time';
  }
  return isPaused ? 'paused' : 'worker';
}

/** What a job depends on, as `job_extras` has it. */
export function dependsOnOf({ beside }: JobEntity): readonly JobDependency[] {
  if (beside === undefined || beside.dependsOn === null) {
    return NO_DEPENDENCIES;
  }
  const stored = JSON.parse(beside.dependsOn) as { id: string; on_failure: OnFailure }[];
  return stored.map(({ id, on_failure: onFailure }) => ({ id, onFailure }));
}

const NO_DEPENDENCIES: readonly JobDependency[] = [];

/** Whether a worker holds a run of the job. */
export function isHeld(job: JobEntity): boolean {
  return isActive(job.status);
}

function dateOrNull(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms);
}

function jsonOrNull(text: string | null): JsonValue {
  return text === null ? null : (JSON.parse(text) as JsonValue);
}
