import type { JobEntity } from '../entities/job.entity.js';
import { durationMs } from '../model/duration.js';
import { isFinal, type JobStatus } from '../model/job-status.js';
import { decideOutcome, type Ending } from '../model/outcome.js';
import { toJsonText } from '../model/json-text.js';
import {
  isAbort,
  isRetryLater,
  isUnrecoverable,
  JobAbortError,
  SteeringSignal,
  type JobAbortCode,
} from '../model/signals.js';
import { cutText, describeThrown, storableText } from '../model/text.js';
import type { ChangeResult } from '../store/store.js';
import { LockWait } from './lock-wait.js';
import type { EngineParts } from './engine-parts.js';
import { isStream, readStream, type OutputReader } from './handler-output.js';
import type { AnyHandler, RegisteredType } from './handlers.js';
import { jobOf } from './job-view.js';
import { ProgressRecorder } from './progress-recorder.js';
import type { HandledRun } from './run.js';
import { RunContext } from './run-context.js';
import { runInContext } from './run-storage.js';
import type { Job } from '../model/job.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What an execution asks of the queue that runs it. */
export interface ExecutionHost {
  /** The handler's slot is free; called once. */
  slotFreed(execution: Execution): void;
  /** Takes a slot for a handler that comes back from a lock. */
  takeSlot(signal: AbortSignal): Promise<void>;
  /** The run is over and stored (or lost); called once. */
  ended(execution: Execution): void;
}

/**
 * One run of one job in this process: calls the handler, watches the clock, passes on signals, and
 * settles the outcome under the run's id. What the handler does after the run was settled changes
 * nothing.
 */
export class Execution implements HandledRun {
  readonly job: JobEntity;
  readonly type: RegisteredType;
  readonly runId: string;
  readonly parts: EngineParts;
  readonly progress: ProgressRecorder;
  #host: ExecutionHost;
  #hasSlot = true;
  #isSettled = false;
  #whenOver: () => void = () => undefined;
  #startedAt = 0;
  #controller: AbortController | undefined;
  #abortReason: JobAbortError | undefined;
  #timeoutTimer: NodeJS.Timeout | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #reader: OutputReader | undefined;
  #handler: AnyHandler | undefined;
  #context: RunContext | undefined;
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

  /** Whether the run is over, so that nothing of it may be written. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** Milliseconds the handler has been at work. */
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  get startedAtMs(): number {
    return this.job.startedAtMs ?? 0;
  }

  /** Calls the handler. */
  start(): void {
    this.#startedAt = performance.now();
    this.job.startedAtMs ??= this.parts.store.estimateNowMs();
    if (this.job.timeoutSec > 0) {
      this.job.etaMs = this.job.startedAtMs + Math.round(this.job.timeoutSec * 1000);
      this.#armTimeout(this.job.timeoutSec * 1000);
    }
    this.parts.changed(this.job, 'waiting');
    const { instance } = this.type;
    if (instance === undefined) {
      this.type.resolve(this.job.id).then((handler) => this.#call(handler), this.#threw);
    } else {
      this.#call(instance);
    }
  }

  /** Fires the signal; after the grace the run is settled by force. */
  abort(code: JobAbortCode): void {
    const present = this.#abortReason?.code;
    if (this.#isSettled || (present !== undefined && WEIGHTS[code] <= WEIGHTS[present])) {
      // Told again, as by each look at what is wanted, or something lighter: the grace counts from
      // the first time.
      return;
    }
    // A cancel overrides a suspend; the signal itself can fire only once.
    this.#abortReason = new JobAbortError(code, ABORT_MESSAGES[code]);
    this.#controller?.abort(this.#abortReason);
    this.#reader?.stop(this.#abortReason);
    if (code === 'lease_lost') {
      this.#over();
      return;
    }
    this.#armGrace(code);
  }

  /** Takes note that another process or operation changed the job's status. */
  noted(status: JobStatus, sequence?: number): void {
    this.job.status = status;
    this.job.sequence = sequence ?? this.job.sequence;
  }

  /** Writes the start of a handler that came from the buffer and is still at work. */
  markStarted(): void {
    const { job, parts, runId } = this;
    parts.store.jobs
      .report({
        seq: job.seq,
        runId,
        startedAtMs: this.startedAtMs,
        ...(job.etaMs === null ? {} : { etaMs: job.etaMs }),
      })
      .then(
        (held) => (held || this.#isSettled ? undefined : this.loseLease()),
        (error: unknown) =>
          parts.logger.warn(`The start of job ${job.id} was not stored: ${String(error)}`),
      );
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
      void this.#settle(
        { kind: 'failed', error: this.errorText(error), isRetryable: true },
        'lease_lost',
      );
    }
  }

