import type { JsonValue } from '../model/json.js';
import type { Ending } from '../model/outcome.js';
import type { JobAbortError } from '../model/signals.js';
import { isStream, isThenable, readStream, type OutputReader } from './handler-output.js';
import type { AnyHandler } from './handlers.js';
import type { RunLogger } from './log-writer.js';
import type { HandledRun } from './run.js';
import { RunContext } from './run-context.js';
import { endingOf, resultText } from './run-end.js';
import { runInContext } from './run-storage.js';

/** A run as the call of its handler sees it. */
export interface CalledRun extends HandledRun {
  /** Why its handler was told to stop. */
  readonly abortReason: JobAbortError | undefined;
  /** Whether nobody else can have its job yet. */
  readonly surelyHolds: boolean;
  /** The handler is done; what it gave or threw means this. */
  settle(ending: Ending): void;
}

/** One call of a handler: its context, what it returns, emits or throws, and what that means. */
export class HandlerCall {
  readonly #run: CalledRun;
  readonly #context: RunContext;
  #handler: AnyHandler | undefined;
  #reader: OutputReader | undefined;

  constructor(run: CalledRun) {
    this.#run = run;
    this.#context = new RunContext(run);
  }

  /** The log, if anything was logged. */
  get openLog(): RunLogger | undefined {
    return this.#context.openLog;
  }

  /** Whether a transaction of the handler is open. */
  get isInTransaction(): boolean {
    return this.#context.isInTransaction;
  }

  /** Calls the handler, once there is one; never throws. */
  start(): void {
    const { type, job } = this.#run;
    if (type.instance === undefined) {
      type.resolve(job.id).then((handler) => {
        if (this.#run.surelyHolds) {
          this.#execute(handler);
        } else {
          this.#run.settle({ kind: 'unstarted' });
        }
      }, this.#threw);
    } else {
      this.#execute(type.instance);
    }
  }

  /** Reads no more of what the handler emits. */
  stop(reason: JobAbortError): void {
    this.#reader?.stop(reason);
  }

  #execute(handler: AnyHandler): void {
    if (this.#run.isSettled) {
      return;
    }
    this.#handler = handler;
    const context = this.#context;
    let output: unknown;
    try {
      output = runInContext(context, () => handler.execute(context));
      if (isThenable(output)) {
        output.then(this.#returned, this.#threw);
        return;
      }
    } catch (error) {
      this.#threw(error);
      return;
    }
    this.#returned(output);
  }

  readonly #returned = (value: unknown): void => {
    const run = this.#run;
    if (run.isSettled) {
      return;
    }
    let result: string | null;
    try {
      // What a handler returns may throw when it is looked at.
      if (isStream(value)) {
        this.#read(value);
        return;
      }
      if (run.abortReason?.code === 'timeout') {
        run.settle({ kind: 'timeout' });
        return;
      }
      const { release } = this.#context;
      if (release !== undefined) {
        // It did not let pass what ends the run.
        run.settle(release);
        return;
      }
      result = resultText(value, run.parts.options.limits);
    } catch (error) {
      run.settle({ kind: 'failed', error: run.errorText(error), isRetryable: false });
      return;
    }
    run.settle({ kind: 'completed', result });
  };

  #read(stream: Parameters<typeof readStream>[0]): void {
    const run = this.#run;
    try {
      this.#reader = readStream(stream, (value) => run.progress.emit(value));
    } catch (error) {
      // Asking for the iterator can throw by itself.
      this.#threw(error);
      return;
    }
    if (run.abortReason !== undefined) {
      this.#reader.stop(run.abortReason);
    }
    this.#reader.done.then(this.#returned, this.#threw);
  }

  readonly #threw = (error: unknown): void => {
    if (!this.#run.isSettled) {
      void this.#fail(error);
    }
  };

  async #fail(thrown: unknown): Promise<void> {
    const ending = await this.meaningOf(thrown);
    if (ending !== undefined) {
      this.#run.settle(ending);
    }
  }

  /** What something thrown means for the run; undefined when it has ended already. Never throws. */
  async meaningOf(thrown: unknown): Promise<Ending | undefined> {
    const run = this.#run;
    if (this.#context.release !== undefined && run.abortReason?.code !== 'timeout') {
      return this.#context.release;
    }
    try {
      return await endingOf(thrown, {
        abortReason: run.abortReason,
        handler: this.#handler,
        errorBytes: run.parts.options.limits.error,
        errorText: (each) => run.errorText(each),
        jobForRetry: () =>
          run.view(run.type.params.instantiate(JSON.parse(run.job.params) as JsonValue)),
      });
    } catch (failure) {
      return { kind: 'failed', error: run.errorText(failure), isRetryable: false };
    }
  }
}
