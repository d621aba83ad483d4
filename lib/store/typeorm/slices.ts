import type { Session } from '../dialects/session.js';
import type { Row, Script, Statement } from '../dialects/sql.js';

/** Reading goes on for so long before others get a turn. */
const SLICE_MS = 5;

/** How long the last statement of a script took, for a script that fits the next one to it. */
export interface Pace {
  lastMs: number;
}

/** A script whose statements are all short, so that it may be read in slices. */
export type PacedScript<T> = (nowMs: number, pace: Pace) => Script<T>;

/** Hands out turns of the event loop: one slice each, however many readers there are. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** Resolves in a turn of the event loop in which no other slice has run. */
  take(): Promise<void> {
    if (this.#isTaken) {
      return new Promise((resolve) => this.#waiting.push(resolve));
    }
    this.#isTaken = true;
    setImmediate(this.#next);
    return Promise.resolve();
  }

  readonly #next = (): void => {
    const resolve = this.#waiting.shift();
    if (resolve === undefined) {
      this.#isTaken = false;
    } else {
      setImmediate(this.#next);
      resolve();
    }
  };
}

/**
 * Runs a script that only reads, a slice at a time: a synchronous driver holds the event loop for
 * the length of a statement, and with it handlers, leases and requests. Between two slices others
 * write, so such a script sees each row at a moment of its own.
 */
export async function inSlices<T>(
  read: Session['read'],
  turns: Turns,
  start: PacedScript<T>,
): Promise<T> {
  const sliced = new SlicedScript(start);
  for (;;) {
    await turns.take();
    const step = await read((nowMs) => sliced.slice(nowMs), 'search');
    if (step.done === true) {
      return step.value;
    }
  }
}

class SlicedScript<T> {
  readonly #start: PacedScript<T>;
  readonly #pace: Pace = { lastMs: 0 };
  #script: Script<T> | undefined;
  #step: IteratorResult<Statement, T> | undefined;

  constructor(start: PacedScript<T>) {
    this.#start = start;
  }

  /** After a statement that failed, the next slice begins with the same one. */
  *slice(nowMs: number): Script<IteratorResult<Statement, T>> {
    const script = (this.#script ??= this.#start(nowMs, this.#pace));
    let step = (this.#step ??= script.next());
    const until = performance.now() + SLICE_MS;
    while (step.done !== true && performance.now() < until) {
      const since = performance.now();
      const rows: readonly Row[] = yield step.value;
      this.#pace.lastMs = performance.now() - since;
      step = this.#step = script.next(rows);
    }
    return step;
  }
}
