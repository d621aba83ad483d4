import { obstacleOf, orderOf, type Pending } from './write-batch.js';

/** Work is tried again so soon, at first and at the last. */
const DELAY_MS = { least: 3, most: 50 };
/** A try that took so long has waited for the lock by itself. */
const WAITED_MS = 20;

/**
 * Work that waits for a lock of somebody else: most are held for a few milliseconds, some for as
 * long as an application likes, so it is tried again soon and then less and less often.
 */
export class HeldWork {
  readonly #random: () => number;
  readonly #due: () => void;
  /** What was tried, and what belongs behind it. */
  #tried: Pending[] = [];
  /** What is tried again now; what belongs behind what was tried meanwhile goes back there. */
  #untried: Pending[] = [];
  #timer: NodeJS.Timeout | undefined;
  #delayMs = DELAY_MS.least;

  /** @param due is called when all of it may be tried again */
  constructor(due: () => void, random: () => number) {
    this.#due = due;
    this.#random = random;
  }

  get items(): readonly Pending[] {
    return [...this.#untried, ...this.#tried];
  }

  get isEmpty(): boolean {
    return this.#tried.length === 0 && this.#untried.length === 0;
  }

  get isDue(): boolean {
    return this.#untried.length > 0;
  }

  /** Keeps what a try met a lock with, which took so long. */
  add(items: readonly Pending[], tookMs: number): void {
    this.#tried.push(...items);
    if (tookMs >= WAITED_MS) {
      this.#delayMs = DELAY_MS.most;
    }
    this.#rest();
  }

  /** Keeps what belongs behind what is kept; the rest of the queue. */
  keepOrder(queue: Pending[]): Pending[] {
    const [tried, untried] = [rowsOf(this.#tried), rowsOf(this.#untried)];
    if (tried.size === 0 && untried.size === 0) {
      return queue;
    }
    const rest: Pending[] = [];
    for (const each of queue) {
      if (!keep(each, untried, this.#untried) && !keep(each, tried, this.#tried)) {
        rest.push(each);
      }
    }
    this.#rest();
    return rest;
  }

  /**
   * What is tried next, in a transaction of its own: it may wait, and nothing else is to wait with it. What
   * waits for nobody goes together.
   */
  next(): readonly Pending[] {
    let next: readonly Pending[] = [];
    while (next.length === 0 && this.#untried.length > 0) {
      const [first, ...others] = this.#untried as [Pending, ...Pending[]];
      this.#untried = others;
      if (first.heldBy !== undefined) {
        next = [first, ...others.filter((each) => each.kind === first.kind)];
        next = next.slice(0, first.kind.maxItems);
        const taken = new Set(next);
        this.#untried = others.filter((each) => !taken.has(each));
      } else if (obstacleOf(first, rowsOf(this.#tried)) === undefined) {
        next = [first];
      } else {
        this.#tried.push(first);
      }
    }
    this.#rest();
    return next;
  }

  /** Takes out what somebody no longer waits for. */
  remove(isLate: (pending: Pending) => boolean): void {
    this.#tried = this.#tried.filter((each) => !isLate(each));
    this.#untried = this.#untried.filter((each) => !isLate(each));
    this.#rest();
  }

  /** Takes back what a try could not be made with: it is the next one, ahead of what belongs behind it. */
  giveBack(items: readonly Pending[]): void {
    this.#untried = [...items, ...this.#untried];
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
    const { items } = this;
    this.#tried = [];
    this.#untried = [];
    return items;
  }

  /** Once all was tried it rests for a while. */
  #rest(): void {
    if (this.#untried.length === 0 && this.#tried.length > 0) {
      this.#timer ??= setTimeout(this.#wake, this.#delayMs * (1 + this.#random()));
    }
  }

  readonly #wake = (): void => {
    this.#timer = undefined;
    this.#delayMs = Math.min(this.#delayMs * 2, DELAY_MS.most);
    this.#untried = [...this.#untried, ...this.#tried];
    this.#tried = [];
    if (this.#untried.length > 0) {
      this.#due();
    }
  };
}

/** Puts work behind what has the same rows; whether there is any. */
function keep(work: Pending, rows: ReadonlySet<number>, behind: Pending[]): boolean {
  const row = obstacleOf(work, rows);
  if (row === undefined) {
    return false;
  }
  const { kind } = work;
  const passing = { ...work, kind: kind.passing ?? kind, heldBy: row };
  behind.push(kind.needs === undefined ? work : passing);
  return true;
}

/** The rows that work waits for, or must not be overtaken on the way to. */
function rowsOf(items: readonly Pending[]): ReadonlySet<number> {
  return new Set(items.flatMap((each) => each.heldBy ?? orderOf(each) ?? []));
}
