import type { ScheduleMisfire, ScheduleOverlap } from './schedule.js';
import { lastSlots, nextSlot, type Timetable } from './schedule-timetable.js';

/** Of slots that were missed so many are caught up, the latest. */
export const MOST_CAUGHT_UP = 100;
/** No policy of overlaps tells more open jobs of a schedule apart than one less than so many. */
export const MOST_OPEN_READ = 3;
/** A slot is late up to so long; after it nobody can have been there. */
export const LATE_MS = 60_000;

/** What is decided from: the schedule as it is stored. */
export interface DueSchedule {
  readonly timetable: Timetable;
  readonly overlap: ScheduleOverlap;
  readonly misfire: ScheduleMisfire;
  /** The slot that is due. */
  readonly nextRunAtMs: number;
}

/** What becomes of one slot. */
export interface SlotDecision {
  readonly slotMs: number;
  /** `wait`: the job waits until the one before has ended. */
  readonly act: 'create' | 'wait' | 'cancel_older' | 'skip';
}

/** What is to be done with a schedule that is due. */
export interface TickDecision {
  /** Earliest first. */
  readonly slots: readonly SlotDecision[];
  /** Undefined: over, or due so long after the end of a run. */
  readonly nextRunAtMs: number | undefined;
}

/**
 * What a schedule does now.
 *
 * @param missedUntilMs slots before then came while nobody made jobs of the type
 * @param open how many of its jobs have not ended
 */
export function decideTick(
  due: DueSchedule,
  nowMs: number,
  missedUntilMs: number,
  open: number,
): TickDecision {
  const missedUntil = Math.max(missedUntilMs, nowMs - LATE_MS);
  const fired = slotsOf(due, nowMs, missedUntil);
  const { timetable } = due;
  const [first, second] = fired;
  if (due.overlap === 'queue' && open === 0 && first !== undefined && second !== undefined) {
    // Who waits is told for whom: the second one's turn comes once the first one's job is there.
    return { slots: [{ slotMs: first, act: 'create' }], nextRunAtMs: second };
  }
  return {
    slots: withOverlap(due.overlap, fired, open),
    nextRunAtMs:
      timetable.kind === 'after'
        ? nextAfterRun(timetable.afterMs, timetable.endAtMs, nowMs, open + fired.length)
        : nextSlot(timetable, Math.max(nowMs, due.nextRunAtMs)),
  };
}

/** Those slots that make a job, as far as others do not stand in the way. */
function slotsOf(
  { timetable, misfire, nextRunAtMs }: DueSchedule,
  nowMs: number,
  missedUntil: number,
): readonly number[] {
  if (nextRunAtMs > nowMs || nextRunAtMs > (timetable.endAtMs ?? Infinity)) {
    return [];
  }
  // Once for all: a schedule that comes each second may have been missed for a year.
  const later = lastSlots(timetable, nextRunAtMs, nowMs, MOST_CAUGHT_UP);
  const slots = [nextRunAtMs, ...later].slice(-MOST_CAUGHT_UP);
  const late = slots.filter((slot) => slot >= missedUntil);
  const missed = slots.filter((slot) => slot < missedUntil);
  switch (misfire) {
    case 'all':
      return slots;
    case 'once':
      return [...missed.slice(-1), ...late];
    case 'skip':
      return late;
  }
}

/** A run that ends is what makes it due again; without one it is due as if one had ended now. */
function nextAfterRun(
  afterMs: number,
  endAtMs: number | null,
  nowMs: number,
  runs: number,
): number | undefined {
  const next = nowMs + afterMs;
  return runs > 0 || next > (endAtMs ?? Infinity) ? undefined : next;
}

function withOverlap(
  overlap: ScheduleOverlap,
  slots: readonly number[],
  open: number,
): readonly SlotDecision[] {
  switch (overlap) {
    case 'allow':
      return slots.map((slotMs) => ({ slotMs, act: 'create' }));
    case 'skip':
      return slots.map((slotMs, at) => ({ slotMs, act: open + at === 0 ? 'create' : 'skip' }));
    case 'queue':
      return slots.map((slotMs, at) => ({ slotMs, act: QUEUED[open + at] ?? 'skip' }));
    case 'cancel':
      // Of several that come at once only the last would survive the others.
      return slots.map((slotMs, at) => ({
        slotMs,
        act: at < slots.length - 1 ? 'skip' : open > 0 ? 'cancel_older' : 'create',
      }));
  }
}

/** By how many jobs have not ended: one runs, one waits. */
const QUEUED = ['create', 'wait'] as const;
