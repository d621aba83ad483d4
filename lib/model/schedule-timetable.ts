import { cronTimes } from './schedule-cron.js';
import { zoneOf } from './schedule-zone.js';

/** Due whenever a wall clock shows certain times. */
export interface CronTimetable {
  readonly kind: 'cron';
  readonly cron: string;
  readonly timeZone: string;
}

/** Due at a fixed rate. */
export interface RateTimetable {
  readonly kind: 'every';
  readonly everyMs: number;
  /** The first slot. */
  readonly firstMs: number;
}

/** Due so long after the last run ended. */
export interface AfterTimetable {
  readonly kind: 'after';
  readonly afterMs: number;
  readonly firstMs: number;
}

/** When a schedule is due, and from when to when it is at all; both ends count. */
export type Timetable = (CronTimetable | RateTimetable | AfterTimetable) & {
  readonly startAtMs: number | null;
  readonly endAtMs: number | null;
};

/** Wall clocks that are put back far are followed so far. */
const MOST_STEPS = 10_000;
/** Nobody waits longer, and no wall clock is known beyond what a Date can be. */
const LATEST_MS = Date.UTC(9999, 11, 31);

/** The first slot later than an instant; undefined when there is none, or none before a run has ended. */
export function nextSlot(timetable: Timetable, afterMs: number): number | undefined {
  const { startAtMs, endAtMs } = timetable;
  const slot = next(timetable, Math.max(afterMs, (startAtMs ?? -Infinity) - 1));
  return slot === undefined || slot > (endAtMs ?? Infinity) ? undefined : slot;
}

/** The last slots up to an instant and later than another, earliest first; at most so many. */
export function lastSlots(
  timetable: Timetable,
  afterMs: number,
  upToMs: number,
  most: number,
): readonly number[] {
  const { startAtMs, endAtMs } = timetable;
  const earliest = Math.max(afterMs, (startAtMs ?? -Infinity) - 1);
  const slots: number[] = [];
  let slot = last(timetable, Math.min(upToMs, endAtMs ?? Infinity));
  while (slot !== undefined && slot > earliest && slots.length < most) {
    slots.push(slot);
    slot = last(timetable, slot - 1);
  }
  return slots.reverse();
}

function next(timetable: Timetable, afterMs: number): number | undefined {
  switch (timetable.kind) {
    case 'cron':
      return nextCron(timetable, afterMs);
    case 'every':
      return nextAtRate(timetable, afterMs);
    case 'after':
      return timetable.firstMs > afterMs ? timetable.firstMs : undefined;
  }
}

function last(timetable: Timetable, upToMs: number): number | undefined {
  switch (timetable.kind) {
    case 'cron':
      return lastCron(timetable, upToMs);
    case 'every': {
      const { everyMs, firstMs } = timetable;
      return upToMs < firstMs
        ? undefined
        : firstMs + Math.floor((upToMs - firstMs) / everyMs) * everyMs;
    }
    case 'after':
      return timetable.firstMs <= upToMs ? timetable.firstMs : undefined;
  }
}

function nextAtRate({ everyMs, firstMs }: RateTimetable, afterMs: number): number {
  return afterMs < firstMs
    ? firstMs
    : firstMs + (Math.floor((afterMs - firstMs) / everyMs) + 1) * everyMs;
}

/**
 * A time in a gap of the wall clock is due at its end, with all others of the gap; one that comes
 * twice is due the first time.
 */
function nextCron({ cron, timeZone }: CronTimetable, afterMs: number): number | undefined {
  if (afterMs > LATEST_MS) {
    return undefined;
  }
  const times = cronTimes(cron);
  const zone = zoneOf(timeZone);
  let wall = times.next(zone.passedBy(afterMs));
  for (let step = 0; wall !== undefined && step < MOST_STEPS; step += 1) {
    const slot = zone.instantOf(wall);
    if (slot > afterMs) {
      return slot;
    }
    wall = times.next(wall);
  }
  return undefined;
}

function lastCron({ cron, timeZone }: CronTimetable, upToMs: number): number | undefined {
  const times = cronTimes(cron);
  const zone = zoneOf(timeZone);
  let wall = times.upTo(zone.passedBy(upToMs));
  for (let step = 0; wall !== undefined && step < MOST_STEPS; step += 1) {
    const slot = zone.instantOf(wall);
    if (slot <= upToMs) {
      return slot;
    }
    wall = times.upTo(wall - 1);
  }
  return undefined;
}

/** The columns of a schedule that say when it is due. */
export interface TimingColumns {
  readonly cron: string | null;
  readonly timeZone: string | null;
  readonly everyMs: number | null;
  readonly afterMs: number | null;
  readonly firstMs: number | null;
  readonly startAtMs: number | null;
  readonly endAtMs: number | null;
}

/** The timetable of a stored schedule, which has one of the three. */
export function timetableOf(columns: TimingColumns): Timetable {
  const { cron, timeZone, everyMs, afterMs, startAtMs, endAtMs } = columns;
  const bounds = { startAtMs, endAtMs };
  const firstMs = columns.firstMs ?? 0;
  if (cron !== null) {
    return { kind: 'cron', cron, timeZone: timeZone ?? 'UTC', ...bounds };
  }
  return everyMs === null
    ? { kind: 'after', afterMs: afterMs ?? 0, firstMs, ...bounds }
    : { kind: 'every', everyMs, firstMs, ...bounds };
}

/** When a schedule that begins now is due first; one that waits for the end of runs has so many. */
export function firstSlot(timetable: Timetable, nowMs: number, runs: number): number | undefined {
  const slot = nextSlot(timetable, nowMs);
  if (timetable.kind !== 'after') {
    return slot;
  }
  if (runs > 0) {
    // The end of the last one makes it due, unless it only begins later.
    return slot === timetable.startAtMs ? slot : undefined;
  }
  if (slot !== undefined) {
    return slot;
  }
  const after = nowMs + timetable.afterMs;
  return after > (timetable.endAtMs ?? Infinity) ? undefined : after;
}
