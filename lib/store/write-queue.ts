import { HeldWork } from './held-work.js';
import { orderOf, scriptOf, type BatchKind, type Pending, type Work } from './write-batch.js';

const MOST_LOOKED_AT = 10_000; // What came later waits, so that a transaction is as quickly chosen.

/** What waits to be written, and which of it shares the next transaction. */
export class WriteQueue {
  #items: Pending[] = [];
  /** What waits for a lock of somebody else. */
  readonly #held: HeldWork;
  /** Whether the next transaction is that of work which was held: others have had theirs. */
  #isTurnOfHeld = false;
  /** What of it is tried now. */
  #again: ReadonlySet<Pending> = NOTHING;

  /** @param due is called when what waits for a lock may be tried again */
  constructor(due: () => void, random: () => number) {
    this.#held = new HeldWork(due, random);
  }

  get isDue(): boolean {
    return this.#items.length > 0 || this.#held.isDue;
  }

  get isEmpty(): boolean {
    return this.#items.length === 0 && this.#held.isEmpty;
  }

  add(pending: Pending): void {
    this.#items.push(pending);
  }

  /** Takes out what shares the next transaction, grouped by kind. */
  take(): Work[] {
    this.#again = NOTHING;
    if (!this.#held.isEmpty) {
      this.#items = this.#held.keepOrder(this.#items);
      const again = this.#isTurnOfHeld || this.#items.length === 0 ? this.#held.next() : [];
      this.#isTurnOfHeld = again.length === 0;
      const [first] = again;
      if (first !== undefined) {
        this.#again = new Set(again);
        return [{ script: scriptOf(first.kind, again), items: again }];
      }
    }
    const groups = new Map<BatchKind<unknown, unknown>, Pending[]>();
    const later: Pending[] = [];
    const rest = this.#items.length > MOST_LOOKED_AT ? this.#items.splice(MOST_LOOKED_AT) : [];
    for (const pending of this.#items) {
      const group = groups.get(pending.kind);
      if (group === undefined) {
        groups.set(pending.kind, [pending]);
      } else if (group.length < pending.kind.maxItems) {
        group.push(pending);
      } else {
        later.push(pending);
      }
    }
    // What comes after a kind must not overtake items of it that do not fit into this transaction:
    // the end of a run would fence off a report of its own.
    let barrier = Infinity;
    for (const { kind } of later) {
      barrier = Math.min(barrier, kind.rank);
    }
    const behind: Pending[] = [];
    for (const [kind, items] of groups) {
      if (kind.rank > barrier) {
        groups.delete(kind);
        behind.push(...items);
      }
    }
    this.#items = behind.length + rest.length === 0 ? later : later.concat(behind, rest);
    return [...groups.entries()]
      .sort(([a, one], [b, other]) => a.rank - b.rank || placeOf(one) - placeOf(other))
      .map(([kind, items]) => ({ script: scriptOf(kind, items), items }));
  }

  /** Takes back what could not be written: it is tried first. */
  giveBack(items: readonly Pending[]): void {
    // What was held goes back there: in the queue it would come behind what waits for it.
    this.#held.giveBack(items.filter((each) => this.#again.has(each)));
    this.#items = [...items.filter((each) => !this.#again.has(each)), ...this.#items];
  }

  /** Keeps what met a lock of somebody else after so long. */
  hold(items: readonly Pending[], tookMs: number): void {
    this.#held.add(items, tookMs);
  }

  /** Others got through. */
  committed(): void {
    this.#held.committed();
  }

  /** Takes out what suits, wherever it waits. */
  remove(suits: (pending: Pending) => boolean): readonly Pending[] {
    const removed = [...this.#items, ...this.#held.items].filter(suits);
    if (removed.length > 0) {
      this.#items = this.#items.filter((each) => !suits(each));
      this.#held.remove(suits);
    }
    return removed;
  }

  /** Whether anything that waits for no lock suits. */
  isAny(suits: (pending: Pending) => boolean): boolean {
    return this.#items.some(suits);
  }

  /** Gives back all of it. */
  clear(): readonly Pending[] {
    const left = [...this.#items, ...this.#held.clear()];
    this.#items = [];
    return left;
  }
}

const NOTHING: ReadonlySet<Pending> = new Set();

/**
 * By which row it begins, for work of one rank: whoever takes the same rows in another transaction takes
 * them in the same order, so that neither waits for the other with rows in hand.
 */
function placeOf([first]: readonly Pending[]): number {
  return first === undefined ? 0 : (orderOf(first) ?? 0);
}
