import type { JobEntity } from '../entities/job.entity.js';
import type { Job } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { Ending } from '../model/outcome.js';
import type { JobAbortCode, JobAbortError } from '../model/signals.js';
import { cutText, describeThrown, storableText } from '../model/text.js';
import type { ChangeResult } from '../store/store.js';
import { abortReason, outweighs } from './abort-reasons.js';
import type { EngineParts } from './engine-parts.js';
import { HandlerCall, type CalledRun } from './handler-call.js';
import type { RegisteredType } from './handlers.js';
import { jobOf } from './job-view.js';
import type { RunLogger } from './log-writer.js';
import { LockWait, waitsAlready } from './lock-wait.js';
import { ProgressRecorder } from './progress-recorder.js';
import { RunClock, type TimedRun } from './run-clock.js';
import { storeCompletion, storeEnding, type EndingRun } from './run-settlement.js';
import { isContinued, recall } from './run-start.js';
import { StallWatch, type StallingRun } from './stall.js';

const NO_PARENTS: ReadonlyMap<string, JobEntity> = new Map();

/** What an execution asks of the queue that runs it. */
export interface ExecutionHost {
  /** The handler's slot is free. */
  slotFreed(execution: Execution): void;
  /** Takes a slot for a handler that comes back from a lock. */
  takeSlot(signal: AbortSignal): Promise<void>;
  /** The end of the run could not be stored. */
  unsettled(execution: Execution, error: unknown): void;
  /** The run is over and stored (or lost); called once. */
  ended(execution: Execution): void;
}

/**
 * One run of one job in this process: has its handler called, watches the clock, passes on signals,
 * and has the outcome stored under the run's id. What the handler does after the run was settled
 * changes nothing.
 */
export class Execution implements CalledRun, TimedRun, EndingRun, StallingRun {
  readonly job: JobEntity;
  readonly type: RegisteredType;
  readonly runId: string;
  readonly parts: EngineParts;
  readonly progress: ProgressRecorder;
  parents: ReadonlyMap<string, JobEntity> = NO_PARENTS;
  /** Until when it surely holds its job, by the monotonic clock here. */
  heldUntil = Infinity;
  #host: ExecutionHost;
  #hasSlot = true;
  #isSettled = false;
  #ended: AbortController | undefined;
  #startedAt: number | undefined;
  #controller: AbortController | undefined;
  #abortReason: JobAbortError | undefined;
  #clock: RunClock | undefined;
  #stallWatch: StallWatch | undefined;
  #call: HandlerCall | undefined;
  #lock: LockWait | undefined;

  constructor(parts: EngineParts, type: RegisteredType, job: JobEntity, host: ExecutionHost) {
    this.parts = parts;
    this.type = type;
    this.job = job;
    // A claim always names its run.
    this.runId = job.runId ?? '';
    this.#host = host;
    this.progress = new ProgressRecorder(this);
  }

  /** Fires with a `JobAbortError`; made when the handler first asks for it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) {
        this.#controller.abort(this.#abortReason);
      }
    }
    return this.#controller.signal;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Somebody else may be at work on the job if not: the event loop was blocked for longer than its lease. */
  get surelyHolds(): boolean {
    return performance.now() < this.heldUntil;
  }

  /** Whether a transaction of its handler, which has the job's row, is open. */
  get isInTransaction(): boolean {
    return this.#call?.isInTransaction === true;
  }

  get elapsedMs(): number {
    return this.#startedAt === undefined ? 0 : performance.now() - this.#startedAt;
  }

