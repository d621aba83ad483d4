import { durationMs, type Duration } from '../model/duration.js';
import { JobsError } from '../model/errors.js';
import { EXTRA, hasExtra } from '../model/extras.js';
import type { WaitForSignalOptions } from '../model/job-type.js';
import type { JsonValue } from '../model/json.js';
import { toJson } from '../model/json-text.js';
import type { Ending } from '../model/outcome.js';
import { SteeringSignal } from '../model/signals.js';
import { isPlainText } from '../model/text.js';
import type {
  JoinedTransaction,
  StepKey,
  StepMemory,
  StepRecord,
  StepRun,
} from '../store/store.js';
import { badField } from './enqueue-checks.js';
import { checkOptionKeys } from './option-keys.js';
import type { HandledRun } from './run.js';
import { checkHolds, leaseLost } from './run-lease.js';
import { inScope, scopeOf, type OpenStep } from './steps-scope.js';

type Release = Extract<Ending, { kind: 'asleep' | 'awaiting' }>;

/** Ends a run whose job sleeps, or waits for a signal. */
class ReleaseSignal extends SteeringSignal {
  readonly plan: Release;

  constructor(plan: Release) {
    super('release', 'the job goes on in another run');
    this.plan = plan;
  }
}

/** A transaction inside a step, which the step remembers by its place. */
export interface RememberedWrite {
  /** What it gave in an earlier run, which it is not made again for. */
  readonly known: { readonly value: unknown } | undefined;
  /** Stores, in the transaction, what it gives; returns what later runs are given. */
  store(joined: JoinedTransaction, value: unknown): Promise<unknown>;
  /** It has been committed. */
  committed(): void;
}

const LONGEST_NAME = 255;
/** A signal's name stands in a path, of whose parts Fastify takes so many characters. */
const LONGEST_SIGNAL = 100;
const WAIT_KEYS: ReadonlySet<string> = new Set(['timeout']);

/**
 * What one run of a handler remembers of the runs before it, and adds for those behind it. Steps are
 * known by name, sleeps by their place, waits by the signal's name and their place among its waits.
 */
export class RunSteps {
  readonly #run: HandledRun;
  readonly #used = new Set<string>();
  readonly #places = new Map<string, number>();
  #memory: Promise<ReadonlyMap<string, StepMemory>> | undefined;
  #release: ReleaseSignal | undefined;

  constructor(run: HandledRun) {
    this.#run = run;
  }

  /** How the run ends, whatever its handler does, because its job sleeps or waits for a signal. */
  get release(): Ending | undefined {
    return this.#release?.plan;
  }

