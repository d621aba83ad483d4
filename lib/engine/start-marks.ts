import type { Execution } from './execution.js';
import { markStarted } from './run-start.js';

/** After that long a handler that came from the buffer is marked as started. */
const MARK_AFTER_MS = 50;

/** The start of a buffered job is written only when its handler does not end soon. */
export class StartMarks {
  #unmarked = new Set<Execution>();
  #timer: NodeJS.Timeout | undefined;

  add(execution: Execution): void {
    this.#unmarked.add(execution);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const unmarked = this.#unmarked;
      this.#unmarked = new Set();
      for (const each of unmarked) {
        if (!each.isSettled) {
          markStarted(each);
        }
      }
    }, MARK_AFTER_MS);
  }

  /** It has ended, or its start is known otherwise. */
  delete(execution: Execution): void {
    this.#unmarked.delete(execution);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
