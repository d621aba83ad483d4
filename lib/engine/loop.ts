import type { EngineLogger } from './engine-options.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;
const LONGEST_BACKOFF_MS = 15_000;

/** How much later than planned a pass may end before the loop counts as stuck. */
const LATE_MS = 5000;

/** What a background duty does, again and again. */
export interface Duty {
  readonly name: string;
  /** Milliseconds between passes. */
  readonly everyMs: number;
  /** One pass; returns in how many milliseconds the next is due, or undefined for the usual time. */
  runOnce(): Promise<number | undefined>;
}

/** Runs a duty until stopped: one pass at a time, jittered, slower after a failure, never dead. */
export class Loop {
  readonly #duty: Duty;
  readonly #logger: EngineLogger;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | undefined;
  #pass: Promise<void> | undefined;
  #wokenMs: number | undefined;
  #failures = 0;
  #isStopped = true;
  /** When the pass that is due or under way should have ended, by the monotonic clock. */
  #expectedAt = Infinity;

  constructor(duty: Duty, logger: EngineLogger, random: () => number) {
    this.#duty = duty;
    this.#logger = logger;
    this.#random = random;
  }

  get name(): string {
    return this.#duty.name;
  }

  /** Whether the latest pass succeeded, and none is overdue. */
  get isAlive(): boolean {
    return this.#isStopped || (this.#failures === 0 && performance.now() < this.#expectedAt);
  }

  start(): void {
    this.#isStopped = false;
    this.#arm(0);
  }

  /**
   * A pass as soon as possible, or after so long; calls during a pass give one more. After a failure
   * its back-off stands.
   */
  wake(afterMs = 0): void {
    if (this.#isStopped) {
      return;
    }
    if (this.#pass !== undefined) {
      this.#wokenMs = afterMs;
    } else if (this.#failures === 0) {
      this.#arm(afterMs);
    }
  }

  /** No more passes; resolves when the present one has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#pass;
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer);
    const waitMs = Math.max(0, Math.min(delayMs, LONGEST_TIMER_MS));
    this.#expectedAt = performance.now() + waitMs + LATE_MS;
    this.#timer = setTimeout(() => {
      this.#pass = this.#run();
    }, waitMs);
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    this.#wokenMs = undefined;
    const nextMs = await this.#runOnce();
    // In one step, so that no call of wake falls in between.
    this.#pass = undefined;
    if (!this.#isStopped) {
      this.#arm(this.#failures === 0 ? (this.#wokenMs ?? nextMs) : nextMs);
    }
  }

  /** One pass; in how many milliseconds the next is due. */
  async #runOnce(): Promise<number> {
    try {
      const wantedMs = await this.#duty.runOnce();
      this.#failures = 0;
      return wantedMs ?? this.#duty.everyMs * (0.9 + this.#random() * 0.2);
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === 1) {
        this.#logger.warn(
          `The duty "${this.#duty.name}" failed and is tried again by itself: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      const backoffMs = Math.min(100 * 2 ** this.#failures, LONGEST_BACKOFF_MS);
      return backoffMs * (0.5 + this.#random() / 2);
    }
  }
}
