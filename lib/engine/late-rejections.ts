import type { EngineLogger } from './engine-options.js';
import { JobsError } from '../model/errors.js';
import { SteeringSignal } from '../model/signals.js';
import { currentRun } from './run-storage.js';

/** Marks our listener: a process may have loaded this package twice, as a module and as CommonJS. */
const OURS = Symbol.for('nestjs-jobs:late-rejections');

/** The engines of this process. One listener serves them all, for a rejection belongs to one run. */
const engines = new Set<LateRejections>();

/**
 * A promise that a handler did not await and that rejects would end the process. It fails its run
 * instead. A rejection of anybody else is treated as if this listener were not there.
 */
export class LateRejections {
  readonly logger: EngineLogger;

  constructor(logger: EngineLogger) {
    this.logger = logger;
  }

  start(): void {
    if (engines.size === 0) {
      process.on('unhandledRejection', onRejection);
    }
    engines.add(this);
  }

  stop(): void {
    engines.delete(this);
    if (engines.size === 0) {
      process.off('unhandledRejection', onRejection);
    }
  }
}

/** What ends a run works where it is thrown, and nowhere else. */
function unawaited(jobId: string): JobsError {
  return new JobsError(
    'invalid_request',
    `Job ${jobId} called ctx.sleep, ctx.waitForSignal, ctx.skip or ctx.reschedule in a promise that nobody awaits: put await before it, so that the handler stops there.`,
  );
}

const onRejection = Object.assign(
  (reason: unknown): void => {
    const run = currentRun();
    if (run !== undefined) {
      const error = reason instanceof SteeringSignal ? unawaited(run.job.id) : reason;
      const [engine] = engines;
      engine?.logger.error(
        `Job ${run.job.id} (${run.job.type}): a promise that its handler did not await was rejected: ${run.errorText(error)}`,
      );
      run.failLate(error);
      return;
    }
    const listeners = process.listeners('unhandledRejection');
    if (listeners[0] === onRejection && listeners.every((each) => OURS in each)) {
      // What Node does without a listener: the rejection becomes an uncaught exception.
      throw reason instanceof Error ? reason : new Error(`Unhandled rejection: ${String(reason)}`);
    }
  },
  { [OURS]: true },
);
