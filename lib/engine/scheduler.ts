import { isJobsError } from '../model/errors.js';
import { decideTick, type SlotDecision, type TickDecision } from '../model/schedule-decision.js';
import { timetableOf } from '../model/schedule-timetable.js';
import type { ClaimedSchedule, FiredSlot, Firing } from '../store/store.js';
import type { Prepared } from './drafts.js';
import { Loop } from './loop.js';
import { ScheduleAttendance } from './schedule-attendance.js';
import { ScheduleFirings } from './schedule-firings.js';
import { cancelOlder } from './schedule-jobs.js';
import type { SchedulesParts } from './schedules.js';

/** What the scheduler needs of the engine. */
export interface SchedulerParts extends SchedulesParts {
  /** Stores what code declares, once. */
  declare(): Promise<void>;
  /** By type, for how long after its start this process makes no jobs of it. */
  delayMs(): ReadonlyMap<unknown, number>;
}

/**
 * So many schedules fire in one transaction, and wait for the end of its claim when a process dies: few
 * as long as it keeps up, more while more are due.
 */
const BATCH = { least: 100, most: 500 };
/** Who claims and dies delays others by that long; who takes longer finds its claim gone, and claims for longer. */
const CLAIM_MS = { least: 700, most: 60_000, perPass: 4 };
/** Without anything due it looks so often all the same. */
const LONGEST_WAIT_MS = 60_000;
/** While others write all the time their hints count so often. */
const HINTS_EVERY_MS = 1000;
/** Ends of runs that come together wake it once. */
const GATHER_MS = 20;

/** Turns schedules that are due into jobs, each slot once, however many processes do so at once. */
export class Scheduler {
  readonly #to: SchedulerParts;
  readonly #loop: Loop;
  readonly #attendance: ScheduleAttendance;
  #startedAt: number | undefined;
  #batch = BATCH.least;
  #claimMs = CLAIM_MS.least;
  #lookedAt = -Infinity;
  #hinted: NodeJS.Timeout | undefined;
  #ended: NodeJS.Timeout | undefined;

  readonly #firings: ScheduleFirings;

