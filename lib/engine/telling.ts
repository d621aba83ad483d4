import type { Subscriber } from 'rxjs';
import type { JobEntity } from '../entities/job.entity.js';
import type { JobEvent } from '../model/job.js';
import { isFinal, type JobStatus } from '../model/job-status.js';
import type { Store } from '../store/store.js';
import { statusEvent, type Extent } from './event-bus.js';
import { hasEvents, storedEvents } from './stored-events.js';

/** Events that wait behind a slow reader; of more than that the latest stands for those before it. */
const MOST_WAITING = 100;

interface Heard {
  readonly event: JobEvent;
  readonly extent: Extent;
}

/** From where a subscriber is told, and how fast. */
export interface Pace {
  readonly after: number | undefined;
  readonly whenReady: (() => Promise<unknown> | undefined) | undefined;
}

/**
 * Tells one subscriber, in order, and no faster than it takes; what is stored of a gap is read before what
 * comes behind it, a page at a time. It is over when the job is final and all of it was told: a final status
 * of before a retry is none.
 */
export class Telling {
  readonly #store: Store;
  readonly #subscriber: Subscriber<JobEvent>;
  readonly #pace: Pace;
  #last: number;
  #progress = -1;
  #message: string | undefined;
  #known = -1;
  /** As of the event known that is the latest. */
  #status: JobStatus | undefined;
  #seq: number | undefined;
  /** What was read of a gap, in front of what waits. */
  #page: JobEvent[] = [];
  #waiting: Heard[] = [];
  #isHeld = true;
  #isOver = false;

  constructor(store: Store, subscriber: Subscriber<JobEvent>, pace: Pace) {
    this.#store = store;
    this.#subscriber = subscriber;
    this.#pace = pace;
    this.#last = pace.after ?? -1;
  }

  /** The job as it stands when somebody begins to watch. */
  begin(job: JobEntity): void {
    this.#seq = job.seq;
    if (isFinal(job.status) && job.sequence <= this.#last) {
      this.#subscriber.complete();
      return;
    }
    // Without a point to go on from the present state is where it begins.
    const extent = this.#pace.after !== undefined && hasEvents(job) ? 'summary' : 'whole';
    this.#waiting.unshift({ event: statusEvent(job), extent });
    this.#isHeld = false;
    this.#go();
  }

  readonly hear = (event: JobEvent, extent: Extent): void => {
    this.#waiting.push(this.#inPlaceOf(event, extent));
    this.#go();
  };

  /** The job is gone: what was heard before is told first. */
  readonly end = (): void => {
    this.#isOver = true;
    this.#go();
  };

  /** What waits is bounded: progress gives way to what is newer, and beyond that the last one does. */
  #inPlaceOf(event: JobEvent, extent: Extent): Heard {
    const isFull = this.#waiting.length >= MOST_WAITING;
    const isProgress = event.type === 'progress';
    if ((isFull || isProgress) && this.#waiting.at(-1)?.event.type === 'progress') {
      this.#waiting.pop();
    }
    if (isProgress || this.#waiting.length < MOST_WAITING) {
      return { event, extent };
    }
    const gone = this.#waiting.pop();
    // What was stored of it is read again from there.
    return { event, extent: extent === 'whole' ? (gone?.extent ?? extent) : extent };
  }

  #go(): void {
    while (!this.#isHeld && !this.#subscriber.closed) {
      const next = this.#waiting[0];
      if (next === undefined && this.#page.length === 0) {
        if (this.#isOver || (this.#status !== undefined && isFinal(this.#status))) {
          this.#subscriber.complete();
        }
        return;
      }
      const ready = this.#ready();
      if (ready !== undefined) {
        void this.#hold(ready);
        return;
      }
      const stored = this.#page.shift();
      if (stored !== undefined) {
        this.#pass(stored);
      } else if (next !== undefined && this.#isToBeRead(next) && this.#seq !== undefined) {
        void this.#hold(this.#read(this.#seq, next));
        return;
      } else if (next !== undefined) {
        this.#waiting.shift();
        this.#pass(next.event);
      }
    }
  }

  #ready(): Promise<unknown> | undefined {
    try {
      return this.#pace.whenReady?.();
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** Tells nothing until then. */
  async #hold(until: Promise<unknown>): Promise<void> {
    this.#isHeld = true;
    try {
      await until;
    } catch (error) {
      this.#subscriber.error(error);
      return;
    }
    this.#isHeld = false;
    this.#go();
  }

  #isToBeRead({ event, extent }: Heard): boolean {
    const told = extent === 'summary' && event.type !== 'progress' ? this.#last : this.#last + 1;
    return extent !== 'whole' && event.sequence > told;
  }

  /** Reads some of what is stored from the last event told up to this one, which it may be itself. */
  async #read(seq: number, heard: Heard): Promise<void> {
    const { sequence } = heard.event;
    const { events, isMore } = await storedEvents(this.#store, { seq, upTo: sequence }, this.#last);
    this.#page = [...events];
    if (!isMore) {
      // Something newer may have taken its place meanwhile, and says for itself what is to be read.
      this.#waiting = this.#waiting.map((each) =>
        each === heard ? { event: heard.event, extent: 'whole' } : each,
      );
    }
  }

  #pass(event: JobEvent): void {
    const { sequence, type } = event;
    if (sequence < this.#last && type === 'progress') {
      return;
    }
    if (sequence >= this.#known) {
      this.#known = sequence;
      this.#status = event.status;
    }
    const isKnown =
      type === 'progress'
        ? event.progress === this.#progress && event.message === this.#message
        : sequence <= this.#last;
    if (isKnown) {
      return;
    }
    this.#last = Math.max(this.#last, sequence);
    this.#progress = event.progress;
    this.#message = type === 'progress' ? event.message : this.#message;
    this.#subscriber.next(event);
  }
}
