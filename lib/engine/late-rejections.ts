import type { EngineLogger } from './engine-options.js';
import { currentRun } from './run-storage.js';

/** The listeners of every engine in this process. */
const OURS = new WeakSet<(...args: never[]) => unknown>();

/**
 * A promise that a handler did not await and that rejects would end the process. It fails its run
 * instead. A rejection of anybody else is treated as if this listener were not there.
 */
export class LateRejections {
  readonly #logger: EngineLogger;

  constructor(logger: EngineLogger) {
    this.#logger = logger;
  }

  start(): void {
    OURS.add(this.#listener);
    process.on('unhandledRejection', this.#listener);
  }

  stop(): void {
    process.off('unhandledRejection', this.#listener);
  }

  readonly #listener = (reason: unknown): void => {
    const run = currentRun();
    if (run !== undefined) {
      this.#logger.error(
        `Job ${run.job.id} (${run.job.type}): a promise that its handler did not await was rejected: ${run.errorText(reason)}`,
      );
      run.failLate(reason);
      return;
    }
    const listeners = process.listeners('unhandledRejection');
    if (listeners[0] === this.#listener && listeners.every((each) => OURS.has(each))) {
      // What Node does without a listener: the rejection becomes an uncaught exception.
      throw reason instanceof Error ? reason : new Error(`Unhandled rejection: ${String(reason)}`);
    }
  };
}
