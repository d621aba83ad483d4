import { FOLLOWED_AFTER_MS, LATEST_ID_MS } from '../../../model/id.js';
import { PER_MS, seqOfMs } from './row-numbers.js';

/**
 * Row numbers for jobs, as on SQLite the time in their ids, so that one index serves both. Several
 * processes take numbers at once: each begins a millisecond at a number of its own choice, and the
 * few that two have chosen alike are found by the primary key and chosen again.
 */
export class NumberSource {
  readonly #random: () => number;
  #last = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The first of so many numbers in a row, behind all that this process has taken. */
  take(count: number, nowMs: number): number {
    const present = Math.max(0, seqOfMs(Math.min(nowMs, LATEST_ID_MS)));
    const behind = this.#last + 1;
    // A clock that was set back by more than a minute is followed.
    const isAhead = behind > present && behind < present + FOLLOWED_AFTER_MS * PER_MS;
    // The upper half of a millisecond stays free for those that follow within it.
    const first = isAhead ? behind : present + Math.floor((this.#random() * PER_MS) / 2);
    this.#last = first + count - 1;
    return first;
  }
}
