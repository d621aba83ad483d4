import { JobEntity } from '../entities/job.entity.js';
import type { Created, JobDraft, JobTerms } from './store.js';

/** Where and when a job is stored. */
export interface Placement {
  readonly seq: number;
  readonly id: string;
  readonly scheduledAtMs: number;
}

/** How a job is ready: in line, or, where limits count it by a key, in line behind that key. */
export function readyAs(limitKey: string | null): number {
  return limitKey === null ? 1 : 2;
}

/** Whether a job may start as soon as it is stored, at that time of the database. */
export function isDue({ runAtMs, delayMs }: JobTerms, nowMs: number): boolean {
  return runAtMs === undefined ? delayMs === 0 : runAtMs <= nowMs;
}

/** Whether a job was not told when to start. */
export function startsNow({ runAtMs, delayMs }: JobTerms): boolean {
  return runAtMs === undefined && delayMs === 0;
}

/**
 * When a job may start. One that was not told starts when it was enqueued, in the order in which
 * jobs were, yet never in what is the future by a clock that was set back.
 */
export function startOf(terms: JobTerms, scheduledAtMs: number, nowMs: number): number {
  return startsNow(terms)
    ? Math.min(scheduledAtMs, nowMs)
    : (terms.runAtMs ?? nowMs + terms.delayMs);
}

/** The job as it is stored at that time of the database. */
export function jobOfDraft(draft: JobDraft, placement: Placement, nowMs: number): JobEntity {
  const job = new JobEntity();
  const { terms } = draft;
  const due = isDue(terms, nowMs);
  job.seq = placement.seq;
  job.id = placement.id;
  job.tenantId = terms.tenantId;
  job.userId = terms.userId;
  job.idempotencyKey = draft.idempotencyKey;
  job.requestHash = draft.requestHash;
  job.type = terms.type;
  job.typeVersion = terms.typeVersion;
  job.group = terms.group;
  job.queue = terms.queue;
  job.channel = terms.channel;
  job.kind = due ? 'generic' : 'scheduled';
  job.priority = terms.priority;
  job.status = 'waiting';
  job.ready = due ? readyAs(draft.limitKey) : 0;
  job.sequence = 1;
  job.scheduledAtMs = placement.scheduledAtMs;
  job.runAtMs = startOf(terms, placement.scheduledAtMs, nowMs);
  job.updatedAtMs = placement.scheduledAtMs;
  job.startedAtMs = null;
  job.finishedAtMs = null;
  job.expiresAtMs = terms.expiresAtMs;
  job.etaMs = null;
  job.cancelRequestedAtMs = null;
  job.lockedBy = null;
  job.progress = 0;
  job.progressDetails = null;
  job.completed = null;
  job.total = null;
  job.details = null;
  job.timeoutSec = terms.timeoutSec;
  job.maxRetries = terms.maxRetries;
  job.retryDelaySec = terms.retryDelaySec;
  job.retries = 0;
  job.lost = 0;
  job.revision = 0;
  job.runId = null;
  job.workerId = null;
  job.leaseUntilMs = null;
  job.runOutcome = null;
  job.error = null;
  job.result = null;
  job.params = draft.params;
  job.state = terms.state;
  job.tags = terms.tags;
  job.meta = terms.meta;
  job.upstreamJobId = terms.upstreamJobId;
  job.limitKey = draft.limitKey;
  return job;
}

/** A job that was stored. */
export class CreatedJob implements Created {
  readonly outcome = 'created';
  #job: JobEntity | undefined;

  constructor(
    readonly draft: JobDraft,
    readonly seq: number,
    readonly id: string,
    readonly scheduledAtMs: number,
    readonly nowMs: number,
  ) {}

  /** Made when somebody looks: most of a bulk enqueue is never looked at. */
  get job(): JobEntity {
    return (this.#job ??= jobOfDraft(this.draft, this, this.nowMs));
  }
}