  async step<T>(name: string, fn: () => T | Promise<T>): Promise<T> {
    checkName(name);
    if (typeof fn !== 'function') {
      throw badField('fn', 'must be a function: ctx.step calls it');
    }
    this.#checkMay('step', 'transaction');
    if (this.#used.has(name)) {
      throw new JobsError(
        'invalid_request',
        `Job ${this.#run.job.id} has used the step name "${name}" in this run already: give each step a name of its own, such as one with a number in it.`,
        { errors: [{ field: 'name', message: 'was used before' }] },
      );
    }
    this.#used.add(name);
    const known = await this.#known({ kind: 'step', name, part: 0 });
    if (known !== undefined) {
      return valueOf(known) as T;
    }
    const { runId } = this.#run;
    const step: OpenStep = { name, writes: 0 };
    const value = await inScope({ runId, step }, fn);
    return (await this.#remember(step, value)) as T;
  }

  async sleep(duration: Duration): Promise<void> {
    const forMs = durationMs(duration, 'duration');
    this.#checkMay('sleep', 'transaction', 'step');
    const key: StepKey = { kind: 'sleep', name: '', part: this.#place('sleep') };
    if (forMs > 0 && (await this.#known(key)) === undefined) {
      await this.#wait(key, forMs);
    }
  }

  async waitForSignal(name: string, options: WaitForSignalOptions = {}): Promise<unknown> {
    checkSignalName(name);
    checkOptionKeys(options, WAIT_KEYS);
    const { timeout } = options;
    const forMs = timeout === undefined ? undefined : durationMs(timeout, 'timeout');
    this.#checkMay('waitForSignal', 'transaction', 'step');
    const key: StepKey = { kind: 'signal', name, part: this.#place(`signal ${name}`) };
    const known = await this.#known(key);
    return known === undefined ? this.#wait(key, forMs) : valueOf(known);
  }

  /** What the transaction that begins now has to do with the step around it, if there is one. */
  async write(): Promise<RememberedWrite | undefined> {
    const step = scopeOf(this.#run.runId)?.step;
    if (step === undefined) {
      return undefined;
    }
    step.writes += 1;
    const key: StepKey = { kind: 'write', name: step.name, part: step.writes };
    const known = await this.#known(key);
    return {
      known: known === undefined ? undefined : { value: valueOf(known) },
      store: async (joined, value) => {
        const { text, value: kept } = this.#json(value, `a transaction of step "${step.name}"`);
        const record = { ...this.#who(), ...key, result: text, hasWrites: false };
        if (!(await joined.remember(record))) {
          throw leaseLost(this.#run, 'its transaction was rolled back');
        }
        return kept;
      },
      committed: () => this.#marked(),
    };
  }

  async #remember(step: OpenStep, value: unknown): Promise<unknown> {
    const { parts } = this.#run;
    const { text, value: kept } = this.#json(value, `step "${step.name}"`);
    checkHolds(this.#run, `step "${step.name}" was not remembered`);
    const record: StepRecord = {
      ...this.#who(),
      kind: 'step',
      name: step.name,
      part: 0,
      result: text,
      hasWrites: step.writes > 0,
    };
    if (!(await parts.store.steps.remember(record))) {
      throw this.#lost(`step "${step.name}" was not remembered`);
    }
    this.#marked();
    this.#run.progress.moved();
    return kept;
  }

  /** @throws SteeringSignal when it is not over */
  async #wait(key: StepKey, forMs: number | undefined): Promise<unknown> {
    const waited = await this.#run.parts.store.steps.wait({ ...this.#who(), ...key, forMs });
    if (waited.state === 'lost') {
      throw this.#lost('it waits for nothing');
    }
    this.#marked();
    if (waited.state === 'over') {
      return valueOf(waited);
    }
    const { untilMs } = waited;
    this.#release = new ReleaseSignal(
      key.kind === 'sleep' && untilMs !== undefined
        ? { kind: 'asleep', untilMs }
        : { kind: 'awaiting', untilMs },
    );
    throw this.#release;
  }

  /** What an earlier run, or an earlier call of this one, has stored as done. */
  async #known(key: StepKey): Promise<{ readonly result: string | null } | undefined> {
    const { job, parts } = this.#run;
    if (!hasExtra(job.extras, EXTRA.steps) && this.#memory === undefined) {
      return undefined;
    }
    this.#memory ??= parts.store.steps
      .recall(job.seq)
      .then((all) => new Map(all.map((each) => [keyText(each), each])));
    const found = (await this.#memory).get(keyText(key));
    if (found?.isDone !== true) {
      return undefined;
    }
    const { result = await parts.store.steps.resultOf(job.seq, key) } = found;
    return { result };
  }

  #who(): StepRun {
    const { job, runId } = this.#run;
    return { seq: job.seq, runId, isFirst: !hasExtra(job.extras, EXTRA.steps) };
  }

  /** Something of this run is stored; what an earlier one stored was read before, or is not there. */
  #marked(): void {
    const { job } = this.#run;
    if (!hasExtra(job.extras, EXTRA.steps)) {
      this.#memory = Promise.resolve(new Map());
      job.extras = (job.extras ?? 0) | EXTRA.steps;
    }
  }

  #lost(effect: string): JobsError {
    if (!this.#run.isSettled) {
      this.#run.loseLease();
    }
    return leaseLost(this.#run, effect);
  }

  #place(of: string): number {
    const place = (this.#places.get(of) ?? 0) + 1;
    this.#places.set(of, place);
    return place;
  }

  /** @throws JobsError where it makes no sense; SteeringSignal when the run is to end */
  #checkMay(what: string, ...outsideOf: readonly ('transaction' | 'step')[]): void {
    const { job, runId } = this.#run;
    if (this.#release !== undefined) {
      throw this.#release;
    }
    const scope = scopeOf(runId);
    const inside =
      scope?.isInTransaction === true ? 'transaction' : scope?.step === undefined ? '' : 'step';
    if (outsideOf.some((each) => each === inside)) {
      throw new JobsError(
        'invalid_request',
        inside === 'transaction'
          ? `Job ${job.id} called ctx.${what} inside a ctx.transaction: call the transaction inside a step, and wait between steps.`
          : `Job ${job.id} called ctx.${what} inside a step: wait between steps, not in one.`,
      );
    }
    checkHolds(this.#run, `ctx.${what} did nothing`);
  }

  #json(value: unknown, what: string): { text: string | null; value: JsonValue | undefined } {
    const { result: bytes, depth } = this.#run.parts.options.limits;
    return value === undefined
      ? { text: null, value: undefined }
      : toJson(value, `the result of ${what}`, { bytes, depth });
  }
}

function valueOf({ result }: { readonly result: string | null }): unknown {
  return result === null ? undefined : JSON.parse(result);
}

function keyText({ kind, name, part }: StepKey): string {
  return `${kind} ${part} ${name}`;
}

/** @throws JobsError `invalid_request` */
export function checkSignalName(name: unknown): void {
  checkName(name, LONGEST_SIGNAL);
}

function checkName(name: unknown, most = LONGEST_NAME): void {
  if (!isPlainText(name, 1, most)) {
    throw badField('name', `must be a text of 1 to ${most} characters`);
  }
}
