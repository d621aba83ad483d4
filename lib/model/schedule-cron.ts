import { CronPattern } from 'croner';
import { CronDays } from './cron-days.js';
import { JobsError } from './errors.js';
import type { WallMs } from './schedule-zone.js';

/** Characters of a cron text, at the most. */
export const LONGEST_CRON = 256;

const HOW =
  "give five fields (minute hour day month weekday) such as '0 3 * * 1-5', or six with seconds first such as '*/10 * * * * *'";

/** What stands for fields; those that `cron` 4 knows as well. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@weekdays', '0 0 * * 1-5'],
  ['@weekends', '0 0 * * 0,6'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
  ['@minutely', '* * * * *'],
  ['@secondly', '* * * * * *'],
]);

const DAY_SECONDS = 86_400;

/**
 * What a cron text says of wall clocks, which know no offset and no daylight saving time: the parser
 * works in UTC, and the zone is applied to what it finds.
 */
export interface CronTimes {
  /** The first time that is later; undefined when there is none. */
  next(wall: WallMs): WallMs | undefined;
  /** The last time that is not later; undefined when there is none. */
  upTo(wall: WallMs): WallMs | undefined;
}

const parsed = new Map<string, CronTimes>();
const MOST_PARSED = 10_000;

/**
 * Reads a cron text, once.
 *
 * @throws JobsError `invalid_request` that says what to write instead
 */
export function cronTimes(text: unknown, field = 'cron'): CronTimes {
  if (typeof text !== 'string') {
    throw bad(field, 'must be a text', HOW);
  }
  if (text.length > LONGEST_CRON) {
    throw bad(
      field,
      `has ${text.length} characters, more than ${LONGEST_CRON}`,
      'write ranges and steps instead of long lists, or make several schedules of it',
    );
  }
  const known = parsed.get(text);
  if (known !== undefined) {
    return known;
  }
  const times = parse(text, field);
  if (parsed.size >= MOST_PARSED) {
    parsed.clear();
  }
  parsed.set(text, times);
  return times;
}

function parse(text: string, field: string): CronTimes {
  const written = text.trim();
  const fields = (NAMES.get(written.toLowerCase()) ?? written).split(/\s+/).filter(Boolean);
  if (fields.length !== 5 && fields.length !== 6) {
    throw bad(field, `has ${fields.length} field${fields.length === 1 ? '' : 's'}`, HOW);
  }
  let pattern: CronPattern;
  try {
    pattern = new CronPattern(fields.join(' '), undefined, {
      mode: '5-or-6-parts',
      sloppyRanges: true,
    });
  } catch (error) {
    throw bad(field, reasonOf(error), HOW);
  }
  const days = new CronDays(pattern);
  if (days.isNever) {
    throw bad(
      field,
      'would never be due: its months have none of the days that it names',
      pattern.useAndLogic
        ? 'name a day of the month that can be that weekday, or leave out the + so that either will do'
        : 'name a day that one of them has, or L for the last one',
    );
  }
  return timesOf(days, [pattern.hour, pattern.minute, pattern.second].map(named));
}

/** The search is ours: in any month it looks once, so it is as short for rare days as for all others. */
function timesOf(days: CronDays, clock: readonly (readonly number[])[]): CronTimes {
  const backwards = clock.map((values) => values.toReversed());
  const search = (from: number, direction: 1 | -1): WallMs | undefined => {
    const hands = direction === 1 ? clock : backwards;
    const today = Math.floor(from / DAY_SECONDS);
    let day = days.next(today, direction);
    let time = timeOfDay(hands, day === today ? from - today * DAY_SECONDS : undefined, direction);
    if (day !== undefined && time === undefined) {
      day = days.next(day + direction, direction);
      time = timeOfDay(hands, undefined, direction);
    }
    return day === undefined || time === undefined ? undefined : (day * DAY_SECONDS + time) * 1000;
  };
  return {
    next: (wall) => search(Math.floor(wall / 1000) + 1, 1),
    upTo: (wall) => search(Math.floor(wall / 1000), -1),
  };
}

/** The first time of a day in that order, in seconds; not before `from`. */
function timeOfDay(
  [hours = [], minutes = [], seconds = []]: readonly (readonly number[])[],
  from: number | undefined,
  direction: 1 | -1,
): number | undefined {
  const isBefore = (value: number, limit: number): boolean => (value - limit) * direction < 0;
  for (const hour of hours) {
    if (from !== undefined && isBefore(hour, Math.floor(from / 3600))) {
      continue;
    }
    for (const minute of minutes) {
      if (from !== undefined && isBefore(hour * 60 + minute, Math.floor(from / 60))) {
        continue;
      }
      const second = seconds.find(
        (each) => from === undefined || !isBefore(hour * 3600 + minute * 60 + each, from),
      );
      if (second !== undefined) {
        return hour * 3600 + minute * 60 + second;
      }
    }
  }
  return undefined;
}

/** The values of a field that are named. */
function named(field: readonly number[]): readonly number[] {
  return field.flatMap((isNamed, value) => (isNamed === 1 ? [value] : []));
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `cannot be read (${message
    .replace(/^CronPattern: /, '')
    // The parser counts days and months from 0.
    .replace(
      /^Invalid value for (day|month): (-?\d+)/,
      (_, part: string, value: string) => `Invalid value for ${part}: ${Number(value) + 1}`,
    )
    .replace(/\.$/, '')
    .slice(0, 160)})`;
}

function bad(field: string, what: string, instead: string): JobsError {
  const message = `${what}: ${instead}`;
  return new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
}
