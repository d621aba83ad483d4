import { Cron, CronPattern } from 'croner';
import { JobsError } from './errors.js';
import type { WallMs } from './schedule-zone.js';

/** Characters of a cron text, at the most. */
export const LONGEST_CRON = 256;

const HOW =
  "give five fields (minute hour day month weekday) such as '0 3 * * 1-5', or six with seconds first such as '*/10 * * * * *'";

/** What stands for five fields. */
const NAMES: ReadonlySet<string> = new Set([
  '@yearly',
  '@annually',
  '@monthly',
  '@weekly',
  '@daily',
  '@midnight',
  '@hourly',
]);

/** The longest months; February has 29 days in some years. */
const LONGEST_MONTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const LONGEST_DAYS = Array.from({ length: 31 });

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
  const options = { mode: '5-or-6-parts', sloppyRanges: true } as const;
  const fields = text.trim().split(/\s+/).filter(Boolean);
  const isName = fields.length === 1 && NAMES.has((fields[0] ?? '').toLowerCase());
  if (!isName && fields.length !== 5 && fields.length !== 6) {
    throw bad(field, `has ${fields.length} field${fields.length === 1 ? '' : 's'}`, HOW);
  }
  let cron: Cron;
  try {
    // Looked at first: the search for a day that never comes takes longer than a request should.
    if (isNever(new CronPattern(text, undefined, options))) {
      throw bad(
        field,
        'would never be due: it names only days that its months do not have',
        'name a day that one of them has, or L for the last one',
      );
    }
    cron = new Cron(text, { ...options, utcOffset: 0, paused: true });
  } catch (error) {
    throw error instanceof JobsError ? error : bad(field, reasonOf(error), HOW);
  }
  return {
    next: (wall) => cron.nextRun(new Date(wall))?.getTime(),
    upTo: (wall) =>
      cron.previousRuns(1, new Date(Math.floor(wall / 1000) * 1000 + 1000))[0]?.getTime(),
  };
}

/** Whether no month that is named has a day that is named. */
function isNever(pattern: CronPattern): boolean {
  const hasLast = pattern.lastDayOfMonth || pattern.lastWeekday;
  // A weekday that is named beside days of the month is another way to be due, unless both must hold.
  if (hasLast || !(pattern.starDOW || pattern.useAndLogic)) {
    return false;
  }
  const isNamed = (_: unknown, day: number): boolean =>
    pattern.day[day] === 1 || (pattern.nearestWeekdays[day] ?? 0) !== 0;
  const firstDay = LONGEST_DAYS.findIndex(isNamed) + 1;
  return !pattern.month.some(
    (named, month) => named === 1 && firstDay <= (LONGEST_MONTHS[month] ?? 0),
  );
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
