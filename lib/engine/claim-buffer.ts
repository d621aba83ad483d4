import type { JobEntity } from '../entities/job.entity.js';
import type { EngineParts } from './engine-parts.js';
import { comesBack, FailedJobs } from './failed-jobs.js';
import { changeOfEnding } from './run-end.js';

/** Jobs that a queue has claimed and whose handlers it has not called; what it cannot use goes back. */
export class ClaimBuffer {
  readonly #parts: EngineParts;
  readonly #kept: FailedJobs;
  #jobs: JobEntity[] = [];
  /** Until when all of them are surely held, by the monotonic clock here. */
  #heldUntil = Infinity;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#kept = new FailedJobs((text) => parts.logger.warn(text), comesBack('given back'));
  }

  get size(): number {
    return this.#jobs.length;
  }

  runIds(): readonly string[] {
    return this.#jobs.map((job) => job.runId ?? '');
  }

  seqs(): readonly number[] {
    return this.#jobs.map((job) => job.seq);
  }

  /**
   * Whether leases may have ended while nobody here could renew them, because the event loop was blocked
   * or the database away: somebody else may be at work on these jobs.
   */
  get isOver(): boolean {
    return this.#jobs.length > 0 && performance.now() >= this.#heldUntil;
  }

  get heldUntil(): number {
    return this.#heldUntil;
  }

  /** Adds jobs whose leases last at least until then. */
  add(jobs: readonly JobEntity[], heldUntil: number): void {
    this.#heldUntil = this.#jobs.length === 0 ? heldUntil : Math.min(this.#heldUntil, heldUntil);
    this.#jobs = this.#jobs.length === 0 ? [...jobs] : [...this.#jobs, ...jobs];
  }

  /** The leases of all that were here before have been extended. */
  renewed(heldUntil: number): void {
    this.#heldUntil = heldUntil;
  }

  /** The next job to start. */
  take(): JobEntity | undefined {
    return this.#jobs.shift();
  }

  /** Takes out a job that is to be canceled; its handler is not called. Whether it was here. */
  drop(runId: string): boolean {
    const at = this.#jobs.findIndex((job) => job.runId === runId);
    const dropped = at < 0 ? [] : this.#jobs.splice(at, 1);
    void this.giveBack(dropped);
    return dropped.length > 0;
  }

  /** Drops a job that this worker holds no more. */
  forget(runId: string): void {
    this.#jobs = this.#jobs.filter((job) => job.runId !== runId);
  }

  async giveBackAll(): Promise<void> {
    const unstarted = this.#jobs;
    this.#jobs = [];
    await this.giveBack(unstarted);
  }

  /** Puts claimed jobs in line again, as if they had not been claimed. */
  async giveBack(jobs: readonly JobEntity[]): Promise<void> {
    await Promise.all(jobs.map((job) => this.#giveBack(job)));
  }

  async #giveBack(job: JobEntity): Promise<void> {
    const { store, handlers, random } = this.#parts;
    const type = handlers.get(job.type);
    try {
      const result = await store.jobs.settle(job.id, (stored, nowMs) => {
        if (stored.runId !== job.runId || stored.leaseUntilMs === null || type === undefined) {
          return undefined;
        }
        return changeOfEnding(stored, { kind: 'unstarted' }, type.rules, { nowMs, random });
      });
      if (result?.changed === true) {
        this.#parts.stored(result, type);
      }
    } catch (error) {
      this.#kept.add(job.id, error);
    }
  }
}
