import { AnswerLost, ScriptFailure, type Session } from './dialects/session.js';
import { closedError } from '../model/errors.js';
import {
  answerLostError,
  busyError,
  slowError,
  unavailableError,
} from './dialects/write-errors.js';
import type { TimedScript } from './dialects/sql.js';
import {
  alone,
  aside,
  doubted,
  Held,
  type BatchKind,
  type Patience,
  type Pending,
  type Work,
} from './write-batch.js';
import { WriteQueue } from './write-queue.js';

/** After so long without the lock a caller's write is refused. */
export const BUSY_DEADLINE_MS = 5000;

/** So long a caller's write tries in each turn of the loop for a lock that others have for less than that. */
const TRYING_MS = 2;
const TRYING_LOCKS_MS = 50;
const BUSY_DELAY_MS = { least: 1, most: 25 };
const UNAVAILABLE_DELAY_MS = 1000;
/** A lost answer is asked for again so soon, as long as somebody waits for it. */
const UNCERTAIN_DELAY_MS = 100;

/**
 * The one writer of a process. Nothing is timed: an idle writer writes in the same turn of the
 * event loop, a busy one lets work gather. When another connection holds the lock it waits without
 * blocking the loop, at first by turns of the loop where a caller waits, then by growing delays.
 */
export class Writer {
  readonly #session: Session;
  readonly #random: () => number;
  readonly #queue: WriteQueue;
  #scheduled = false;
  #writing = false;
  /** Since when work waits without a commit; undefined while all goes well. */
  #stuckSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the timer waits for a lock. */
  #isBusy = false;
  /** When the last try began. */
  #begunAt = 0;
  #closed = false;
  #drained: (() => void)[] = [];

  constructor(session: Session, random: () => number = Math.random) {
    this.#session = session;
    this.#random = random;
    this.#queue = new WriteQueue(() => this.#schedule(), random);
  }

