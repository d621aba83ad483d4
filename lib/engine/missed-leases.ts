import type { HeldRun, MissedRun } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';

const LEAST_WAIT_MS = 25;
const MOST_WAIT_MS = 400;
/** Renewals within the length of a lease. */
const A_LEASE = 3;

/** Whose leases last at least until then, by the monotonic clock here. */
export interface Renewed {
  readonly heldUntil: number;
  readonly runIds: ReadonlySet<string>;
}

/**
 * Leases that a renewal did not reach, since others had the rows of their jobs. They are tried again,
 * one by waiting in line for its row, longer from time to time and never for long: what else is
 * written in that place waits with it.
 */
export class MissedLeases {
  readonly #parts: EngineParts;
  #runs: readonly HeldRun[] = [];
  /** By run, how many renewals in a row have missed it while its lease was this one, and all tries between them. */
  #missed = new Map<string, { readonly leaseUntilMs: number; readonly times: number }>();
  #waitMs = LEAST_WAIT_MS;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  get isAny(): boolean {
    return this.#runs.length > 0;
  }

  /** What a renewal has missed just now; it has reached all others. */
  set(runs: readonly MissedRun[]): void {
    this.#keep(runs);
    this.#missed = new Map(
      runs.map(({ runId, leaseUntilMs }) => {
        // A check-in may have extended it meanwhile, or a transaction of the handler's.
        const before = this.#missed.get(runId);
        const times = before?.leaseUntilMs === leaseUntilMs ? before.times + 1 : 1;
        return [runId, { leaseUntilMs, times }] as const;
      }),
    );
    for (const { id, runId } of runs) {
      if (this.#missed.get(runId)?.times === A_LEASE) {
        this.#parts.logger.warn(
          `The lease of job ${id} could not be extended for as long as it lasts: a transaction keeps the job's row locked. Nobody takes the job as long as it does, but perhaps then. Keep transactions short that enqueue with dependsOn, or raise lease.duration.`,
        );
      }
    }
  }

  /** In how many milliseconds to try again, or to renew all, which is due then. */
  next(dueAt: number): number | undefined {
    // Twice as long as it waits it leaves the place to others.
    return this.isAny
      ? Math.max(0, Math.min(this.#waitMs * 2, dueAt - performance.now()))
      : undefined;
  }

  /** Tries again; gives what it has reached. */
  async retry(): Promise<Renewed> {
    const { store, options } = this.#parts;
    const { durationMs } = options.lease;
    const heldUntil = performance.now() + durationMs;
    const { renewed, missed } = await store.jobs.renewMissed(this.#runs, durationMs, this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, MOST_WAIT_MS, Math.ceil(durationMs / 10));
    this.#keep(missed);
    renewed.forEach((runId) => this.#missed.delete(runId));
    return { heldUntil, runIds: new Set(renewed) };
  }

  #keep(runs: readonly HeldRun[]): void {
    this.#runs = runs;
    if (runs.length === 0) {
      this.#waitMs = LEAST_WAIT_MS;
    }
  }
}
