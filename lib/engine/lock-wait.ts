import { JobsError, notFound } from '../model/errors.js';
import { isFinal } from '../model/job-status.js';
import type { Job } from '../model/job.js';
import type { ChangeResult } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';
import { jobOf } from './job-view.js';
import type { ServedRun } from './run.js';

const POLL_MS = 500;
/** Between tries to come back where a limit is met. */
const COME_BACK_MS = 50;

/**
 * A handler that waits for another job: `locked`, its slot given to others, until that job is final
 * or somebody unlocks it; then back to `running` when a slot is free.
 */
export class LockWait {
  readonly #run: ServedRun;
  readonly #otherId: string;
  #isReleased = false;
  #look: () => void = () => undefined;

  constructor(run: ServedRun, otherId: string) {
    this.#run = run;
    this.#otherId = otherId;
  }

  /** Ends the wait, as an unlock does. */
  release(): void {
    this.#isReleased = true;
    this.#look();
  }

  async run(): Promise<Job> {
    const { parts, job } = this.#run;
    await this.#lock();
    this.#run.releaseSlot();
    await this.#released();
    const result = await this.#comeBack();
    if (result?.changed !== true) {
      this.#run.signal.throwIfAborted();
      throw leaseLost(job.id);
    }
    this.#run.noted('running', result.after.sequence);
    job.lockedBy = null;
    parts.changed(job, 'locked');
    const other = await parts.store.jobs.find(this.#otherId);
    if (other === undefined) {
      throw new JobsError(
        'not_found',
        `Job ${this.#otherId} was deleted while job ${job.id} waited for it. This run goes on: catch the error, or let it fail.`,
        { members: { resource: 'job' } },
      );
    }
    return jobOf(other.job, { isPaused: other.isPaused, nowMs: parts.store.estimateNowMs() });
  }

  /** `locked` → `running`, in line for a slot of this process and for what limits leave room for. */
  async #comeBack(): Promise<ChangeResult | undefined> {
    const { parts, job, runId, signal } = this.#run;
    const queue = parts.handlers.get(job.type)?.queue ?? job.queue;
    const limits = parts.limits.ofQueue(queue);
    for (;;) {
      await this.#run.retakeSlot();
      const result = limits.has(job.type)
        ? await parts.store.jobs.comeBack(job.id, runId, { queue, limits })
        : await parts.store.jobs.settle(job.id, (stored) =>
            stored.runId === runId && stored.status === 'locked'
              ? { set: { status: 'running', lockedBy: null } }
              : undefined,
          );
      if (result !== 'full') {
        return result;
      }
      // Others of this process go on meanwhile: perhaps it is one of them that the limit waits for.
      this.#run.releaseSlot();
      await moment(parts, signal);
    }
  }

  async #lock(): Promise<void> {
    const { parts, job, runId, signal } = this.#run;
    if (this.#otherId === job.id) {
      throw circle(job.id, this.#otherId);
    }
    const result = await parts.store.jobs.lock(job.id, runId, this.#otherId);
    switch (result) {
      case 'unknown':
        throw notFound('job', this.#otherId);
      case 'circle':
        throw circle(job.id, this.#otherId);
      case 'lost':
        signal.throwIfAborted();
        throw leaseLost(job.id);
      default:
        this.#run.noted('locked', result.after.sequence);
        job.lockedBy = this.#otherId;
        parts.changed(job, 'running');
    }
  }

  /** Resolves once the other job is final, gone, or the lock is ended; rejects when aborted. */
  async #released(): Promise<void> {
    const { parts, signal } = this.#run;
    const { store, bus } = parts;
    await new Promise<void>((resolve, reject) => {
      let isDone = false;
      const finish = (settle: () => void): void => {
        isDone = true;
        clearInterval(timer);
        unwatch();
        unhint();
        signal.removeEventListener('abort', aborted);
        settle();
      };
      const aborted = (): void => finish(() => reject(signal.reason));
      const look = (): void => {
        if (isDone) {
          return;
        }
        if (this.#isReleased) {
          finish(resolve);
          return;
        }
        store.jobs.standings([this.#otherId]).then(
          (standings) => {
            const status = standings.get(this.#otherId)?.status;
            if (!isDone && (status === undefined || isFinal(status))) {
              finish(resolve);
            }
          },
          (error: unknown) =>
            // The poll asks again.
            parts.logger.debug(`Job ${this.#otherId} could not be looked at: ${String(error)}`),
        );
      };
      const timer = setInterval(look, POLL_MS);
      const unwatch = bus.watch(this.#otherId, look);
      const unhint = store.onRemoteChange(look);
      this.#look = look;
      signal.addEventListener('abort', aborted, { once: true });
      if (signal.aborted) {
        aborted();
      } else {
        look();
      }
    });
  }
}

/** Until somebody has written, or a while has passed. */
function moment({ store }: EngineParts, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      unhint();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, COME_BACK_MS);
    const unhint = store.onRemoteChange(done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** A second lock of a run beside the first. */
export function waitsAlready(id: string): JobsError {
  return new JobsError(
    'invalid_request',
    `Job ${id} waits for another job already, and can wait for one at a time: await the first ctx.lockOn before the second.`,
  );
}

function circle(id: string, otherId: string): JobsError {
  return new JobsError(
    'lock_circle',
    `Job ${id} cannot lock on ${otherId}: that job waits, directly or through others, for this one. Nothing was changed.`,
  );
}

function leaseLost(id: string): JobsError {
  return new JobsError(
    'lease_lost',
    `This run holds job ${id} no more, so nothing was written. Stop the handler.`,
  );
}