  /** Calls the handler; never throws. */
  start(): void {
    if (isContinued(this.job)) {
      void recall(this).then(() => this.#begin());
    } else {
      this.#begin();
    }
  }

  /** Fires the signal; after the grace the run is settled by force. */
  abort(code: JobAbortCode): void {
    if (this.#isSettled || !outweighs(code, this.#abortReason?.code)) {
      // Told again, or something lighter: the grace counts from the first time.
      return;
    }
    // A cancel overrides a suspend; the signal itself can fire only once.
    this.#signal(code);
    if (code === 'lease_lost') {
      this.#over();
      return;
    }
    this.#clock ??= new RunClock(this);
    this.#clock.armGrace(code);
  }

  /** The handler did not end within the grace after a signal. */
  endByForce(code: JobAbortCode): void {
    this.parts.logger.warn(
      `Job ${this.job.id} (${this.job.type}): its handler did not stop within the grace after "${code}"; run ${this.runId} is settled by force.`,
    );
    this.settle(code === 'timeout' ? { kind: 'timeout' } : { kind: 'stopped' });
  }

  /** The timeout changed while the handler runs. */
  timeoutChanged(timeoutSec: number): void {
    if (timeoutSec !== this.job.timeoutSec) {
      this.job.timeoutSec = timeoutSec;
      if (this.#startedAt !== undefined && !this.#isSettled && this.#abortReason === undefined) {
        this.#clock ??= new RunClock(this);
        this.#clock.armTimeout();
      }
    }
  }

  /** Takes note that another process or operation changed the job's status. */
  noted(status: JobStatus, sequence?: number): void {
    this.job.status = status;
    this.job.sequence = sequence ?? this.job.sequence;
  }

  /** The run holds its job no more: the handler is told, and nothing of it is written. */
  loseLease(): void {
    this.parts.logger.warn(
      `Job ${this.job.id} (${this.job.type}): run ${this.runId} lost its lease; its handler is told to stop and its outcome is dropped.`,
    );
    this.abort('lease_lost');
  }

  /** Ends the run as failed from outside its handler, for a rejection that nobody awaited. */
  failLate(error: unknown): void {
    if (!this.#isSettled) {
      this.#finish();
      this.#signal('lease_lost');
      void storeEnding(this, { kind: 'failed', error: this.errorText(error), isRetryable: true });
    }
  }

  /** Takes the run from its handler, which has not got on for so long: a failed attempt. */
  stalled(afterMs: number): void {
    if (this.#isSettled || this.#abortReason !== undefined) {
      // It was told to stop already, and the grace is counted.
      return;
    }
    this.#finish();
    this.#signal('lease_lost');
    const error = new Error(`The run showed no progress for ${afterMs} ms.`);
    // Where we are is of no use to who reads it.
    error.stack = `${error.name}: ${error.message}`;
    void this.#call
      ?.meaningOf(error)
      .then((ending) =>
        storeEnding(
          this,
          ending?.kind === 'failed' ? { ...ending, isInterrupted: true } : { kind: 'stopped' },
        ),
      );
  }

  view(params: unknown): Job {
    return jobOf(this.job, { isPaused: false, nowMs: this.parts.store.estimateNowMs(), params });
  }

  /** Waits, slot released, for another job. @throws JobsError `invalid_request` while it waits */
  async lockOn(otherId: string): Promise<Job> {
    if (this.#lock !== undefined) {
      throw waitsAlready(this.job.id);
    }
    this.#lock = new LockWait(this, otherId);
    try {
      return await this.#lock.run();
    } finally {
      this.#lock = undefined;
      this.progress.moved();
    }
  }

  /** Ends a lock that is under way; false when there is none. */
  unlock(): boolean {
    this.#lock?.release();
    return this.#lock !== undefined;
  }

  releaseSlot(): void {
    if (this.#hasSlot) {
      this.#hasSlot = false;
      this.#host.slotFreed(this);
    }
  }

  async retakeSlot(): Promise<void> {
    await this.#host.takeSlot(this.signal);
    this.#hasSlot = true;
    if (this.#isSettled) {
      // It was settled between the grant of the slot and here: nobody else would give it back.
      this.releaseSlot();
    }
  }

  /** Text of something thrown, within the limit, free of what databases refuse. */
  errorText(thrown: unknown): string {
    return cutText(storableText(describeThrown(thrown)), this.parts.options.limits.error);
  }

  /** The run ends here, unless it has ended: from now on nothing of its handler is written. */
  settle(ending: Ending): void {
    if (this.#isSettled) {
      return;
    }
    // A transaction that the handler did not wait for is rolled back first, on the longer way.
    const isHot =
      ending.kind === 'completed' &&
      this.job.status === 'running' &&
      this.#abortReason === undefined &&
      !this.isInTransaction;
    this.#finish();
    if (isHot) {
      storeCompletion(this, ending.result);
    } else {
      void storeEnding(this, ending);
    }
  }

  get abortReason(): JobAbortError | undefined {
    return this.#abortReason;
  }

  get openLog(): RunLogger | undefined {
    return this.#call?.openLog;
  }

  unsettled(error: unknown): void {
    this.#host.unsettled(this, error);
  }

  ended(): void {
    this.#host.ended(this);
  }

  get over(): AbortSignal {
    this.#ended ??= new AbortController();
    return this.#ended.signal;
  }

  /** Ends the run as completed in a transaction of the handler; nothing is left to settle. */
  settledElsewhere(result: ChangeResult): void {
    this.#over();
    this.parts.stored(result, this.type);
  }

  #begin(): void {
    if (this.#abortReason !== undefined || !this.surelyHolds) {
      // Stopped before its handler was called.
      this.settle({ kind: 'unstarted' });
      return;
    }
    this.#startedAt = performance.now();
    this.job.startedAtMs ??= this.parts.store.estimateNowMs();
    if (this.job.timeoutSec > 0) {
      this.#clock = new RunClock(this);
      this.#clock.armTimeout();
    }
    if (this.type.stallAfterMs > 0) {
      this.#stallWatch = new StallWatch(this, this.type.stallAfterMs);
    }
    this.parts.changed(this.job, 'waiting');
    this.#call = new HandlerCall(this);
    this.#call.start();
  }

  /** The run is over without an outcome of ours. */
  #over(): void {
    if (!this.#isSettled) {
      this.progress.drop();
      this.#finish();
      this.ended();
    }
  }

  #signal(code: JobAbortCode): void {
    this.#abortReason = abortReason(code);
    this.#controller?.abort(this.#abortReason);
    this.#call?.stop(this.#abortReason);
  }

  /** From here on nothing of the handler is written, and its slot is free. */
  #finish(): void {
    this.progress.flush();
    this.#ended?.abort();
    this.#clock?.stop();
    this.#stallWatch?.stop();
    this.#isSettled = true;
    this.releaseSlot();
  }
}
