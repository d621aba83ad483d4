import type { CronPattern } from 'croner';

/** What a cron text says of days. */
export type DayPattern = Pick<
  CronPattern,
  | 'day'
  | 'month'
  | 'dayOfWeek'
  | 'lastDayOfMonth'
  | 'lastWeekday'
  | 'nearestWeekdays'
  | 'starDOM'
  | 'starDOW'
  | 'useAndLogic'
>;

/** Days since 1970-01-01. */
export type Day = number;

const DAY_MS = 86_400_000;
/** 1970-01-01 was a Thursday; Sunday is 0. */
const FIRST_WEEKDAY = 4;
const FEBRUARY = 1;
const MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const SHORTEST_MONTH = 28;
const LONGEST_MONTH = 31;
/** Every month of each length begins on each weekday; the rarest, a long February, within 40 years. */
const MOST_MONTHS = 41 * 12;
/** Of a weekday's bits: its last time in a month. The bits below are its first time to its fifth. */
const LAST_TIME = 32;

/**
 * The days that a cron text names. What a month has of them depends on two things only, how long it is
 * and on which weekday it begins: all 28 kinds of months are worked out once, as bits, the first day the
 * lowest. So a search is a walk over months, and whether any day is named is known without one.
 */
export class CronDays {
  /** By length and first weekday. */
  readonly #kinds: readonly number[];
  readonly #months: readonly boolean[];

  constructor(pattern: DayPattern) {
    this.#kinds = Array.from({ length: (LONGEST_MONTH - SHORTEST_MONTH + 1) * 7 }, (_, kind) =>
      daysOfKind(pattern, SHORTEST_MONTH + Math.floor(kind / 7), kind % 7),
    );
    this.#months = pattern.month.map((named) => named === 1);
  }

  /** Whether no month that is named ever has a day that is named. */
  get isNever(): boolean {
    const weekdays = [0, 1, 2, 3, 4, 5, 6];
    return MONTH_LENGTHS.every((length, month) =>
      (month === FEBRUARY ? [length, length + 1] : [length]).every((each) =>
        weekdays.every((weekday) => this.#named(month, each, weekday) === 0),
      ),
    );
  }

  /** The first day that is named from that one on, or the last one up to it. */
  next(from: Day, direction: 1 | -1): Day | undefined {
    const date = new Date(from * DAY_MS);
    let year = date.getUTCFullYear();
    let month = date.getUTCMonth();
    const at = date.getUTCDate() - 1;
    let first = from - at;
    let bits = direction === 1 ? -1 << at : (2 << at) - 1;
    for (let step = 0; step < MOST_MONTHS; step += 1) {
      const length = lengthOf(year, month);
      const days = this.#named(month, length, weekdayOf(first)) & bits;
      if (days !== 0) {
        return first + (direction === 1 ? lowest(days) : highest(days));
      }
      bits = -1;
      month += direction;
      if (month < 0 || month > 11) {
        year += direction;
        month = direction === 1 ? 0 : 11;
      }
      first += direction === 1 ? length : -lengthOf(year, month);
    }
    return undefined;
  }

  #named(month: number, length: number, weekday: number): number {
    return this.#months[month] === true
      ? (this.#kinds[(length - SHORTEST_MONTH) * 7 + weekday] ?? 0)
      : 0;
  }
}

/** The days that are named of a month of that length which begins on that weekday. */
function daysOfKind(pattern: DayPattern, length: number, begins: number): number {
  let days = 0;
  const dates = datesOfKind(pattern, length, begins);
  for (let at = 0; at < length; at += 1) {
    const isDate = (dates & (1 << at)) !== 0;
    const isNamed = pattern.starDOW
      ? isDate
      : meets(pattern, isDate, isWeekday(pattern, length, begins, at));
    days |= isNamed ? 1 << at : 0;
  }
  return days;
}

/** A day and a weekday: either will do, unless both must be or the day is any. */
function meets({ useAndLogic, starDOM }: DayPattern, isDate: boolean, isWeekday: boolean): boolean {
  return useAndLogic || starDOM ? isDate && isWeekday : isDate || isWeekday;
}

/** What the day of the month says, without the weekday. */
function datesOfKind(pattern: DayPattern, length: number, begins: number): number {
  const weekday = (at: number): number => (begins + at) % 7;
  let dates = 0;
  for (let at = 0; at < length; at += 1) {
    dates |= pattern.day[at] === 1 ? 1 << at : 0;
    if ((pattern.nearestWeekdays[at] ?? 0) !== 0) {
      dates |= 1 << nearestWeekday(at, weekday(at), length);
    }
  }
  const last = length - 1;
  dates |= pattern.lastDayOfMonth ? 1 << last : 0;
  dates |= pattern.lastWeekday ? 1 << nearestWeekday(last, weekday(last), length) : 0;
  return dates;
}

/** The day from Monday to Friday that is nearest, in the same month. */
function nearestWeekday(at: number, weekday: number, length: number): number {
  switch (weekday) {
    case 0:
      return at === length - 1 ? at - 2 : at + 1;
    case 6:
      return at === 0 ? at + 2 : at - 1;
    default:
      return at;
  }
}

function isWeekday({ dayOfWeek }: DayPattern, length: number, begins: number, at: number): boolean {
  const times = dayOfWeek[(begins + at) % 7] ?? 0;
  const isLast = at + 7 >= length;
  return (times & (1 << Math.floor(at / 7))) !== 0 || (isLast && (times & LAST_TIME) !== 0);
}

function weekdayOf(day: Day): number {
  return (((day + FIRST_WEEKDAY) % 7) + 7) % 7;
}

function lengthOf(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return (MONTH_LENGTHS[month] ?? 0) + (month === FEBRUARY && isLeap ? 1 : 0);
}

function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function highest(bits: number): number {
  return 31 - Math.clz32(bits);
}
