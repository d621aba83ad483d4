import { JobsError } from './errors.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Offsets are looked up so far on both sides of a wall clock's time: no zone is further from UTC. */
const AROUND_MS = 2 * DAY_MS;
/** Where the offset is the same at both ends of so long a time, it is taken to be the same in between. */
const STEADY_MS = 4 * DAY_MS;

/** What a wall clock shows, written as Unix milliseconds of the same date and time in UTC. */
export type WallMs = number;

/** What the clocks on the walls of one place show. */
export class Zone {
  readonly #format: Intl.DateTimeFormat | undefined;
  readonly #fixedMs: number;
  #steady = { from: 0, to: -1, offset: 0 };

  /** @param rule how to format times of the zone, or its fixed offset from UTC */
  constructor(rule: Intl.DateTimeFormat | number) {
    this.#format = typeof rule === 'number' ? undefined : rule;
    this.#fixedMs = typeof rule === 'number' ? rule : 0;
  }

  /** What the wall clock shows then. */
  wallOf(instantMs: number): WallMs {
    return instantMs + this.offsetAt(instantMs);
  }

  /**
   * When the wall clock shows that. What it shows twice counts the first time; what it passes over,
   * because it is put forward, counts as the end of the gap.
   */
  instantOf(wall: WallMs): number {
    if (this.#format === undefined) {
      return wall - this.#fixedMs;
    }
    const { from, to, offset } = this.#steady;
    if (wall - AROUND_MS >= from && wall + AROUND_MS <= to) {
      return wall - offset;
    }
    const before = this.offsetAt(wall - AROUND_MS);
    const after = this.offsetAt(wall + AROUND_MS);
    if (before === after) {
      return wall - before;
    }
    const change = this.#change(wall - AROUND_MS, wall + AROUND_MS, before);
    // Up to the change the old offset holds, also for what is shown again after it.
    const first = wall - before;
    return first < change ? first : Math.max(wall - after, change);
  }

  /**
   * The wall clock's time up to which slots belong to the past at that instant: where it was put back,
   * all that it shows for the second time has been.
   */
  passedBy(instantMs: number): WallMs {
    const wall = this.wallOf(instantMs);
    if (this.#format === undefined || this.#isSteady(instantMs)) {
      return wall;
    }
    const earlier = instantMs - DAY_MS;
    const before = this.offsetAt(earlier);
    const offset = wall - instantMs;
    if (before <= offset) {
      return wall;
    }
    // The first moment at which the clock shows again what it has shown before.
    const change = this.#change(earlier, instantMs, before);
    return Math.max(wall, change + before - 1);
  }

  /** By how many milliseconds the wall clock is ahead of UTC. */
  offsetAt(instantMs: number): number {
    if (this.#format === undefined) {
      return this.#fixedMs;
    }
    const { from, to, offset } = this.#steady;
    return instantMs >= from && instantMs <= to ? offset : this.#look(instantMs);
  }

  #isSteady(instantMs: number): boolean {
    const { from, to } = this.#steady;
    if (instantMs - AROUND_MS >= from && instantMs + AROUND_MS <= to) {
      return true;
    }
    const [start, end] = [instantMs - STEADY_MS, instantMs + STEADY_MS];
    const offset = this.#look(start);
    if (offset !== this.#look(end) || offset !== this.#look(instantMs)) {
      return false;
    }
    this.#steady = { from: start, to: end, offset };
    return true;
  }

  /** The first instant after `from`, at the latest `to`, at which the offset is not `before` any more. */
  #change(from: number, to: number, before: number): number {
    let [low, high] = [from, to];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#look(middle) === before) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return high;
  }

  #look(instantMs: number): number {
    const seconds = Math.floor(instantMs / 1000) * 1000;
    const shown: Record<string, number> = {};
    // Only called where there is a format.
    for (const { type, value } of this.#format?.formatToParts(seconds) ?? []) {
      shown[type] = Number(value);
    }
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) - seconds;
  }
}

const zones = new Map<string, Zone>();
const LONGEST_ZONE = 64;
/** There are some six hundred names, which may be written in several ways. */
const MOST_ZONES = 2000;

/**
 * The zone of that name: one of the IANA database, or an offset such as `+05:30`.
 *
 * @throws JobsError `invalid_request` that names what is taken
 */
export function zoneOf(name: unknown, field = 'timeZone'): Zone {
  if (typeof name !== 'string' || name.length > LONGEST_ZONE) {
    throw unknownZone(String(name).slice(0, LONGEST_ZONE), field);
  }
  const known = zones.get(name);
  if (known !== undefined) {
    return known;
  }
  const zone = new Zone(ruleOf(name, field));
  if (zones.size >= MOST_ZONES) {
    zones.clear();
  }
  zones.set(name, zone);
  return zone;
}

function ruleOf(name: string, field: string): Intl.DateTimeFormat | number {
  const offset = /^([+-])(\d\d):(\d\d)$/.exec(name);
  if (offset !== null) {
    const [hours, minutes] = [Number(offset[2]), Number(offset[3])];
    if (hours > 14 || minutes > 59) {
      throw unknownZone(name, field);
    }
    return (hours * 60 + minutes) * 60_000 * (offset[1] === '-' ? -1 : 1);
  }
  // Newer versions of Node take more kinds of offsets than others do.
  if (!/^[A-Za-z]/.test(name)) {
    throw unknownZone(name, field);
  }
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch {
    throw unknownZone(name, field);
  }
}

function unknownZone(name: string, field: string): JobsError {
  const message = `is "${name}", which is no time zone: give the name of one, such as 'Europe/Berlin' or 'UTC', or an offset such as '+05:30'`;
  return new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
}
