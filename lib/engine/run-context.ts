import type { EnqueueOptions } from '../model/enqueue-options.js';
import type { DependencyOutcome } from '../model/dependencies.js';
import type { EnqueuedJob, Job, RetryPolicy } from '../model/job.js';
import type { Duration } from '../model/duration.js';
import type { JobContext, RescheduleOptions, WaitForSignalOptions } from '../model/job-type.js';
import type { JobTypeRef, ParamsInput, ParamsOf, ResultOf } from '../model/job-type.js';
import type { JsonObject, JsonValue } from '../model/json.js';
import { toJsonText } from '../model/json-text.js';
import type { Ending } from '../model/outcome.js';
import type { JobProgress } from '../model/progress.js';
import { SteeringSignal } from '../model/signals.js';
import type { RunReport } from '../store/store.js';
import { outcomesOf } from './dependency-view.js';
import { checkIn } from './check-in.js';
import { badField } from './enqueue-checks.js';
import { RunLogger } from './log-writer.js';
import { checkOptionKeys, ENQUEUE_KEYS } from './option-keys.js';
import { rescheduled } from './reschedule.js';
import { checkedPolicy } from './retry-policy-columns.js';
import type { HandledRun } from './run.js';
import { etaByTimeout } from './run-clock.js';
import { checkHolds, leaseLost } from './run-lease.js';
import { RunTransaction } from './run-transaction.js';
import { RunSteps } from './steps.js';

/** What a handler is given. Everything that costs is made when it is first asked for. */
export class RunContext implements JobContext {
  readonly #run: HandledRun;
  #params: { readonly value: unknown } | undefined;
  #job: Job | undefined;
  #dependencies: readonly DependencyOutcome[] | undefined;
  #log: RunLogger | undefined;
  #transaction: RunTransaction | undefined;
  #steps: RunSteps | undefined;

  constructor(run: HandledRun) {
    this.#run = run;
  }

  /** The run behind this context, for the engine. */
  get run(): HandledRun {
    return this.#run;
  }

  /** Whether a transaction of this handler is open. */
  get isInTransaction(): boolean {
    return this.#transaction?.joined !== undefined;
  }

  /** How the run ends, whatever its handler does: its job sleeps, or waits for a signal. */
  get release(): Ending | undefined {
    return this.#steps?.release;
  }

  get job(): Job {
    this.#job ??= this.#run.view(this.params);
    return this.#job;
  }

  get params(): unknown {
    if (this.#params === undefined) {
      const { job, type } = this.#run;
      this.#params = { value: type.params.instantiate(JSON.parse(job.params) as JsonValue) };
    }
    return this.#params.value;
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get attempt(): number {
    return this.#run.job.revision;
  }

  get state(): JsonValue {
    const { state } = this.#run.job;
    return state === null ? null : (JSON.parse(state) as JsonValue);
  }

  get dependencies(): readonly DependencyOutcome[] {
    this.#dependencies ??= outcomesOf(this.#run.job, this.#run.parents);
    return this.#dependencies;
  }

  get meta(): JsonObject {
    const { meta } = this.#run.job;
    return meta === null ? {} : (JSON.parse(meta) as JsonObject);
  }

  /** The log, if anything was logged. */
  get openLog(): RunLogger | undefined {
    return this.#log;
  }

  get log(): RunLogger {
    if (this.#log === undefined) {
      const { parts, job, runId } = this.#run;
      this.#log = new RunLogger(
        parts,
        { seq: job.seq, jobId: job.id, runId, type: job.type },
        () => this.#run.isSettled,
      );
      if (this.#transaction?.isUnderWay === true) {
        void this.#log.hold();
      }
    }
    return this.#log;
  }

  progress(progress: number | JobProgress, message?: string): void {
    this.#run.progress.record(progress, message);
  }

  async setResult(value: unknown): Promise<void> {
    const { result: bytes, depth } = this.#run.parts.options.limits;
    const result = toJsonText(value, 'result', { bytes, depth });
    const joined = this.#transaction?.joined;
    await this.#report({ result });
    const { job, parts } = this.#run;
    job.result = result;
    if (joined === undefined) {
      parts.progressed(job);
    } else {
      joined.onCommit(() => parts.progressed(job));
    }
  }

