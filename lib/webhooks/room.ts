import { Counts } from './counts.js';

interface Waiting {
  readonly key: string;
  readonly begin: () => void;
}

/** How many may be at work at once. */
export interface RoomLimits {
  readonly inAll: number;
  readonly ofOne: number;
  /** Who has waited for so long is turned away. */
  readonly patienceMs: number;
}

/** Room for some at once, in all and for each that shares it. Who waits has its turn, and does not wait for ever. */
export class Room {
  readonly #limits: RoomLimits;
  readonly #atWork = new Counts();
  #total = 0;
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>();

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  /** Does it as soon as there is room. @throws Error of `late` where there was none in time */
  async do<T>(key: string, work: () => Promise<T>, late: () => Error): Promise<T> {
    if (this.#hasRoom(key)) {
      this.#enter(key);
    } else {
      await this.#turn(key, late);
    }
    try {
      return await work();
    } finally {
      this.#leave(key);
    }
  }

  #hasRoom(key: string): boolean {
    const { inAll, ofOne } = this.#limits;
    return this.#total < inAll && this.#atWork.of(key) < ofOne;
  }

  #enter(key: string): void {
    this.#total += 1;
    this.#atWork.add(key, 1);
  }

  #turn(key: string, late: () => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        key,
        begin: () => {
          clearTimeout(timer);
          this.#waiting.delete(waiting);
          this.#enter(key);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        reject(late());
      }, this.#limits.patienceMs);
      this.#waiting.add(waiting);
    });
  }

  #leave(key: string): void {
    this.#total -= 1;
    this.#atWork.add(key, -1);
    for (const waiting of this.#waiting) {
      if (this.#hasRoom(waiting.key)) {
        waiting.begin();
        return;
      }
    }
  }
}