  /** The job as the handler sees it. */
  view(params: unknown): Job {
    return jobOf(this.job, { isPaused: false, nowMs: this.parts.store.estimateNowMs(), params });
  }

  /** Waits, slot released, for another job. */
  async lockOn(otherId: string): Promise<Job> {
    this.#lock = new LockWait(this, otherId);
    try {
      return await this.#lock.run();
    } finally {
      this.#lock = undefined;
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
  }

  /** Text of something thrown, within the limit, free of what databases refuse. */
  errorText(thrown: unknown): string {
    return cutText(storableText(describeThrown(thrown)), this.parts.options.limits.error);
  }

  whenOver(listener: () => void): void {
    this.#whenOver = listener;
  }

  /** Ends the run as completed in a transaction of the handler; nothing is left to settle. */
  settledElsewhere(result: ChangeResult): void {
    this.#over();
    this.parts.stored(result, this.type);
  }

  #call(handler: AnyHandler): void {
    this.#handler = handler;
    const context = new RunContext(this);
    this.#context = context;
    let output: unknown;
    try {
      output = runInContext(context, () => handler.execute(context));
    } catch (error) {
      this.#threw(error);
      return;
    }
    if (isThenable(output)) {
      output.then(this.#returned, this.#threw);
    } else {
      this.#returned(output);
    }
  }

  readonly #returned = (value: unknown): void => {
    if (isStream(value) && !this.#isSettled) {
      this.#read(value);
      return;
    }
    if (this.#isSettled) {
      return;
    }
    if (this.#abortReason?.code === 'timeout') {
      void this.#settle({ kind: 'timeout' });
      return;
    }
    let result: string | null;
    try {
      result =
        value === undefined
          ? null
          : toJsonText(value, 'result', {
              bytes: this.parts.options.limits.result,
              depth: this.parts.options.limits.depth,
            });
    } catch (error) {
      void this.#settle({ kind: 'failed', error: this.errorText(error), isRetryable: false });
      return;
    }
    if (this.job.status === 'running' && this.#abortReason === undefined) {
      this.#complete(result);
    } else {
      void this.#settle({ kind: 'completed', result });
    }
  };

