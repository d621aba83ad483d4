import type { Observable } from 'rxjs';
import type { QueueRunner } from '../engine/queue-runner.js';
import type { JobEvent, JobProgressEvent } from '../model/job.js';

/** One queue's worker in this process; inject it with `@InjectQueueWorker(name)`. */
export class QueueWorker {
  readonly #runner: QueueRunner;

  constructor(runner: QueueRunner) {
    this.#runner = runner;
  }

  get name(): string {
    return this.#runner.name;
  }

  /** Handlers at once in this process. */
  get capacity(): number {
    return this.#runner.capacity;
  }

  /** How many handlers are at work: now, and at each change. */
  get running$(): Observable<number> {
    return this.#runner.running$;
  }

  /** What handlers of this process report, as they report it. */
  get progress$(): Observable<JobProgressEvent> {
    return this.#runner.progress$;
  }

  /** What happens to the queue's jobs in this process, after it is stored. */
  get events$(): Observable<JobEvent> {
    return this.#runner.events$;
  }

  /** Takes no new jobs in this process; running ones go on. */
  pause(): void {
    this.#runner.pause();
  }

  resume(): void {
    this.#runner.resume();
  }
}
