import type { EngineParts } from './engine-parts.js';
import { progressEvent, statusEvent } from './event-bus.js';
import { hasEvents } from './stored-events.js';

const CHUNK = 500;
const LEAST_INTERVAL_MS = 20;
/** What could not be read is read again after so long. */
const AGAIN_MS = 1000;

/** Follows, for those who watch a job here, what other processes do to it. */
export class RemoteWatch {
  readonly #parts: EngineParts;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isStopped = false;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Something was written by somebody. */
  hint(): void {
    this.#lookIn(LEAST_INTERVAL_MS);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    if (!this.#isStopped && this.#timer === undefined && this.#parts.bus.watched().length > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        void this.#look();
      }, ms);
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking) {
      this.hint();
      return;
    }
    this.#isLooking = true;
    try {
      const ids = this.#parts.bus.watched();
      for (let at = 0; at < ids.length; at += CHUNK) {
        await this.#compare(ids.slice(at, at + CHUNK));
      }
    } catch (error) {
      this.#parts.logger.debug(
        `Watched jobs could not be read, and are read again: ${String(error)}`,
      );
      this.#lookIn(AGAIN_MS);
    } finally {
      this.#isLooking = false;
    }
  }

  async #compare(ids: readonly string[]): Promise<void> {
    const { store, bus } = this.#parts;
    const standings = await store.jobs.standings(ids);
    for (const id of ids.filter((each) => !standings.has(each))) {
      bus.removed(id);
    }
    for (const [id, standing] of standings) {
      const known = bus.standing(id);
      if (known?.sequence === standing.sequence && known.progress === standing.progress) {
        continue;
      }
      const found = await store.jobs.find(id);
      // Not before it was read: what could not be is news the next time as well.
      bus.noteStanding(id, standing);
      if (found !== undefined) {
        const { job } = found;
        const isNews = known?.sequence !== standing.sequence;
        // Whoever watches it reads for itself what came in between.
        const event = isNews ? statusEvent(job) : progressEvent(job);
        bus.publish(job.queue, event, hasEvents(job) ? 'summary' : 'whole');
      }
    }
  }
}
