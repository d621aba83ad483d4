import type { JobEntity } from '../entities/job.entity.js';
import type { JobAbortCode } from '../model/signals.js';
import type { ServedRun } from './run.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A run as its timers see it. */
export interface TimedRun extends ServedRun {
  /** Fires the signal; after the grace the run is settled by force. */
  abort(code: JobAbortCode): void;
  /** The grace after that signal is over, and the handler has not ended. */
  endByForce(code: JobAbortCode): void;
  timeoutChanged(timeoutSec: number): void;
}

/**
 * When a run ends by its timeout, 0 without one; undefined when its progress tells, or it has not
 * started.
 */
export function etaByTimeout(
  { startedAtMs, progress, etaMs }: Pick<JobEntity, 'startedAtMs' | 'progress' | 'etaMs'>,
  timeoutSec: number,
): number | undefined {
  if (startedAtMs === null || (progress > 0 && etaMs !== null)) {
    return undefined;
  }
  return timeoutSec > 0 ? startedAtMs + Math.round(timeoutSec * 1000) : 0;
}

/** The timers of one run: its timeout, and the grace after a signal. Made when first needed. */
export class RunClock {
  readonly #run: TimedRun;
  #timeout: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(run: TimedRun) {
    this.#run = run;
  }

  /** Counts the job's timeout, as it is now, from the handler's start. */
  armTimeout(): void {
    const { job } = this.#run;
    clearTimeout(this.#timeout);
    const etaMs = etaByTimeout(job, job.timeoutSec);
    job.etaMs = etaMs === undefined ? job.etaMs : etaMs || null;
    if (job.timeoutSec > 0) {
      this.#timeout = setTimeout(
        () => this.#timeUp(),
        Math.min(Math.max(0, this.#leftMs()), LONGEST_TIMER_MS),
      );
    }
  }

  armGrace(code: JobAbortCode): void {
    clearTimeout(this.#grace);
    const graceMs = Math.min(this.#run.parts.options.grace.signalMs, LONGEST_TIMER_MS);
    this.#grace = setTimeout(() => this.#run.endByForce(code), graceMs);
  }

  stop(): void {
    clearTimeout(this.#timeout);
    clearTimeout(this.#grace);
  }

  #leftMs(): number {
    return this.#run.job.timeoutSec * 1000 - this.#run.elapsedMs;
  }

  #timeUp(): void {
    if (this.#leftMs() > 0) {
      // The timeout is longer than a timer can be.
      this.armTimeout();
    } else {
      void this.#timeUpUnlessRaised();
    }
  }

  /** The timeout may have been raised on another node; what is stored decides. */
  async #timeUpUnlessRaised(): Promise<void> {
    const { job, parts, runId } = this.#run;
    try {
      const stored = await parts.store.jobs.find(job.id);
      if (stored !== undefined && stored.job.runId === runId) {
        this.#run.timeoutChanged(stored.job.timeoutSec);
      }
    } catch (error) {
      parts.logger.debug(`The timeout of job ${job.id} could not be read again: ${String(error)}`);
    }
    if (job.timeoutSec > 0 && this.#leftMs() <= 0) {
      this.#run.abort('timeout');
    }
  }
}
