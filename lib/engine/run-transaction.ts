import { JobsError } from '../model/errors.js';
import { isFinal } from '../model/job-status.js';
import { decideOutcome } from '../model/outcome.js';
import type { ChangeResult, JoinedTransaction } from '../store/store.js';
import { badField } from './enqueue-checks.js';
import type { RunLogger } from './log-writer.js';
import { checkOptionKeys } from './option-keys.js';
import type { HandledRun } from './run.js';
import { checkHolds } from './run-lease.js';
import { resultText } from './run-end.js';
import type { RememberedWrite } from './steps.js';
import { inScope, scopeOf } from './steps-scope.js';

const TRANSACTION_KEYS: ReadonlySet<string> = new Set(['complete']);

/** The transactions of one handler, one at a time: what it reports meanwhile joins them. */
export class RunTransaction {
  readonly #run: HandledRun;
  readonly #openLog: () => RunLogger | undefined;
  #isUnderWay = false;
  #joined: JoinedTransaction | undefined;

  constructor(run: HandledRun, openLog: () => RunLogger | undefined) {
    this.#run = run;
    this.#openLog = openLog;
  }

  /** Whether one was asked for and has not ended. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** What joins the one that is open. */
  get joined(): JoinedTransaction | undefined {
    return this.#joined;
  }

  /** @throws JobsError `lease_lost`, `invalid_request` while one is under way */
  async begin<T>(
    work: (manager: unknown) => Promise<T>,
    options: { complete?: boolean },
    remembered?: RememberedWrite,
  ): Promise<T> {
    checkOptionKeys(options, TRANSACTION_KEYS);
    const { complete = false } = options;
    const { parts, job, runId } = this.#run;
    if (typeof work !== 'function') {
      throw badField('work', 'must be a function: ctx.transaction calls it with the manager');
    }
    if (this.#isUnderWay) {
      throw new JobsError(
        'invalid_request',
        `Job ${job.id} has a ctx.transaction open already: use its manager instead of a second one.`,
      );
    }
    checkHolds(this.#run, 'its transaction was not begun');
    if (remembered?.known !== undefined) {
      // An earlier run has made it, and its step is not done.
      return remembered.known.value as T;
    }
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
    this.#isUnderWay = true;
    try {
      // Lines cannot be written beside it, and must be there when it completes the job.
      await this.#openLog()?.hold();
      const result = await parts.store.transaction(
        { jobId: job.id, runId, over, leaseMs: parts.options.lease.durationMs },
        async (manager, joined) => {
          this.#joined = joined;
          this.#run.progress.join(joined);
          const step = scopeOf(runId)?.step;
          const given = await inScope({ runId, step, isInTransaction: true }, () => work(manager));
          const value =
            remembered === undefined || complete
              ? given
              : ((await remembered.store(joined, given)) as T);
          await this.#run.progress.writeJoined();
          logged = complete ? await this.#logIn(joined) : 0;
          ended = complete ? await this.#completeIn(joined, value) : undefined;
          return value;
        },
      );
      remembered?.committed();
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
      this.#isUnderWay = false;
      this.#openLog()?.release(logged);
      this.#run.progress.leave();
    }
  }

  /** Stores what was logged in the transaction along with it; how many lines. */
  async #logIn(joined: JoinedTransaction): Promise<number> {
    const lines = this.#openLog()?.held ?? [];
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
}