  async checkpoint(state: unknown): Promise<void> {
    const { state: bytes, depth } = this.#run.parts.options.limits;
    const text = toJsonText(state, 'state', { bytes, depth });
    await this.#report({ state: text });
    this.#run.job.state = text;
  }

  checkIn(message: string): Promise<void> {
    return checkIn(this.#run, message, this.#transaction?.joined);
  }

  skip(reason: string): never {
    if (typeof reason !== 'string') {
      throw badField('reason', 'must be a text');
    }
    throw new SteeringSignal('skip', reason);
  }

  async lockOn(jobId: string): Promise<Job> {
    if (typeof jobId !== 'string') {
      throw badField('jobId', 'must be the id of a job, a text');
    }
    return this.#run.lockOn(jobId);
  }

  unlock(): Promise<void> {
    this.#run.unlock();
    return Promise.resolve();
  }

  async enqueue<T extends JobTypeRef>(
    type: T,
    params?: ParamsInput<T>,
    options: EnqueueOptions<unknown> = {},
  ): Promise<EnqueuedJob<ParamsOf<T>, ResultOf<T>>> {
    checkOptionKeys(options, ENQUEUE_KEYS);
    const check = (): void => checkHolds(this.#run, 'no job was enqueued');
    check();
    const { job, parts } = this.#run;
    const inherited = {
      tenantId: job.tenantId,
      userId: job.userId,
      ...(job.meta === null ? {} : { meta: this.meta }),
      ...options,
    };
    const enqueued = await parts.enqueuer.enqueue(type, params, inherited, {
      upstreamJobId: job.id,
      joined: this.#transaction?.joined,
      check,
    });
    return enqueued as EnqueuedJob<ParamsOf<T>, ResultOf<T>>;
  }

  reschedule(options: RescheduleOptions): never {
    throw rescheduled(this.#run, options);
  }

  async setRetryPolicy(policy: RetryPolicy): Promise<void> {
    const columns = checkedPolicy(policy);
    const { job } = this.#run;
    const { timeoutSec } = columns;
    const etaMs = timeoutSec === undefined ? undefined : etaByTimeout(job, timeoutSec);
    await this.#report({ ...columns, ...(etaMs === undefined ? {} : { etaMs }) });
    job.maxRetries = columns.maxRetries ?? job.maxRetries;
    job.retryDelaySec = columns.retryDelaySec ?? job.retryDelaySec;
    if (timeoutSec !== undefined) {
      this.#run.timeoutChanged(timeoutSec);
    }
  }

  async transaction<T>(
    work: (manager: unknown) => Promise<T>,
    options: { complete?: boolean } = {},
  ): Promise<T> {
    this.#transaction ??= new RunTransaction(this.#run, () => this.#log);
    const remembered = this.#steps === undefined ? undefined : await this.#steps.write();
    return this.#transaction.begin(work, options, remembered);
  }

  async step<T>(name: string, fn: () => T | Promise<T>): Promise<T> {
    return this.#openSteps().step(name, fn);
  }

  async sleep(duration: Duration): Promise<void> {
    return this.#openSteps().sleep(duration);
  }

  async waitForSignal<T = JsonValue>(
    name: string,
    options?: WaitForSignalOptions,
  ): Promise<T | undefined> {
    return (await this.#openSteps().waitForSignal(name, options)) as T | undefined;
  }

  #openSteps(): RunSteps {
    this.#steps ??= new RunSteps(this.#run);
    return this.#steps;
  }

  async #report(report: Partial<RunReport>): Promise<void> {
    const { parts, job, runId, isSettled } = this.#run;
    const full = { ...report, seq: job.seq, runId };
    const held = !isSettled && (await (this.#transaction?.joined ?? parts.store.jobs).report(full));
    if (!held) {
      if (!isSettled) {
        this.#run.loseLease();
      }
      throw leaseLost(this.#run, 'nothing was written');
    }
    // A handler that logs faster than its lines are written is slowed down where it waits anyway.
    await this.#log?.room();
  }
}
