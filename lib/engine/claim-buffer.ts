import type { JobEntity } from '../entities/job.entity.js';
import type { EngineParts } from './engine-parts.js';
import { comesBack, FailedJobs } from './failed-jobs.js';
import { changeOfEnding } from './run-end.js';

/** A job that waits for its handler. */
export interface HeldJob {
  readonly job: JobEntity;
  /** Until when it is surely held, by the monotonic clock here. */
  until: number;
}

/** Jobs that a queue has claimed and whose handlers it has not called; what it cannot use goes back. */
export class ClaimBuffer {
  readonly #parts: EngineParts;
  readonly #kept: FailedJobs;
  #held: HeldJob[] = [];

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#kept = new FailedJobs((text) => parts.logger.warn(text), comesBack('given back'));
  }

  get size(): number {
    return this.#held.length;
  }

  runIds(): readonly string[] {
    return this.#held.map(({ job }) => job.runId ?? '');
  }

  seqs(): readonly number[] {
    return this.#held.map(({ job }) => job.seq);
  }

  /**
   * Whether the lease of the next job may have ended while nobody here could renew it, because the
   * event loop was blocked or the database away: somebody else may be at work on it.
   */
  get isOver(): boolean {
    const [next] = this.#held;
    return next !== undefined && performance.now() >= next.until;
  }

  /** Adds jobs whose leases last at least until then. */
  add(jobs: readonly JobEntity[], heldUntil: number): void {
    const added = jobs.map((job): HeldJob => ({ job, until: heldUntil }));
    this.#held = this.#held.length === 0 ? added : [...this.#held, ...added];
  }

  /** The leases of those runs have been extended; what was claimed meanwhile is held as long as before. */
  renewed(heldUntil: number, runIds: ReadonlySet<string>): void {
    for (const held of this.#held) {
      if (runIds.has(held.job.runId ?? '')) {
        held.until = heldUntil;
      }
    }
  }

  /** The next job to start. */
  take(): HeldJob | undefined {
    return this.#held.shift();
  }

  /** Takes out a job that is to be canceled; its handler is not called. Whether it was here. */
  drop(runId: string): boolean {
    const at = this.#held.findIndex(({ job }) => job.runId === runId);
    const dropped = at < 0 ? [] : this.#held.splice(at, 1);
    void this.giveBack(dropped.map(({ job }) => job));
    return dropped.length > 0;
  }

  /** Drops a job that this worker holds no more. */
  forget(runId: string): void {
    this.#held = this.#held.filter(({ job }) => job.runId !== runId);
  }

  async giveBackAll(): Promise<void> {
    const unstarted = this.#held;
    this.#held = [];
    await this.giveBack(unstarted.map(({ job }) => job));
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
