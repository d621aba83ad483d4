import { JobExtrasEntity } from '../entities/job-extras.entity.js';
import { JobEntity } from '../entities/job.entity.js';
import { EXTRA, hasExtra, SAID_BESIDE } from '../model/extras.js';
import type { JobKind } from '../model/job.js';
import type { ChangeResult, Created, DraftExtras, JobDraft, JobTerms } from './store.js';

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

/** What stands beside the row of a draft's job, bit by bit. */
export function extrasOf({ extras }: JobDraft): number | null {
  return extras === null
    ? null
    : (extras.uniqueClaim === null ? 0 : EXTRA.unique) |
        (extras.dependsOn.length === 0 ? 0 : EXTRA.parents) |
        (extras.statusHook === null ? 0 : EXTRA.hook) |
        (extras.scheduleId === null ? 0 : EXTRA.schedule) |
        (extras.isHeard ? EXTRA.events : 0);
}

/** How a draft's job came to be. */
export function kindOf({ extras }: JobDraft, due: boolean): JobKind {
  return extras !== null && extras.scheduleId !== null ? 'periodic' : due ? 'generic' : 'scheduled';
}

/** Whether and how a claim may take a draft's job once it is stored. */
export function readyOf(draft: JobDraft, due: boolean): number {
  return (draft.blocked?.by ?? 0) > 0 ? -1 : due ? readyAs(draft.limitKey) : 0;
}

/** What stands beside the row of a draft's job. */
function besideOf(
  { uniqueClaim, statusHook, scheduleId }: DraftExtras,
  dependsOn: string | null,
  { seq, id, draft }: { readonly seq: number; readonly id: string; readonly draft: JobDraft },
): JobExtrasEntity {
  const beside = new JobExtrasEntity();
  beside.seq = seq;
  beside.jobId = id;
  beside.dependsOn = dependsOn;
  beside.blockedBy = draft.blocked?.by ?? 0;
  beside.verdict = draft.blocked?.verdict ?? 0;
  beside.uniqueClaim =
    uniqueClaim === null
      ? null
      : JSON.stringify({
          tenantId: draft.terms.tenantId,
          key: uniqueClaim.key,
          until: uniqueClaim.until,
          withinMs: uniqueClaim.withinMs,
        });
  beside.statusHook = statusHook;
  beside.scheduleId = scheduleId;
  beside.checkIn = null;
  beside.checkInAtMs = null;
  return beside;
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
  job.kind = kindOf(draft, due);
  job.priority = terms.priority;
  job.status = 'waiting';
  job.ready = readyOf(draft, due);
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
  job.extras = extrasOf(draft);
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

  #dependsOn: string | null = null;
  #beside: JobExtrasEntity | undefined;

  /** What has changed because of it already. */
  news: ChangeResult | undefined;

  isSettled = false;

  /** It is stored otherwise by now, in the same transaction. */
  settle(job: JobEntity, news: ChangeResult | undefined): void {
    this.#job = job;
    this.news = news;
    this.isSettled = true;
  }

  /** What it depends on, as it is stored. */
  get dependsOn(): string | null {
    return this.#dependsOn;
  }

  /** Also of the job as somebody has looked at it by then. */
  set dependsOn(text: string | null) {
    this.#dependsOn = text;
    this.#beside = undefined;
    if (this.#job !== undefined) {
      this.#job.beside = this.beside;
    }
  }

  /** What stands beside it, if anything does. */
  get beside(): JobExtrasEntity | undefined {
    const { extras } = this.draft;
    return extras === null || !hasExtra(extrasOf(this.draft), SAID_BESIDE)
      ? undefined
      : (this.#beside ??= besideOf(extras, this.dependsOn, this));
  }

  /** Made when somebody looks: most of a bulk enqueue is never looked at. */
  get job(): JobEntity {
    if (this.#job === undefined) {
      this.#job = jobOfDraft(this.draft, this, this.nowMs);
      this.#job.beside = this.beside;
    }
    return this.#job;
  }
}
