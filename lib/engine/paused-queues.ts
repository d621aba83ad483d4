import type { Store } from '../store/store.js';
import type { EngineLogger } from './engine-options.js';

/** Between looks while others write all the time. */
const LEAST_INTERVAL_MS = 50;

/** Who is told when a queue is paused, or is not any more, and what else the look sees. */
export interface PauseListeners {
  paused(queue: string): void;
  resumed(queue: string): void;
  /** Somebody has declared limits. */
  limited(): void;
  /** Deliveries are on their way. */
  sending(): void;
}

/** The queues that are paused for the cluster, and what is limited, as this process last saw it. */
export class PausedQueues {
  readonly #store: Store;
  readonly #logger: EngineLogger;
  readonly #listeners: PauseListeners;
  #names: ReadonlySet<string> = new Set();
  #limited: ReadonlySet<string> = new Set();
  #looks = 0;
  /** The look that all this is from. */
  #latest = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(store: Store, logger: EngineLogger, listeners: PauseListeners) {
    this.#store = store;
    this.#logger = logger;
    this.#listeners = listeners;
  }

  has(queue: string): boolean {
    return this.#names.has(queue);
  }

  /** The scopes of limits that anybody has declared. */
  get limited(): ReadonlySet<string> {
    return this.#limited;
  }

  /** Looks now, and tells what is different from before. */
  async refresh(): Promise<void> {
    const look = (this.#looks += 1);
    const { paused: now, limited, isSending } = await this.#store.catalog.marked();
    if (look < this.#latest) {
      // It began before one that is over by now, on another connection: what it saw is older.
      return;
    }
    this.#latest = look;
    const before = this.#names;
    this.#names = now;
    const hadScopes = this.#limited.size;
    this.#limited = limited;
    if (limited.size !== hadScopes) {
      this.#listeners.limited();
    }
    if (isSending) {
      this.#listeners.sending();
    }
    for (const name of before) {
      if (!now.has(name)) {
        this.#listeners.resumed(name);
      }
    }
    for (const name of now) {
      if (!before.has(name)) {
        this.#listeners.paused(name);
      }
    }
  }

  /** Another connection has written: perhaps this. */
  hint(): void {
    if (this.#timer === undefined && !this.#isStopped) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.refresh().catch((error: unknown) =>
          this.#logger.debug(
            `The paused queues could not be read, and are read again: ${String(error)}`,
          ),
        );
      }, LEAST_INTERVAL_MS);
      this.#timer.unref();
    }
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }
}
