import type { EngineParts } from './engine-parts.js';

/** A worker that was heard within so long may be at work, or have died since. */
const HEARD_WITHIN_MS = 15_000;
/** Whoever is at work makes the jobs of a slot, or begins to, sooner than that. */
const PATIENCE_MS = 2000;
/** Who is behind is left alone for so long; then it is helped. */
const MOST_PATIENCE_MS = 6000;

/** What is overdue and left to others. */
interface Left {
  /** Of all schedules of the type, when that was looked at last. */
  readonly revisions: number;
  readonly untilMs: number;
  readonly atMostUntilMs: number;
}

/**
 * Whether somebody made jobs of schedules before this process began to: slots from before it are late
 * then, else they were missed. Heartbeats do not tell: a worker that was killed has one, and so has one
 * that knows other types. So where a worker was heard, what is overdue is left to it for a moment. What
 * nobody has touched then was missed. Where others are at it they go on; what they do not manage was not
 * missed, and is done with them.
 */
export class ScheduleAttendance {
  readonly #parts: Pick<EngineParts, 'store' | 'workerId'>;
  /** By type, when this process began to look after it, by the database's clock; 0: others did before. */
  readonly #missedUntilMs = new Map<string, number>();
  readonly #left = new Map<string, Left>();

  constructor(parts: Pick<EngineParts, 'store' | 'workerId'>) {
    this.#parts = parts;
  }

  /** Finds out what is not known yet of these types, before their schedules are claimed. */
  async look(types: readonly string[]): Promise<void> {
    const fresh = types.filter((type) => !this.#missedUntilMs.has(type));
    if (fresh.length > 0) {
      await this.#begin(fresh);
    }
    const now = performance.now();
    const due = [...this.#left].flatMap(([type, left]) => (left.untilMs <= now ? [type] : []));
    if (due.length > 0) {
      await this.#lookAgain(due);
    }
  }

  /** In how many milliseconds to look again at a type that is left to others; 0: it is not. */
  leftMs(type: string): number {
    const left = this.#left.get(type);
    return left === undefined ? 0 : Math.max(1, left.untilMs - performance.now());
  }

  /** Slots of the type before then came while nobody made jobs of it. */
  missedUntilMs(type: string): number {
    return this.#missedUntilMs.get(type) ?? 0;
  }

  async #begin(types: readonly string[]): Promise<void> {
    const { store, workerId } = this.#parts;
    const nowMs = await store.ping();
    const heard = await store.catalog.workers({ heardWithinMs: HEARD_WITHIN_MS });
    const others = heard.filter(({ id }) => id !== workerId);
    if (others.length > 0) {
      const firstStartMs = Math.min(...others.map(({ startedAtMs }) => startedAtMs));
      const standing = await store.schedules.standing(types);
      const atMostUntilMs = performance.now() + MOST_PATIENCE_MS;
      for (const { type, nextRunAtMs, revisions } of standing) {
        // Whoever has begun since makes up for it too, and cannot have been there.
        if (nextRunAtMs !== null && nextRunAtMs < nowMs && firstStartMs < nextRunAtMs) {
          this.#leave(type, revisions, atMostUntilMs);
        }
      }
    }
    types.forEach((type) => this.#missedUntilMs.set(type, nowMs));
  }

  async #lookAgain(types: readonly string[]): Promise<void> {
    const standing = await this.#parts.store.schedules.standing(types);
    const byType = new Map(standing.map((each) => [each.type, each]));
    for (const type of types) {
      const left = this.#left.get(type);
      const now = byType.get(type);
      this.#left.delete(type);
      const isOverdue = (now?.nextRunAtMs ?? Infinity) < this.missedUntilMs(type);
      if (
        left === undefined ||
        now === undefined ||
        !isOverdue ||
        now.revisions === left.revisions
      ) {
        continue;
      }
      if (performance.now() < left.atMostUntilMs) {
        this.#leave(type, now.revisions, left.atMostUntilMs);
      } else {
        this.#missedUntilMs.set(type, 0);
      }
    }
  }

  #leave(type: string, revisions: number, atMostUntilMs: number): void {
    const untilMs = Math.min(performance.now() + PATIENCE_MS, atMostUntilMs);
    this.#left.set(type, { revisions, untilMs, atMostUntilMs });
  }
}
