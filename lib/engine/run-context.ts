import { durationMs } from '../model/duration.js';
import type { EnqueueOptions } from '../model/enqueue-options.js';
import { JobsError } from '../model/errors.js';
import type { EnqueuedJob, Job, RetryPolicy } from '../model/job.js';
import type { JobContext, RescheduleOptions } from '../model/job-type.js';
import { isFinal } from '../model/job-status.js';
import type { JobTypeRef, ParamsInput, ParamsOf, ResultOf } from '../model/job-type.js';
import type { JsonObject, JsonValue } from '../model/json.js';
import { toJsonText } from '../model/json-text.js';
import { decideOutcome, type Ending } from '../model/outcome.js';
import type { JobProgress } from '../model/progress.js';
import { SteeringSignal } from '../model/signals.js';
import type { ChangeResult, JoinedTransaction, RunReport } from '../store/store.js';
import { badField, checkedInstant } from './enqueue-checks.js';
import { RunLogger } from './log-writer.js';
import { checkOptionKeys, ENQUEUE_KEYS } from './option-keys.js';
import { checkedPolicy } from './retry-policy-columns.js';
import type { HandledRun } from './run.js';
import { etaByTimeout } from './run-clock.js';
import { resultText } from './run-end.js';

type Rescheduled = Extract<Ending, { kind: 'rescheduled' }>;

/** A steering signal that carries what becomes of the job; the check of params may take a while. */
class RescheduleSignal extends SteeringSignal {
  readonly plan: Rescheduled | Promise<Rescheduled>;

  constructor(plan: Rescheduled | Promise<Rescheduled>) {
    super('reschedule', 'rescheduled');
    this.plan = plan;
  }
}

/** What a handler is given. Everything that costs is made when it is first asked for. */
export class RunContext implements JobContext {
  readonly #run: HandledRun;
  #params: { readonly value: unknown } | undefined;
  #job: Job | undefined;
  #log: RunLogger | undefined;
  #isTransacting = false;
  #joined: JoinedTransaction | undefined;

  constructor(run: HandledRun) {
    this.#run = run;
  }

  /** The run behind this context, for the engine. */
  get run(): HandledRun {
    return this.#run;
  }

