/** The handlers that a queue may have at work in this process. */
export class Slots {
  capacity: number;
  readonly #onFree: () => void;
  readonly #waiting: (() => void)[] = [];
  #used = 0;

  constructor(capacity: number, onFree: () => void) {
    this.capacity = capacity;
    this.#onFree = onFree;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return this.capacity - this.#used;
  }

  /** Takes a slot if there is one; handlers that come back from a lock are served first. */
  tryTake(): boolean {
    if (this.#used >= this.capacity || this.#waiting.length > 0) {
      return false;
    }
    this.#used += 1;
    return true;
  }

  /** Waits for a slot, in line; rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) {
      return Promise.reject(signal.reason as Error);
    }
    if (this.tryTake()) {
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const granted = (): void => {
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      const aborted = (): void => {
        const at = this.#waiting.indexOf(granted);
        if (at >= 0) {
          this.#waiting.splice(at, 1);
        }
        reject(signal.reason);
      };
      this.#waiting.push(granted);
      signal.addEventListener('abort', aborted, { once: true });
    });
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#used -= 1;
    } else {
      next();
    }
    this.#onFree();
  }
}