  constructor(to: SchedulerParts) {
    this.#to = to;
    this.#attendance = new ScheduleAttendance(to.parts);
    this.#firings = new ScheduleFirings({
      make: (schedule, nowMs) => this.#firing(schedule, nowMs),
      leaveOut: (schedule, nowMs, waitedMs) => this.#leftOut(schedule, nowMs, waitedMs),
      failed: (schedule, error) => this.#failed(schedule, error),
    });
    const duty = {
      name: 'scheduler',
      everyMs: LONGEST_WAIT_MS,
      runOnce: () => this.runOnce(),
    };
    this.#loop = new Loop(duty, to.parts.logger, to.parts.random);
  }

  get loop(): Loop {
    return this.#loop;
  }

  /** Something may be due earlier than is known. */
  wake(): void {
    this.#loop.wake();
  }

  /** Another process has written something, perhaps a schedule. */
  hint(): void {
    this.#hinted ??= soon(
      Math.max(0, this.#lookedAt + HINTS_EVERY_MS - performance.now()),
      () => (this.#hinted = undefined),
      () => this.wake(),
    );
  }

  /** A job of a schedule has changed: if it ended, its schedule may be due so long after. */
  jobChanged(): void {
    this.#ended ??= soon(
      GATHER_MS,
      () => (this.#ended = undefined),
      () => this.wake(),
    );
  }

  /** Makes no more jobs; resolves when the present pass has ended. */
  async stop(): Promise<void> {
    clearTimeout(this.#hinted);
    clearTimeout(this.#ended);
    await this.#loop.stop();
  }

  async runOnce(): Promise<number> {
    const { store } = this.#to.parts;
    await this.#to.declare();
    const { types, moreInMs } = await this.#types();
    if (types.length === 0) {
      return moreInMs;
    }
    this.#lookedAt = performance.now();
    const { due, nowMs, nextInMs } = await store.schedules.claim(types, this.#batch, this.#claimMs);
    this.#batch = due.length < this.#batch ? BATCH.least : Math.min(this.#batch * 2, BATCH.most);
    if (due.length > 0) {
      const began = performance.now();
      await this.#fire(due, nowMs);
      const wantedMs = Math.ceil((performance.now() - began) * CLAIM_MS.perPass);
      this.#claimMs = Math.max(CLAIM_MS.least, Math.min(wantedMs, CLAIM_MS.most));
      return 0;
    }
    return Math.min(nextInMs ?? LONGEST_WAIT_MS, moreInMs);
  }

  /** The types whose schedules it looks at, and in how many milliseconds there are more. */
  async #types(): Promise<{ readonly types: readonly string[]; readonly moreInMs: number }> {
    this.#startedAt ??= performance.now();
    const ranMs = performance.now() - this.#startedAt;
    const delays = this.#to.delayMs();
    const delayMs = (typeId: string): number => (delays.get(typeId) ?? 0) - ranMs;
    const all = this.#to.parts.handlers.all().map(({ typeId }) => typeId);
    await this.#attendance.look(all.filter((typeId) => delayMs(typeId) <= 0));
    const leftMs = (typeId: string): number =>
      Math.max(delayMs(typeId), this.#attendance.leftMs(typeId));
    const later = all.map(leftMs).filter((left) => left > 0);
    return {
      types: all.filter((typeId) => leftMs(typeId) <= 0),
      moreInMs: Math.min(LONGEST_WAIT_MS, ...later),
    };
  }

  async #fire(due: readonly ClaimedSchedule[], nowMs: number): Promise<void> {
    const { handlers, store } = this.#to.parts;
    const firings = await this.#firings.of(due, nowMs);
    if (firings.length === 0) {
      return;
    }
    const results = await store.schedules.fire(firings, 'engine');
    results.forEach((fired, at) => {
      const type = handlers.get(firings[at]?.schedule.definition.type ?? '');
      for (const result of fired === 'lost' ? [] : fired) {
        if (result?.outcome === 'created' && type !== undefined) {
          this.#to.enqueued(result, type);
        } else if (result?.outcome === 'replaced') {
          this.#to.parts.stored(result.news);
        }
      }
    });
  }

  async #firing(schedule: ClaimedSchedule, nowMs: number): Promise<Firing> {
    const decision = this.#decide(schedule, nowMs);
    const slots: FiredSlot[] = [];
    for (const slot of decision.slots) {
      slots.push({ slotMs: slot.slotMs, draft: await this.#draft(schedule, slot) });
    }
    return { schedule, slots, next: decision.nextRunAtMs ?? null };
  }

  #leftOut(schedule: ClaimedSchedule, nowMs: number, waitedMs: number): Firing {
    const decision = this.#decide(schedule, nowMs);
    const { name, type } = schedule.definition;
    this.#to.parts.logger.warn(
      `The schedule "${name}" made no job: onJobInit of "${type}" was called ${Math.round(waitedMs / 1000)} s ago and has not returned.`,
    );
    return {
      schedule,
      slots: decision.slots.map(({ slotMs }) => ({ slotMs, draft: undefined })),
      next: decision.nextRunAtMs ?? null,
    };
  }

  #failed({ definition }: ClaimedSchedule, error: unknown): void {
    this.#to.parts.logger.warn(
      `The schedule "${definition.name}" cannot be looked at, and is tried again later: ${String(error)}`,
    );
  }

  #decide({ definition, open, times }: ClaimedSchedule, nowMs: number): TickDecision {
    return decideTick(
      {
        timetable: timetableOf(definition),
        overlap: definition.overlap,
        misfire: definition.misfire,
        nextRunAtMs: times.nextRunAtMs ?? nowMs,
      },
      nowMs,
      this.#attendance.missedUntilMs(definition.type),
      open.length,
    );
  }

  /** The job of a slot; undefined when it makes none. */
  async #draft(
    schedule: ClaimedSchedule,
    { act, slotMs }: SlotDecision,
  ): Promise<Prepared | undefined> {
    const { drafts, operations, parts } = this.#to;
    const type = parts.handlers.get(schedule.definition.type);
    if (act === 'skip' || type === undefined) {
      return undefined;
    }
    try {
      if (act === 'cancel_older') {
        await cancelOlder(operations, parts.store.schedules, schedule);
      }
      return await drafts.make(type, schedule, act === 'wait' ? schedule.open.at(-1) : undefined);
    } catch (error) {
      if (!isJobsError(error) || error.code.startsWith('database_')) {
        throw error;
      }
      parts.logger.warn(
        `The schedule "${schedule.definition.name}" made no job at ${new Date(slotMs).toISOString()}: ${error.message}`,
      );
      return undefined;
    }
  }
}

function soon(afterMs: number, ...then: readonly (() => unknown)[]): NodeJS.Timeout {
  return setTimeout(() => then.forEach((each) => each()), afterMs).unref();
}