  /** Whether a transaction of this handler is open. */
  get isInTransaction(): boolean {
    return this.#joined !== undefined;
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
      if (this.#isTransacting) {
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
    await this.#report({ result });
    this.#run.job.result = result;
    this.#run.parts.progressed(this.#run.job);
  }

  async checkpoint(state: unknown): Promise<void> {
    const text = this.#stateText(state);
    await this.#report({ state: text });
    this.#run.job.state = text;
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
    const check = (): void => this.#checkHolds('no job was enqueued');
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
      joined: this.#joined,
      check,
    });
    return enqueued as EnqueuedJob<ParamsOf<T>, ResultOf<T>>;
  }

  reschedule(options: RescheduleOptions): never {
    checkReschedule(options);
    const plan: Rescheduled = {
      kind: 'rescheduled',
      runAtMs: options.runAt === undefined ? undefined : checkedInstant(options.runAt, 'runAt'),
      delayMs: options.delay === undefined ? 0 : durationMs(options.delay, 'delay'),
      state: options.state === undefined ? undefined : this.#stateText(options.state),
      params: undefined,
    };
    if (options.params === undefined) {
      throw new RescheduleSignal(plan);
    }
    const given = JSON.parse(this.#paramsText(options.params)) as JsonValue;
    const accepted = this.#run.type.params.accept(given);
    throw new RescheduleSignal(
      accepted instanceof Promise
        ? accepted.then((value) => ({ ...plan, params: this.#paramsText(value) }))
        : { ...plan, params: this.#paramsText(accepted) },
    );
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
    checkOptionKeys(options, TRANSACTION_KEYS);
    const { complete = false } = options;
    const { parts, job, runId } = this.#run;
    if (typeof work !== 'function') {
      throw badField('work', 'must be a function: ctx.transaction calls it with the manager');
    }
    if (this.#isTransacting) {
      throw new JobsError(
        'invalid_request',
        `Job ${job.id} has a ctx.transaction open already: use its manager instead of a second one.`,
      );
    }
    this.#checkHolds('its transaction was not begun');
    const { over } = this.#run;
    let ended: ChangeResult | undefined;
    const before = {
      state: job.state,
      result: job.result,
      progress: job.progress,
      progressDetails: job.progressDetails,
      completed: job.completed,
      total: job.total,
      etaMs: job.etaMs,
    };
    let logged = 0;
    this.#isTransacting = true;
    try {
      // Lines cannot be written beside it, and must be there when it completes the job.
      await this.#log?.hold();
      const result = await parts.store.transaction(
        { jobId: job.id, runId, over },
        async (manager, joined) => {
          this.#joined = joined;
          this.#run.progress.join(joined);
          const value = await work(manager);
          await this.#run.progress.writeJoined();
          logged = complete ? await this.#logIn(joined) : 0;
          ended = complete ? await this.#completeIn(joined, value) : undefined;
          return value;
        },
      );
      if (ended !== undefined) {
        this.#run.settledElsewhere(ended);
      }
      return result;
    } catch (error) {
      Object.assign(job, before);
      logged = 0;
      throw error;
    } finally {
      this.#joined = undefined;
      this.#isTransacting = false;
      this.#log?.release(logged);
      this.#run.progress.leave();
    }
  }

  /** @throws JobsError `lease_lost` once this process knows that the run is over */
  #checkHolds(effect: string): void {
    if (this.#run.isSettled) {
      throw leaseLost(this.#run, effect);
    }
  }

  /** Stores what was logged in the transaction along with it; how many lines. */
  async #logIn(joined: JoinedTransaction): Promise<number> {
    const lines = this.#log?.held ?? [];
    const { job, runId } = this.#run;
    const { length } = lines;
    if (length > 0) {
      await joined.log([{ seq: job.seq, runId, lines: lines.slice(0, length) }]);
    }
    return length;
  }

  async #completeIn(joined: JoinedTransaction, value: unknown): Promise<ChangeResult> {
    const { parts, job, runId, type } = this.#run;
    const result = resultText(value, parts.options.limits);
    const changed = await joined.change(job.id, (stored, nowMs) =>
      stored.runId !== runId || isFinal(stored.status)
        ? undefined
        : {
            set: decideOutcome(
              stored,
              { kind: 'completed', result },
              type.rules,
              nowMs,
              parts.random,
            ).set,
          },
    );
    if (changed?.changed !== true) {
      throw new JobsError(
        'lease_lost',
        `Run ${runId} holds job ${job.id} no more, so its transaction was rolled back.`,
      );
    }
    return changed;
  }

  #paramsText(params: unknown): string {
    const { params: bytes, depth } = this.#run.parts.options.limits;
    return toJsonText(params, 'params', { bytes, depth });
  }

  #stateText(state: unknown): string {
    const { state: bytes, depth } = this.#run.parts.options.limits;
    return toJsonText(state, 'state', { bytes, depth });
  }

  async #report(report: Partial<RunReport>): Promise<void> {
    const { parts, job, runId, isSettled } = this.#run;
    const full = { ...report, seq: job.seq, runId };
    const held = !isSettled && (await (this.#joined ?? parts.store.jobs).report(full));
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

function leaseLost({ runId, job }: HandledRun, effect: string): JobsError {
  return new JobsError(
    'lease_lost',
    `Run ${runId} holds job ${job.id} no more, so ${effect}. Stop the handler.`,
  );
}

const TRANSACTION_KEYS: ReadonlySet<string> = new Set(['complete']);
const RESCHEDULE_KEYS: ReadonlySet<string> = new Set(['runAt', 'delay', 'state', 'params']);

/** Exactly one of `runAt` and `delay`: neither would be a loop without a pause. */
function checkReschedule(options: RescheduleOptions): void {
  checkOptionKeys(options, RESCHEDULE_KEYS);
  if ((options.runAt === undefined) === (options.delay === undefined)) {
    throw new JobsError(
      'invalid_request',
      'ctx.reschedule takes either runAt or delay: give one of them.',
    );
  }
}
