/** An estimate older than this is asked for anew before something is decided by it. */
const FRESH_MS = 15_000;

/** A step back that is shorter is none of the server's clock: estimates differ by less. */
const LEAST_STEP_BACK_MS = 1000;

/**
 * The server's clock, carried on by this machine's monotonic one: setting the machine's own clock
 * changes nothing. Each transaction brings the server's time along and corrects it.
 */
export class ServerClock {
  /** Milliseconds that are added to the database's time: for tests, 0 otherwise. */
  shiftMs = 0;

  #base = Date.now() - performance.now();
  #observedAt = -Infinity;
  #latest = -Infinity;

  /**
   * Takes note of a time that the server gave, and returns it shifted. `askedAt`: when it was asked,
   * by `performance.now()`. An answer that was long under way says little, and leaves an estimate that
   * agrees with it as it is.
   */
  observe(serverMs: number, askedAt: number): number {
    const here = performance.now();
    // An estimate that cannot be right, as the first one where this machine's clock is wrong, is put
    // behind the server's clock: ahead of it, a lease would be over too soon.
    this.#base =
      this.#base > serverMs + 1 - askedAt ? serverMs - here : Math.max(this.#base, serverMs - here);
    this.#observedAt = here;
    return this.#onward(serverMs + this.shiftMs);
  }

  get isFresh(): boolean {
    return performance.now() - this.#observedAt < FRESH_MS;
  }

  estimateMs(): number {
    return this.#onward(Math.floor(this.#base + performance.now()) + this.shiftMs);
  }

  /** Jobs that are enqueued one after the other start in that order, which goes by their times. */
  #onward(ms: number): number {
    if (ms > this.#latest || ms < this.#latest - LEAST_STEP_BACK_MS) {
      this.#latest = ms;
    }
    return this.#latest;
  }
}
