import { isBehind, orderOf, type Pending } from './write-batch.js';

/** Work is tried again so soon, at first and at the last. */
const DELAY_MS = { least: 3, most: 50 };
/** A try that took so long has waited for the lock by itself. */
const WAITED_MS = 20;

/**
 * Work that waits alone for a lock of somebody else: most are held for a few milliseconds, some for as
 * long as an application likes, so it is tried again soon and then less and less often.
 */
export class HeldWork {
  readonly #random: () => number;
  readonly #retry: (items: readonly Pending[]) => void;
  #items: Pending[] = [];
  #timer: NodeJS.Timeout | undefined;
  #delayMs = DELAY_MS.least;

  /** @param retry is given all of it, to be tried again */
  constructor(retry: (items: readonly Pending[]) => void, random: () => number) {
    this.#retry = retry;
    this.#random = random;
  }

  get items(): readonly Pending[] {
    return this.#items;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  /** Keeps what a try met a lock with, which took so long. */
  add(items: readonly Pending[], tookMs: number): void {
    this.#items.push(...items);
    if (tookMs >= WAITED_MS) {
      this.#delayMs = DELAY_MS.most;
    }
    this.#timer ??= setTimeout(this.#due, this.#delayMs * (1 + this.#random()));
  }

  /** Keeps what belongs behind what is kept; the rest of the queue. */
  keepOrder(queue: Pending[]): Pending[] {
    const held = new Set(this.#items.map(orderOf));
    const behind = queue.filter((each) => isBehind(each, held));
    this.#items.push(...behind);
    return behind.length === 0 ? queue : queue.filter((each) => !isBehind(each, held));
  }

  /** Takes out what somebody no longer waits for. */
  remove(isLate: (pending: Pending) => boolean): void {
    this.#items = this.#items.filter((each) => !isLate(each));
  }

  /** Others got through, and nothing is kept: the next lock is another one. */
  committed(): void {
    if (this.isEmpty) {
      this.#delayMs = DELAY_MS.least;
    }
  }

  /** Gives back all of it. */
  clear(): readonly Pending[] {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const items = this.#items;
    this.#items = [];
    return items;
  }

  readonly #due = (): void => {
    this.#delayMs = Math.min(this.#delayMs * 2, DELAY_MS.most);
    this.#retry(this.clear());
  };
}
