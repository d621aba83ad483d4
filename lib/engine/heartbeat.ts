import { hostname } from 'node:os';
import type { HeldRun } from '../store/store.js';
import { resolveBackoff } from '../model/retry-policy.js';
import type { EngineParts } from './engine-parts.js';
import type { Duty } from './loop.js';
import { MissedLeases, type Renewed } from './missed-leases.js';
import type { QueueRunner } from './queue-runner.js';
import { changeOfEnding } from './run-end.js';

const BEAT_EVERY_MS = 10_000;
const TIMEOUTS_EVERY_MS = 400;
/** Longer than two looks are apart and a write takes from its time to its commit. */
const TIMEOUTS_WITHIN_MS = 3000;
const ANY_RULES = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };

/** Proof of life: renews the leases of everything this worker holds, and hears what is wanted of it. */
export class Heartbeat {
  readonly #parts: EngineParts;
  readonly #runners: ReadonlyMap<string, QueueRunner>;
  readonly #version: string;
  readonly #missed: MissedLeases;
  #strangers = new Set<string>();
  #timeoutsAt = -Infinity;

  constructor(parts: EngineParts, runners: ReadonlyMap<string, QueueRunner>, version: string) {
    this.#parts = parts;
    this.#missed = new MissedLeases(parts);
    this.#runners = runners;
    this.#version = version;
  }

  get #queues(): readonly QueueRunner[] {
    return [...this.#runners.values()];
  }

  /** Renews leases three times within their duration. */
  renewal(): Duty {
    const { durationMs } = this.#parts.options.lease;
    let lastMs = performance.now();
    let dueAt = lastMs;
    return {
      name: 'lease renewal',
      everyMs: durationMs / 3,
      runOnce: async () => {
        const nowMs = performance.now();
        if (this.#missed.isAny && nowMs < dueAt) {
          this.#renewed(await this.#missed.retry());
          // Once all are reached, the next renewal of all is due when it was.
          return this.#missed.next(dueAt) ?? Math.max(0, dueAt - performance.now());
        }
        if (nowMs - lastMs > (durationMs * 2) / 3) {
          this.#parts.logger.warn(
            `Leases were renewed ${Math.round(nowMs - lastMs)} ms after the time before, of ${durationMs} ms that they last: the database was locked for that long, or something blocks the event loop. Keep transactions short, move heavy work to a worker thread, or raise lease.duration.`,
          );
        }
        lastMs = nowMs;
        await this.#renew();
        dueAt = nowMs + durationMs / 3;
        return this.#missed.next(dueAt);
      },
    };
  }

  /** Tells the cluster that this process lives. */
  registration(): Duty {
    const { store, workerId } = this.#parts;
    return {
      name: 'worker registration',
      everyMs: BEAT_EVERY_MS,
      runOnce: async () => {
        await store.catalog.beat({
          id: workerId,
          host: hostname(),
          pid: process.pid,
          version: this.#version,
          queues: JSON.stringify([...this.#runners.keys()]),
        });
        return undefined;
      },
    };
  }

  /**
   * Looks whether somebody wants a run of this worker stopped, unlocked, or longer or shorter; in how
   * many milliseconds to look again, if soon.
   */
  async attend(): Promise<number | undefined> {
    if (!this.#queues.some((queue) => queue.isHolding)) {
      return undefined;
    }
    // Timeouts are compared a few times a second only, however often others write: the claims of
    // this worker count as written as well.
    const nowMs = performance.now();
    const isDue = nowMs - this.#timeoutsAt >= TIMEOUTS_EVERY_MS;
    this.#timeoutsAt = isDue ? nowMs : this.#timeoutsAt;
    const withinMs = isDue ? TIMEOUTS_WITHIN_MS : 0;
    const held = this.#queues.flatMap((queue) => queue.heldSeqs());
    this.#pass(await this.#parts.store.jobs.disturbed(this.#parts.workerId, withinMs, held));
    // What this look was for may have been a timeout.
    return isDue ? undefined : this.#timeoutsAt + TIMEOUTS_EVERY_MS - performance.now();
  }

  async #renew(): Promise<void> {
    const { store, workerId, options } = this.#parts;
    const before = new Set(this.#queues.flatMap((queue) => queue.heldRunIds()));
    const { durationMs } = options.lease;
    const heldUntil = performance.now() + durationMs;
    const { held, missed } = await store.jobs.renew(workerId, durationMs);
    const stored = new Set(held.map((run) => run.runId));
    // What a handler's own transaction has locked is safe until that ends, and then extended with it.
    this.#missed.set(
      missed.filter(({ runId }) => before.has(runId) && !this.#isInTransaction(runId)),
    );
    const unreached = new Set(missed.map((run) => run.runId));
    const runIds = new Set([...before].filter((runId) => !unreached.has(runId)));
    this.#renewed({ heldUntil, runIds });
    for (const queue of this.#queues) {
      for (const runId of queue.heldRunIds()) {
        if (before.has(runId) && !stored.has(runId)) {
          // Buffered: its handler was not called, and somebody else has the job.
          queue.forget(runId);
          queue.execution(runId)?.loseLease();
        }
      }
    }
    this.#pass(held);
    await this.#letGo(held, before);
  }

  #renewed({ heldUntil, runIds }: Renewed): void {
    for (const queue of this.#queues) {
      queue.renewed(heldUntil, runIds);
    }
  }

  #isInTransaction(runId: string): boolean {
    return this.#queues.some((queue) => queue.execution(runId)?.isInTransaction === true);
  }

  /** A run in this worker's name that it does not know twice in a row was lost on the way here. */
  async #letGo(held: readonly HeldRun[], before: ReadonlySet<string>): Promise<void> {
    const known = new Set(this.#queues.flatMap((queue) => queue.heldRunIds()));
    const strangers = held.filter((run) => !before.has(run.runId) && !known.has(run.runId));
    const again = strangers.filter((run) => this.#strangers.has(run.runId));
    this.#strangers = new Set(strangers.map((run) => run.runId));
    const { store, options, random } = this.#parts;
    for (const run of again) {
      const result = await store.jobs.settle(run.id, (job, nowMs) => {
        if (job.runId !== run.runId || job.leaseUntilMs === null) {
          return undefined;
        }
        const ending = { kind: 'lost' as const, maxLost: options.lease.maxLost };
        return changeOfEnding(job, ending, ANY_RULES, { nowMs, random });
      });
      if (result?.changed === true) {
        this.#parts.stored(result);
      }
    }
  }

  #pass(runs: readonly HeldRun[]): void {
    for (const run of runs) {
      for (const queue of this.#queues) {
        const execution = queue.execution(run.runId);
        if (run.status === 'canceling' || run.status === 'suspending') {
          execution?.noted(run.status);
          execution?.abort(run.status === 'canceling' ? 'canceled' : 'suspended');
          queue.dropBuffered(run.runId);
        } else if (run.status === 'locked' && run.lockedBy === null) {
          execution?.unlock();
        }
        execution?.timeoutChanged(run.timeoutSec);
      }
    }
  }
}
