import { Subject, type Observable } from 'rxjs';
import type { JobEntity } from '../entities/job.entity.js';
import { saidOf, type JobEvent } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { ChangeNote, Standing } from '../store/store.js';
import { hasEvents } from './stored-events.js';

/** Jobs whose last event is remembered; one overtakes another by milliseconds. */
const MOST_REMEMBERED = 10_000;

/** What happened to a job, with where it belongs. */
export interface EngineEvent {
  readonly event: JobEvent;
  readonly queue: string;
}

/**
 * What an event says of what happened before it: `whole`, nothing is missing; `last`, events that are
 * stored may have happened elsewhere before it; `summary`, it is itself made of the job as it stands,
 * and may be stored with more to it.
 */
export type Extent = 'whole' | 'last' | 'summary';

/** Hears of one job. */
export type EventListener = (event: JobEvent, extent: Extent) => void;

/** What changes when there is something to tell of a job. */
export type Told = Pick<Standing, 'sequence' | 'progress'>;

/**
 * What happened in this process, told after the commit. Watchers of one job are found by its id,
 * so that ten thousand waiting callers cost an event nothing.
 */
export class EventBus {
  readonly #all = new Subject<EngineEvent>();
  readonly #watchers = new Map<string, Set<EventListener>>();
  readonly #removals = new Map<string, Set<() => void>>();
  /** How the jobs that are watched stood when they were last read. */
  readonly #standings = new Map<string, Told>();
  /** The sequences last told of jobs, the longest untouched first. */
  readonly #latest = new Map<string, number>();

  get all$(): Observable<EngineEvent> {
    return this.#all.asObservable();
  }

  /** Whether anybody would hear of that job: the hot path makes no event for nobody. */
  isHeard(jobId: string): boolean {
    return this.#all.observed || (this.#watchers.size > 0 && this.#watchers.has(jobId));
  }

  watch(jobId: string, listener: EventListener): () => void {
    const listeners = this.#watchers.get(jobId) ?? new Set();
    listeners.add(listener);
    this.#watchers.set(jobId, listeners);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#watchers.get(jobId) === listeners) {
        this.#watchers.delete(jobId);
        this.#standings.delete(jobId);
      }
    };
  }

  standing(jobId: string): Told | undefined {
    return this.#standings.get(jobId);
  }

  /** A job that is watched was read: what comes later is news. */
  noteStanding(jobId: string, { sequence, progress }: Told): void {
    if (this.#watchers.has(jobId)) {
      this.#standings.set(jobId, { sequence, progress });
    }
  }

  /** Tells the watchers of a job that its row is gone. */
  removed(jobId: string): void {
    const listeners = this.#removals.get(jobId);
    this.#removals.delete(jobId);
    for (const listener of [...(listeners ?? [])]) {
      listener();
    }
  }

  onRemoved(jobId: string, listener: () => void): () => void {
    const listeners = this.#removals.get(jobId) ?? new Set();
    listeners.add(listener);
    this.#removals.set(jobId, listeners);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#removals.get(jobId) === listeners) {
        this.#removals.delete(jobId);
      }
    };
  }

  /** Ids of the jobs that somebody watches. */
  watched(): readonly string[] {
    return [...this.#watchers.keys()];
  }

  status(job: JobEntity, from: JobStatus | undefined, note?: ChangeNote): void {
    if (this.isHeard(job.id)) {
      this.publish(job.queue, { ...statusEvent(job, from), ...saidIn(note) }, extentOf(job));
    }
  }

  /** Something was said about a job, or done to it, that leaves its status as it is. */
  said(job: JobEntity, note: ChangeNote, sequence = job.sequence): void {
    if (this.isHeard(job.id)) {
      const { message: _, ...present } = statusEvent(job);
      const type = note.isCheckIn === true ? 'check_in' : 'status';
      const event: JobEvent = { ...present, sequence, type, ...saidIn(note) };
      this.publish(job.queue, event, extentOf(job));
    }
  }

  publish(queue: string, event: JobEvent, extent: Extent = 'whole'): void {
    for (const listener of [...(this.#watchers.get(event.jobId) ?? [])]) {
      listener(event, extent);
    }
    if (this.#all.observed && this.#isNews(event)) {
      this.#all.next({ event, queue });
    }
  }

  /**
   * A server answers connections in any order: that a job was enqueued may be heard after that it
   * runs. What has been overtaken is left out. Watchers of one job see to it themselves.
   */
  #isNews({ jobId, sequence, type }: JobEvent): boolean {
    const latest = this.#latest.get(jobId) ?? -1;
    if (sequence < latest || (sequence === latest && type === 'status')) {
      return false;
    }
    this.#latest.delete(jobId);
    this.#latest.set(jobId, sequence);
    if (this.#latest.size > MOST_REMEMBERED) {
      for (const oldest of this.#latest.keys()) {
        this.#latest.delete(oldest);
        break;
      }
    }
    return true;
  }

  /** Ends every stream: nothing is heard any more. */
  close(): void {
    this.#all.complete();
    for (const id of [...this.#removals.keys()]) {
      this.removed(id);
    }
    this.#watchers.clear();
    this.#standings.clear();
    this.#latest.clear();
  }
}

/** The event of a job's present status. */
export function statusEvent(job: JobEntity, from?: JobStatus): JobEvent {
  const message = saidOf(job);
  return {
    sequence: job.sequence,
    type: 'status',
    jobId: job.id,
    runId: job.runId,
    at: new Date(job.updatedAtMs),
    status: job.status,
    ...(from === undefined ? {} : { from }),
    progress: job.progress,
    ...(message === null ? {} : { message }),
  };
}

function extentOf(job: JobEntity): Extent {
  return hasEvents(job) ? 'last' : 'whole';
}

/** Who did something and what was said. */
function saidIn(note: ChangeNote | undefined): Pick<JobEvent, 'message' | 'actor'> {
  return {
    ...(note?.message === undefined ? {} : { message: note.message }),
    ...(note?.actor === undefined ? {} : { actor: note.actor }),
  };
}

/** The event of a job's present progress; it takes no sequence of its own. */
export function progressEvent(job: JobEntity): JobEvent {
  return {
    sequence: job.sequence,
    type: 'progress',
    jobId: job.id,
    runId: job.runId,
    at: new Date(job.updatedAtMs),
    status: job.status,
    progress: job.progress,
    ...(job.progressDetails === null ? {} : { message: job.progressDetails }),
  };
}