  #read(stream: Parameters<typeof readStream>[0]): void {
    try {
      this.#reader = readStream(stream, (value) => this.progress.emit(value));
    } catch (error) {
      // Asking for the iterator can throw by itself.
      this.#threw(error);
      return;
    }
    if (this.#abortReason !== undefined) {
      this.#reader.stop(this.#abortReason);
    }
    this.#reader.done.then(this.#returned, this.#threw);
  }

  readonly #threw = (error: unknown): void => {
    if (!this.#isSettled) {
      this.#endingOf(error)
        .then(
          (ending) => (ending === undefined ? undefined : this.#settle(ending)),
          (failure: unknown) =>
            this.#settle({ kind: 'failed', error: this.errorText(failure), isRetryable: false }),
        )
        .catch((failure: unknown) =>
          this.parts.logger.error(`Job ${this.job.id} could not be settled: ${String(failure)}`),
        );
    }
  };

  /** What something thrown means; undefined when the run has ended already. */
  async #endingOf(thrown: unknown): Promise<Ending | undefined> {
    if (thrown instanceof SteeringSignal) {
      return this.#steered(thrown);
    }
    const abort = this.#abortReason;
    if (abort?.code === 'timeout') {
      return { kind: 'timeout' };
    }
    if (abort !== undefined && (thrown === abort || isAbort(thrown))) {
      return { kind: 'stopped' };
    }
    if (isRetryLater(thrown)) {
      return { kind: 'later', delayMs: durationMs(thrown.delay, 'RetryLater delay') };
    }
    const isRetryable = !isUnrecoverable(thrown) && (await this.#shouldRetry(thrown));
    return { kind: 'failed', error: this.errorText(thrown), isRetryable };
  }

  async #steered(signal: SteeringSignal): Promise<Ending | undefined> {
    if (signal.kind === 'skip') {
      return {
        kind: 'skipped',
        reason: cutText(storableText(signal.reason), this.parts.options.limits.error),
      };
    }
    return 'plan' in signal ? await (signal.plan as Ending | Promise<Ending>) : undefined;
  }

  async #shouldRetry(thrown: unknown): Promise<boolean> {
    const handler = this.#handler;
    if (handler?.shouldRetry === undefined) {
      return true;
    }
    // Asked also when no retry seems left: the budget may have been raised while the job ran.
    return handler.shouldRetry(thrown, this.view(JSON.parse(this.job.params)));
  }

  /** The hot end: one statement for a whole batch of completed runs. */
  #complete(result: string | null): void {
    if (this.#context?.isInTransaction === true) {
      // It returned without waiting for its transaction, which is rolled back first.
      void this.#settle({ kind: 'completed', result });
      return;
    }
    this.progress.flush();
    this.#finishTimers();
    this.#isSettled = true;
    this.releaseSlot();
    const { job, parts } = this;
    parts.store.jobs
      .complete({ seq: job.seq, runId: this.runId, startedAtMs: this.startedAtMs, result })
      .then(
        (won) => {
          if (won) {
            const from = job.status;
            job.status = 'completed';
            job.sequence += 1;
            job.progress = 1;
            job.error = null;
            job.result = result ?? job.result;
            job.finishedAtMs = parts.store.estimateNowMs();
            job.updatedAtMs = job.finishedAtMs;
            job.etaMs = null;
            job.leaseUntilMs = null;
            parts.changed(job, from);
            this.#host.ended(this);
          } else {
            // Somebody changed the status meanwhile: decide by what is stored now.
            this.#store({ kind: 'completed', result }).then(
              () => this.#host.ended(this),
              (error: unknown) => this.#unsettled(error),
            );
          }
        },
        (error: unknown) => this.#unsettled(error),
      );
  }

  async #settle(ending: Ending, signal?: JobAbortCode): Promise<void> {
    if (this.#isSettled) {
      return;
    }
    this.progress.flush();
    this.#finishTimers();
    this.#isSettled = true;
    if (signal !== undefined) {
      this.#abortReason = new JobAbortError(signal, ABORT_MESSAGES[signal]);
      this.#controller?.abort(this.#abortReason);
      this.#reader?.stop(this.#abortReason);
    }
    this.releaseSlot();
    try {
      await this.#store(ending);
      this.#host.ended(this);
    } catch (error) {
      this.#unsettled(error);
    }
  }

  async #store(ending: Ending): Promise<void> {
    const { parts, runId } = this;
    const result = await parts.store.jobs.settle(this.job.id, (job, nowMs) => {
      if (job.runId !== runId || isFinal(job.status)) {
        return undefined;
      }
      const outcome = decideOutcome(job, ending, this.type.rules, nowMs, parts.random);
      return {
        set: {
          ...outcome.set,
          ...(job.startedAtMs === null && outcome.set.startedAtMs === undefined
            ? { startedAtMs: this.startedAtMs }
            : {}),
        },
        ...(isFinal(outcome.set.status) || outcome.run === undefined
          ? {}
          : {
              archiveRun: {
                outcome: outcome.run,
                error: outcome.runError,
                startedAtMs: this.startedAtMs,
              },
            }),
      };
    });
    if (result?.changed === true) {
      parts.stored(result, this.type);
    } else {
      parts.logger.warn(
        `Job ${this.job.id} (${this.job.type}): the outcome of run ${runId} came too late and was dropped.`,
      );
    }
  }

  #unsettled(error: unknown): void {
    this.parts.logger.error(
      `Job ${this.job.id} (${this.job.type}): the outcome of run ${this.runId} could not be stored; the job comes back when its lease ends. ${String(error)}`,
    );
    this.#host.ended(this);
  }

  /** The run is over without an outcome of ours. */
  #over(): void {
    if (!this.#isSettled) {
      this.#isSettled = true;
      this.#finishTimers();
      this.progress.drop();
      this.releaseSlot();
      this.#host.ended(this);
    }
  }

  #armTimeout(delayMs: number): void {
    this.#timeoutTimer = setTimeout(() => this.#timeUp(), Math.min(delayMs, LONGEST_TIMER_MS));
  }

  #timeUp(): void {
    const leftMs = this.job.timeoutSec * 1000 - this.elapsedMs;
    if (this.job.timeoutSec <= 0) {
      return;
    }
    if (leftMs > 0) {
      // The timeout was raised meanwhile, or is longer than a timer can be.
      this.#armTimeout(leftMs);
      return;
    }
    void this.#timeUpUnlessRaised();
  }

  /** The timeout may have been raised on another node; what is stored decides. */
  async #timeUpUnlessRaised(): Promise<void> {
    try {
      const stored = await this.parts.store.jobs.find(this.job.id);
      if (stored !== undefined && stored.job.runId === this.runId) {
        this.timeoutChanged(stored.job.timeoutSec);
      }
    } catch (error) {
      this.parts.logger.debug(
        `The timeout of job ${this.job.id} could not be read again: ${String(error)}`,
      );
    }
    const limitMs = this.job.timeoutSec * 1000;
    if (limitMs > 0 && this.elapsedMs >= limitMs) {
      this.abort('timeout');
    }
  }

  /** The timeout changed while the handler runs. */
  timeoutChanged(timeoutSec: number): void {
    if (timeoutSec !== this.job.timeoutSec) {
      this.job.timeoutSec = timeoutSec;
      clearTimeout(this.#timeoutTimer);
      if (timeoutSec > 0 && !this.#isSettled && this.#abortReason === undefined) {
        this.#armTimeout(Math.max(0, timeoutSec * 1000 - this.elapsedMs));
      }
    }
  }

  #armGrace(code: JobAbortCode): void {
    clearTimeout(this.#graceTimer);
    const graceMs = Math.min(this.parts.options.grace.signalMs, LONGEST_TIMER_MS);
    this.#graceTimer = setTimeout(() => {
      this.parts.logger.warn(
        `Job ${this.job.id} (${this.job.type}): its handler did not stop within the grace after "${code}"; run ${this.runId} is settled by force.`,
      );
      void this.#settle(code === 'timeout' ? { kind: 'timeout' } : { kind: 'stopped' });
    }, graceMs);
  }

  #finishTimers(): void {
    this.#whenOver();
    clearTimeout(this.#timeoutTimer);
    clearTimeout(this.#graceTimer);
  }
}

/** Which reason stands when two come together: the heavier. */
const WEIGHTS: Readonly<Record<JobAbortCode, number>> = {
  shutdown: 0,
  suspended: 1,
  timeout: 2,
  canceled: 3,
  lease_lost: 4,
};

const ABORT_MESSAGES: Readonly<Record<JobAbortCode, string>> = {
  canceled: 'The job was canceled.',
  suspended: 'The job is being suspended.',
  timeout: 'The run took longer than its timeout.',
  shutdown: 'The worker is shutting down.',
  lease_lost: 'This run holds its job no more: nothing it writes is accepted.',
};

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  );
}
