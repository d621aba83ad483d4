import type { ServedRun } from './run.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A run that may come to a standstill. */
export interface StallingRun extends ServedRun {
  readonly progress: {
    /** When the run last got on, by `performance.now()`. */
    readonly movedAt: number | undefined;
  };
  /** Ends the run: it has not got on for so long. */
  stalled(afterMs: number): void;
}

/**
 * Watches one run of a type with `stallAfter`: reported progress that differs from what was reported
 * before, a step that is done and a lock that ends say that it gets on. While it is locked, it waits
 * for somebody else and is not watched.
 */
export class StallWatch {
  readonly #run: StallingRun;
  readonly #afterMs: number;
  #since = performance.now();
  #dueAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(run: StallingRun, afterMs: number) {
    this.#run = run;
    this.#afterMs = afterMs;
    this.#arm(afterMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): void {
    const waitMs = Math.min(Math.max(1, ms), LONGEST_TIMER_MS);
    this.#dueAt = performance.now() + waitMs;
    this.#timer = setTimeout(() => this.#look(), waitMs);
  }

  #look(): void {
    const nowMs = performance.now();
    // When something else blocks the event loop, the handler could not have said anything.
    if (this.#run.job.status === 'locked' || nowMs - this.#dueAt > this.#afterMs / 2) {
      this.#since = nowMs;
    }
    const quietMs = nowMs - Math.max(this.#since, this.#run.progress.movedAt ?? 0);
    if (quietMs >= this.#afterMs) {
      this.#run.stalled(this.#afterMs);
    } else {
      this.#arm(this.#afterMs - quietMs);
    }
  }
}
