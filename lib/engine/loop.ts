import type { EngineLogger } from './engine-options.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;
const LONGEST_BACKOFF_MS = 15_000;

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
  #isWoken = false;
  #failures = 0;
  #isStopped = true;
  /** When the latest pass succeeded, by this process's monotonic clock; 0 before the first. */
  lastOkAt = 0;

  constructor(duty: Duty, logger: EngineLogger, random: () => number) {
    this.#duty = duty;
    this.#logger = logger;
    this.#random = random;
  }

  get name(): string {
    return this.#duty.name;
  }

  /** Whether the latest pass is not older than some passes should take. */
  get isAlive(): boolean {
    return this.#isStopped || this.#failures === 0;
  }

  start(): void {
    this.#isStopped = false;
    this.#arm(0);
  }

  /** A pass as soon as possible; calls during a pass give one more. */
  wake(): void {
    if (this.#isStopped) {
      return;
    }
    if (this.#pass !== undefined) {
      this.#isWoken = true;
      return;
    }
    this.#arm(0);
  }

  /** No more passes; resolves when the present one has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#pass;
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#pass = this.#run().finally(() => {
          this.#pass = undefined;
        });
      },
      Math.min(delayMs, LONGEST_TIMER_MS),
    );
    this.#timer.unref();
  }

  async #run(): Promise<void> {
    this.#isWoken = false;
    let nextMs: number;
    try {
      const wantedMs = await this.#duty.runOnce();
      this.#failures = 0;
      this.lastOkAt = performance.now();
      nextMs = wantedMs ?? this.#duty.everyMs * (0.9 + this.#random() * 0.2);
    } catch (error) {
      this.#failures += 1;
      nextMs = Math.min(100 * 2 ** this.#failures, LONGEST_BACKOFF_MS) * (0.5 + this.#random() / 2);
      if (this.#failures === 1) {
        this.#logger.warn(
          `The duty "${this.#duty.name}" failed and is tried again by itself: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
    if (!this.#isStopped) {
      this.#arm(this.#isWoken ? 0 : nextMs);
    }
  }
}
