/** An estimate older than this is asked for anew before something is decided by it. */
const FRESH_MS = 15_000;

/**
 * The server's clock, carried on by this machine's monotonic one: setting the machine's own clock
 * changes nothing. Each transaction brings the server's time along and corrects it.
 */
export class ServerClock {
  /** Milliseconds that are added to the database's time: for tests, 0 otherwise. */
  shiftMs = 0;

  #base = Date.now() - performance.now();
  #observedAt = -Infinity;

  /** Takes note of a time that the server gave, and returns it shifted. */
  observe(serverMs: number): number {
    const here = performance.now();
    this.#base = serverMs - here;
    this.#observedAt = here;
    return serverMs + this.shiftMs;
  }

  get isFresh(): boolean {
    return performance.now() - this.#observedAt < FRESH_MS;
  }

  estimateMs(): number {
    return Math.round(this.#base + performance.now()) + this.shiftMs;
  }
}
