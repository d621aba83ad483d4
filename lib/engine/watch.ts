import { Observable, type Subscriber } from 'rxjs';
import type { JobEntity } from '../entities/job.entity.js';
import { notFound } from '../model/errors.js';
import type { JobEvent } from '../model/job.js';
import { isFinal } from '../model/job-status.js';
import type { EngineParts } from './engine-parts.js';
import { statusEvent, type Extent } from './event-bus.js';
import { hasEvents, storedEvents } from './stored-events.js';

/**
 * What happens to one job: its present state, then each change, without repeats, until it is final.
 * `after` is the sequence the client has already: it is told what came since. Changes of the status may
 * be merged into a later one; what operators did and handlers said never is.
 */
export function watchJob(
  parts: EngineParts,
  id: string,
  { tenantId, after }: { readonly tenantId?: string; readonly after?: number },
): Observable<JobEvent> {
  return new Observable<JobEvent>((subscriber) => {
    const telling = new Telling(parts, subscriber, after);
    // Heard from before the look, so that nothing falls between the two.
    const unwatch = parts.bus.watch(id, telling.hear);
    parts.store.jobs.find(id, tenantId).then(
      (found) => {
        if (found === undefined) {
          subscriber.error(notFound('job', id));
          return;
        }
        // Others that watch it have not heard yet what happened since it was read for them.
        if (parts.bus.standing(id) === undefined) {
          parts.bus.noteStanding(id, found.job);
        }
        telling.begin(found.job);
      },
      (error: unknown) => subscriber.error(error),
    );
    const unlisten = parts.store.listenClosely();
    const unheard = parts.bus.onRemoved(id, telling.end);
    return () => {
      unwatch();
      unheard();
      unlisten();
    };
  });
}

interface Heard {
  readonly event: JobEvent;
  readonly extent: Extent;
}

/** Tells one subscriber, in order; what is stored of a gap is read before what comes behind it. */
class Telling {
  readonly #parts: EngineParts;
  readonly #subscriber: Subscriber<JobEvent>;
  readonly #hasPoint: boolean;
  #last: number;
  #progress = -1;
  #message: string | undefined;
  #seq: number | undefined;
  #waiting: Heard[] = [];
  #isReading = true;
  #isOver = false;

  constructor(parts: EngineParts, subscriber: Subscriber<JobEvent>, after: number | undefined) {
    this.#parts = parts;
    this.#subscriber = subscriber;
    this.#hasPoint = after !== undefined;
    this.#last = after ?? -1;
  }

  /** The job as it stands when somebody begins to watch. */
  begin(job: JobEntity): void {
    this.#seq = job.seq;
    if (isFinal(job.status) && job.sequence <= this.#last) {
      this.#subscriber.complete();
      return;
    }
    // Without a point to go on from the present state is where it begins.
    const extent = this.#hasPoint && hasEvents(job) ? 'summary' : 'whole';
    this.#waiting.unshift({ event: statusEvent(job), extent });
    this.#isReading = false;
    this.#go();
  }

  readonly hear = (event: JobEvent, extent: Extent): void => {
    this.#waiting.push({ event, extent });
    this.#go();
  };

  /** The job is gone: what was heard before is told first. */
  readonly end = (): void => {
    this.#isOver = true;
    this.#go();
  };

  #go(): void {
    while (!this.#isReading) {
      const next = this.#waiting[0];
      if (next === undefined) {
        if (this.#isOver) {
          this.#subscriber.complete();
        }
        return;
      }
      if (this.#isToBeRead(next) && this.#seq !== undefined) {
        void this.#read(this.#seq, next);
        return;
      }
      this.#waiting.shift();
      this.#pass(next.event);
    }
  }

  #isToBeRead({ event, extent }: Heard): boolean {
    const told = extent === 'summary' && event.type !== 'progress' ? this.#last : this.#last + 1;
    return extent !== 'whole' && event.sequence > told;
  }

  /** Reads what is stored from the last event told up to this one, which it may be itself. */
  async #read(seq: number, heard: Heard): Promise<void> {
    this.#isReading = true;
    try {
      const found = await storedEvents(
        this.#parts.store,
        { seq, upTo: heard.event.sequence },
        this.#last,
      );
      const known = [...found, heard.event].map((event) => ({ event, extent: 'whole' as const }));
      this.#waiting.splice(0, 1, ...known);
    } catch (error) {
      this.#subscriber.error(error);
      return;
    }
    this.#isReading = false;
    this.#go();
  }

  #pass(event: JobEvent): void {
    if (event.type === 'progress') {
      if (
        event.sequence < this.#last ||
        (event.progress === this.#progress && event.message === this.#message)
      ) {
        return;
      }
    } else if (event.sequence <= this.#last) {
      return;
    }
    this.#last = Math.max(this.#last, event.sequence);
    this.#progress = event.progress;
    this.#message = event.type === 'progress' ? event.message : this.#message;
    this.#subscriber.next(event);
    if (isFinal(event.status)) {
      this.#subscriber.complete();
    }
  }
}
