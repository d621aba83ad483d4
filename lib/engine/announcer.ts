import { EXTRA, hasExtra } from '../model/extras.js';
import type { JobEntity } from '../entities/job.entity.js';
import type { Job, JobProgressEvent } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { JsonValue } from '../model/json.js';
import type { ChangeNote, ChangeResult, Created, Store } from '../store/store.js';
import type { EngineLogger } from './engine-options.js';
import { progressEvent, type EventBus } from './event-bus.js';
import type { HandlerRegistry, RegisteredType } from './handlers.js';
import { hasHook, instanceFor } from './hooks.js';
import { jobOf } from './job-view.js';
import { hasEvents } from './stored-events.js';

/** Whom the announcer tells, and where it looks things up. */
export interface Audience {
  readonly store: Store;
  readonly handlers: HandlerRegistry;
  readonly bus: EventBus;
  readonly logger: EngineLogger;
  /** Whether this process takes jobs, so that there is anything to wake. */
  isWorking(): boolean;
  isPaused(queue: string): boolean;
  /** A job of that queue may be claimed. */
  wakeQueue(queue: string): void;
  /** Jobs may stand in line that a look has passed over, since others had their rows. */
  lookAgain(): void;
  /** A job is held by no worker any more, so that limits may let others through. */
  slotBack(): void;
  /** A job waits for its time. */
  wakePromoter(): void;
  /** More jobs are to be told that others have ended. */
  wakeDependents(): void;
  /** A schedule may be due so long after the end of a job of its. */
  scheduledJobChanged(): void;
  /** There may be something to send. */
  wakeHookSender(): void;
  progress(event: JobProgressEvent): void;
}

/**
 * Tells, after the commit, everybody whom a change concerns: streams, hooks, queues. Whatever they
 * throw is logged, because what tells them is in the middle of a run.
 */
export class Announcer {
  readonly #to: Audience;

  constructor(audience: Audience) {
    this.#to = audience;
  }

  /** A job, as it stands in memory, changed its status. */
  readonly changed = (job: JobEntity, from: JobStatus | undefined, note?: ChangeNote): void => {
    try {
      this.#to.bus.status(job, from, note);
      this.#stateUpdate(job);
    } catch (error) {
      this.#threw(job, error);
    }
  };

  /** The store made a change. */
  readonly stored = (result: ChangeResult): void => {
    const { before, after } = result;
    if (before.status !== after.status) {
      this.changed(after, before.status, result.note);
    } else if (result.note !== undefined) {
      this.#said(after, result.note);
    }
    this.#wakeHookSender(after);
    if (before.leaseUntilMs !== null && after.leaseUntilMs === null && this.#to.isWorking()) {
      this.#to.slotBack();
    }
    this.#wakeFor(after);
    if (hasExtra(after.extras, EXTRA.schedule) && this.#to.isWorking()) {
      this.#to.scheduledJobChanged();
    }
    this.told(result);
  };

  /** A job was stored. Its row is made only for those who look at it. */
  readonly enqueued = (created: Created, type: RegisteredType): void => {
    if (this.#to.bus.isHeard(created.id) || hasHook(type, 'onJobStateUpdate')) {
      // What has become of it since is told below.
      this.changed(created.news?.before ?? created.job, 'initializing');
    }
    if (this.#to.isWorking()) {
      this.#wakeFor(created.job);
      if ((created.draft.blocked?.by ?? 0) > 0) {
        // It had the rows of those that it waits for.
        this.#to.lookAgain();
      }
    }
    const { extras } = created.draft;
    if (extras !== null && (created.isSettled || extras.statusHook !== null || extras.isHeard)) {
      this.#wakeHookSender(created.job);
    }
    if (created.news !== undefined) {
      this.stored(created.news);
    }
  };

  /** Progress or a result was stored. */
  readonly progressed = (job: JobEntity): void => {
    try {
      if (this.#to.bus.isHeard(job.id)) {
        this.#to.bus.publish(job.queue, progressEvent(job));
      }
      this.#stateUpdate(job);
    } catch (error) {
      this.#threw(job, error);
    }
  };

  /** A handler reported something, stored or not. */
  readonly announceProgress = (event: JobProgressEvent): void => this.#to.progress(event);

  /** What a change has led to elsewhere. */
  readonly told = ({
    others = [],
    freed = [],
    isMore = false,
  }: Pick<ChangeResult, 'others' | 'freed' | 'isMore'>): void => {
    others.forEach((each) => this.stored(each));
    if (!this.#to.isWorking()) {
      return;
    }
    if (freed.length > 0) {
      this.#to.store.jobs.readied();
    }
    for (const { type, queue, isDue } of freed) {
      if (isDue) {
        this.#to.wakeQueue(this.#to.handlers.get(type)?.queue ?? queue);
      } else {
        this.#to.wakePromoter();
      }
    }
    if (isMore) {
      this.#to.wakeDependents();
    }
  };

  #said(job: JobEntity, note: ChangeNote): void {
    try {
      this.#to.bus.said(job, note);
    } catch (error) {
      this.#threw(job, error);
    }
  }

  #wakeHookSender(job: JobEntity): void {
    if (hasEvents(job)) {
      this.#to.wakeHookSender();
    }
  }

  #wakeFor(job: JobEntity): void {
    if (job.status !== 'waiting' || !this.#to.isWorking()) {
      return;
    }
    if (job.ready > 0) {
      // By the type's queue of today: the job may have been stored under another one.
      this.#to.wakeQueue(this.#to.handlers.get(job.type)?.queue ?? job.queue);
    } else if (job.ready === 0) {
      this.#to.wakePromoter();
    }
  }

  #stateUpdate(job: JobEntity): void {
    const type = this.#to.handlers.get(job.type);
    const found = type === undefined ? undefined : instanceFor(type, 'onJobStateUpdate', job.id);
    if (type === undefined || found === undefined) {
      return;
    }
    // As it stands now: the handler may go on while the hook runs.
    const stored = { ...job };
    Promise.resolve(found)
      .then((handler) => handler.onJobStateUpdate?.(this.#view(stored, type)))
      .catch((error: unknown) =>
        this.#to.logger.error(
          `onJobStateUpdate of job ${job.id} (${job.type}) threw: ${String(error)}`,
        ),
      );
  }

  #view(job: JobEntity, type: RegisteredType): Job {
    return jobOf(job, {
      isPaused: this.#to.isPaused(job.queue),
      nowMs: this.#to.store.estimateNowMs(),
      params: type.params.instantiate(JSON.parse(job.params) as JsonValue),
    });
  }

  #threw(job: JobEntity, error: unknown): void {
    this.#to.logger.error(
      `Somebody who was told that job ${job.id} (${job.type}) is ${job.status} threw: ${String(error)}`,
    );
  }
}