  /**
   * Adds an item to the next transaction; resolves after its commit. `since`: when the caller came, where
   * it has waited for something else before.
   */
  add<I, O>(
    kind: BatchKind<I, O>,
    item: I,
    patience: Patience,
    since = patience === 'caller' ? performance.now() : 0,
  ): Promise<Exclude<O, Held>> {
    return new Promise<Exclude<O, Held>>((resolve, reject) => {
      if (this.#closed) {
        reject(closedError());
        return;
      }
      this.#queue.add({
        kind,
        item,
        patience,
        since,
        resolve,
        reject,
      });
      if (patience === 'caller' && this.#isBusy && this.#lockedMs < TRYING_LOCKS_MS) {
        // A caller does not wait for a delay of the engine's own work.
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#isBusy = false;
      }
      this.#schedule();
    });
  }

  /** One script in the next transaction; resolves after its commit. */
  write<T>(script: TimedScript<T>, patience: Patience, order?: number): Promise<T> {
    const kind: BatchKind<undefined, T> = {
      name: 'single',
      rank: 50,
      maxItems: 1,
      ...(order === undefined ? {} : { orderOf: () => order }),
      isQuiet: script.isQuiet === true,
      *script(_items, nowMs) {
        return [yield* script(nowMs)];
      },
    };
    return this.add(kind, undefined, patience);
  }

  /** For how long work has waited without a commit; 0 when nothing waits. */
  get stuckMs(): number {
    const isWaiting = this.#writing || !this.#queue.isEmpty;
    return isWaiting && this.#stuckSince !== undefined ? performance.now() - this.#stuckSince : 0;
  }

  /** Resolves when nothing waits to be written, or after so long. */
  idle(patienceMs?: number): Promise<void> {
    if (this.#queue.isEmpty && !this.#writing) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const timer = patienceMs === undefined ? undefined : setTimeout(resolve, patienceMs);
      this.#drained.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Refuses new work and rejects what could not be written. */
  close(): void {
    this.#closed = true;
    if (this.#writing) {
      // What is under way ends first, so that all that is refused is refused at once.
      return;
    }
    clearTimeout(this.#timer);
    this.#queue.clear().forEach((pending) => pending.reject(closedError()));
    this.#tellIdle();
  }

  #schedule(): void {
    if (!this.#scheduled && !this.#writing && this.#timer === undefined) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    }
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    this.#timer = undefined;
    this.#isBusy = false;
    if (this.#writing) {
      return;
    }
    const work = this.#queue.take();
    if (work.length === 0) {
      return;
    }
    this.#begunAt = performance.now();
    let outcome: Promise<readonly unknown[]> | readonly unknown[];
    try {
      outcome = this.#session.transact(work.map((each) => each.script));
    } catch (error) {
      this.#failed(work, error);
      return;
    }
    if (!(outcome instanceof Promise)) {
      this.#committed(work, outcome);
      return;
    }
    this.#writing = true;
    this.#stuckSince ??= performance.now();
    outcome.then(
      (results) => {
        this.#writing = false;
        this.#committed(work, results);
      },
      (error: unknown) => {
        this.#writing = false;
        this.#failed(work, error);
      },
    );
  };

  #committed(work: readonly Work[], results: readonly unknown[]): void {
    this.#stuckSince = undefined;
    const held: Pending[] = [];
    for (const [index, { items }] of work.entries()) {
      const outcomes = results[index] as readonly unknown[];
      for (let at = 0; at < items.length; at += 1) {
        const [item, outcome] = [items[at], outcomes[at]];
        if (item !== undefined && outcome instanceof Held) {
          held.push({ ...item, heldBy: outcome.row });
        } else {
          item?.resolve(outcome);
        }
      }
    }
    if (held.length > 0) {
      this.#queue.hold(held, 0);
      this.#refuseLate();
    }
    this.#queue.committed();
    this.#next();
  }

  #failed(work: readonly Work[], error: unknown): void {
    const thrown = error instanceof ScriptFailure ? error.cause : error;
    const isLost = thrown instanceof AnswerLost;
    const cause = isLost ? thrown.cause : thrown;
    this.#stuckSince ??= performance.now();
    switch (this.#session.classify(cause)) {
      case 'busy':
        this.#putBack(work);
        this.#refuseLate();
        this.#waitForLock();
        return;
      case 'held':
        this.#hold(work, error);
        return;
      case 'slow':
        this.#hold(work, error, () => slowError(cause));
        return;
      case 'unavailable':
        this.#unavailable(isLost ? work.map(doubted) : work, cause, isLost && thrown.maybeDone);
        return;
      case 'error':
        // The work is at fault, not the database.
        this.#stuckSince = undefined;
        this.#isolate(work, error, cause);
    }
  }

  /** The work that threw is rejected alone, piece by piece; the rest is tried again without it. */
  #isolate(work: readonly Work[], error: unknown, cause: unknown): void {
    const guilty = error instanceof ScriptFailure ? work[error.index] : undefined;
    if (guilty === undefined) {
      for (const pending of work.flatMap((each) => each.items)) {
        pending.reject(cause);
      }
    } else {
      this.#putBack(work.filter((each) => each !== guilty));
      if (guilty.items.length === 1) {
        guilty.items[0]?.reject(cause);
      } else {
        // One bad item must not fail its neighbours: each goes alone from here on.
        this.#queue.giveBack(guilty.items.map(alone));
      }
    }
    this.#next();
  }

  /** The work that met somebody's lock is singled out and waits; the rest goes on. */
  #hold(work: readonly Work[], error: unknown, refusal?: () => Error): void {
    const guilty = error instanceof ScriptFailure ? work[error.index] : undefined;
    if (this.#closed) {
      this.#putBack(work);
    } else if (guilty === undefined || isOne(guilty)) {
      this.#putBack(work.filter((each) => each !== guilty && guilty !== undefined));
      this.#queue.hold(
        guilty?.items ?? work.flatMap((each) => each.items),
        performance.now() - this.#begunAt,
      );
      this.#refuseLate(refusal);
    } else {
      this.#putBack(work.filter((each) => each !== guilty));
      this.#queue.giveBack(guilty.items.map(aside));
    }
    this.#next();
  }

  /** `maybeDone`: all of it is stored, or nothing. */
  #unavailable(work: readonly Work[], cause: unknown, maybeDone: boolean): void {
    const items = work.flatMap((each) => each.items);
    const latest = performance.now() - BUSY_DEADLINE_MS;
    const isKept = (each: Pending): boolean =>
      each.patience === 'engine' || (each.isUncertain === true && each.since > latest);
    for (const pending of items.filter((each) => !isKept(each))) {
      pending.reject(
        maybeDone || pending.isUncertain === true
          ? answerLostError(cause)
          : unavailableError(cause),
      );
    }
    const kept = items.filter(isKept);
    const isAwaited = kept.some((each) => each.isUncertain === true);
    this.#queue.giveBack(kept);
    if (this.#closed) {
      this.close();
    } else if (this.#queue.isDue) {
      const delay = isAwaited ? UNCERTAIN_DELAY_MS : UNAVAILABLE_DELAY_MS;
      this.#timer = setTimeout(this.#flush, delay);
      this.#timer.unref();
    } else {
      this.#next();
    }
  }

  #putBack(work: readonly Work[]): void {
    this.#queue.giveBack(work.flatMap((each) => each.items));
  }

  #refuseLate(refusal = (): Error => busyError(BUSY_DEADLINE_MS)): void {
    const latest = performance.now() - BUSY_DEADLINE_MS;
    this.#queue
      .remove((each) => each.patience === 'caller' && each.since < latest)
      .forEach((pending) => pending.reject(refusal()));
  }

  /** The engine's own work leaves the lock to callers at once: what waits meanwhile shares a commit. */
  #waitForLock(): void {
    if (this.#closed || !this.#queue.isDue) {
      this.#next();
    } else if (this.#isTrying()) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    } else {
      const { least, most } = BUSY_DELAY_MS;
      const delayMs = Math.max(least, Math.min(this.#lockedMs / 8, most));
      this.#isBusy = true;
      this.#timer = setTimeout(this.#flush, delayMs * (0.5 + this.#random() / 2));
    }
  }

  /** Whether a caller has just come; a lock that is held for long is not worth it. */
  #isTrying(): boolean {
    const since = performance.now() - TRYING_MS;
    return (
      this.#lockedMs < TRYING_LOCKS_MS &&
      this.#queue.isAny((each) => each.patience === 'caller' && each.since > since)
    );
  }

  get #lockedMs(): number {
    return performance.now() - (this.#stuckSince ?? performance.now());
  }

  #next(): void {
    if (this.#closed) {
      this.close();
    } else if (this.#queue.isDue) {
      this.#schedule();
    } else if (this.#queue.isEmpty) {
      this.#tellIdle();
    }
  }

  #tellIdle(): void {
    this.#stuckSince = undefined;
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) {
      resolve();
    }
  }
}

/** Whether nothing smaller can be singled out. */
function isOne({ items }: Work): boolean {
  return items.length === 1 && items[0]?.kind.passing === undefined;
}
