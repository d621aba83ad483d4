import { createHash } from 'node:crypto';
import type { JobScheduleEntity } from '../entities/job-schedule.entity.js';
import { durationMs, type Duration } from '../model/duration.js';
import { canonicalJson, type JsonObject } from '../model/json.js';
import { toJson } from '../model/json-text.js';
import {
  SCHEDULE_MISFIRES,
  SCHEDULE_OVERLAPS,
  type ScheduleInput,
  type ScheduleJobOptions,
  type ScheduleTiming,
} from '../model/schedule.js';
import { cronTimes } from '../model/schedule-cron.js';
import {
  firstSlot,
  nextSlot,
  timetableOf,
  type TimingColumns,
} from '../model/schedule-timetable.js';
import { zoneOf } from '../model/schedule-zone.js';
import { isPlainText } from '../model/text.js';
import type { UniqueOptions } from '../model/unique.js';
import { badField, checkedInstant } from './enqueue-checks.js';
import { checkOptionKeys, SCHEDULE_OPTION_KEYS } from './option-keys.js';
import { uniqueTerms } from './unique.js';

/** A schedule as it is to be, checked; the database's time is not known yet. */
export type ScheduleDraft = Pick<
  JobScheduleEntity,
  | 'tenantId'
  | 'userId'
  | 'name'
  | 'type'
  | 'params'
  | 'overlap'
  | 'misfire'
  | 'options'
  | 'declared'
> &
  Omit<TimingColumns, 'firstMs'> & {
    /** Undefined: as it is. */
    readonly paused: boolean | undefined;
  };

/** Who asks for it, and whether code declares it. */
export interface ScheduleOwner {
  readonly tenantId: string;
  readonly userId: string | null;
  readonly isDeclared?: boolean;
}

/** The type of its jobs, and their params as JSON text. */
export interface ScheduledType {
  readonly typeId: string;
  readonly params: string;
}

/** Runs closer to each other than that are no schedule. */
const LEAST_MS = 1000;

/** What a schedule is made of, in code. */
export const SCHEDULE_KEYS: ReadonlySet<string> = new Set([
  'name',
  'type',
  'params',
  'cron',
  'timeZone',
  'every',
  'after',
  'startAt',
  'endAt',
  'overlap',
  'misfire',
  'paused',
  'options',
]);

const RHYTHM = ['cron', 'timeZone', 'everyMs', 'afterMs'] as const;
const TIMING: readonly (keyof TimingColumns & keyof ScheduleDraft)[] = [
  ...RHYTHM,
  'startAtMs',
  'endAtMs',
];

/**
 * Checks what somebody wants, but for params and options of the jobs, which their type knows.
 *
 * @throws JobsError `invalid_request` that says what to write instead
 */
export function scheduleDraft(
  input: ScheduleInput,
  { typeId, params }: ScheduledType,
  owner: ScheduleOwner,
): ScheduleDraft {
  const { paused, options = {} } = input;
  if (paused !== undefined && typeof paused !== 'boolean') {
    throw badField('paused', 'must be true or false');
  }
  const draft = {
    tenantId: owner.tenantId,
    userId: owner.userId,
    name: checkedScheduleName(input.name),
    type: typeId,
    params,
    ...checkedTiming(input),
    overlap: oneOf(input.overlap ?? 'skip', SCHEDULE_OVERLAPS, 'overlap'),
    misfire: oneOf(input.misfire ?? 'once', SCHEDULE_MISFIRES, 'misfire'),
    options: JSON.stringify(checkedJobOptions(options)),
    paused,
    declared: null,
  };
  return owner.isDeclared === true ? { ...draft, declared: digestOf(draft) } : draft;
}

/** @throws JobsError `invalid_request` */
export function checkedScheduleName(name: unknown): string {
  if (!isPlainText(name, 1, 255)) {
    throw badField('name', 'must be a text of 1 to 255 characters');
  }
  if (name === '.' || name === '..') {
    throw badField('name', 'must not be "." or "..", which no URL can end with');
  }
  return name;
}

/** Whether both are due at the same times. */
export function isSameTiming(draft: ScheduleDraft, stored: JobScheduleEntity): boolean {
  return TIMING.every((column) => draft[column] === stored[column]);
}

/**
 * Whether both have the same slots, but for those that are before or after the time it is for: another
 * end changes none, nor does a start that is over and is said no more.
 */
export function isSameRhythm(
  draft: ScheduleDraft,
  stored: JobScheduleEntity,
  nowMs: number,
): boolean {
  return (
    RHYTHM.every((column) => draft[column] === stored[column]) &&
    (draft.startAtMs === stored.startAtMs ||
      (draft.startAtMs === null && (stored.startAtMs ?? Infinity) <= nowMs))
  );
}

/**
 * The row of a schedule, new or edited at that time. A rate that is not edited keeps its slots.
 *
 * @throws JobsError `invalid_request` when it would never be due
 */
export function definitionOf(
  draft: ScheduleDraft,
  id: string,
  stored: JobScheduleEntity | undefined,
  nowMs: number,
): JobScheduleEntity {
  const { paused, ...columns } = draft;
  const isSame = stored !== undefined && isSameTiming(draft, stored);
  const keepsSlots = stored !== undefined && isSameRhythm(draft, stored, nowMs);
  const period = draft.everyMs ?? draft.afterMs;
  const definition: JobScheduleEntity = {
    ...columns,
    id,
    declared: draft.declared ?? stored?.declared ?? null,
    firstMs: keepsSlots
      ? stored.firstMs
      : period === null
        ? null
        : (draft.startAtMs ?? nowMs + period),
    paused: (paused ?? stored?.paused === 1) ? 1 : 0,
    createdAtMs: stored?.createdAtMs ?? nowMs,
    updatedAtMs: nowMs,
  };
  if (!isSame && firstSlot(timetableOf(definition), nowMs, 0) === undefined) {
    throw neverDue(draft);
  }
  return definition;
}

function checkedTiming(input: ScheduleTiming): Omit<TimingColumns, 'firstMs'> {
  const { cron, timeZone, every, after } = input;
  const given = [cron, every, after].filter((each) => each !== undefined);
  if (given.length !== 1) {
    throw badField(
      'cron',
      "or every or after must be given, and only one of them: a cron text such as '0 3 * * *', a fixed rate, or so long after the last run ended",
    );
  }
  if (cron !== undefined) {
    cronTimes(cron);
    zoneOf(timeZone ?? 'UTC');
  } else if (timeZone !== undefined) {
    throw badField('timeZone', 'is for cron: leave it out');
  }
  const startAtMs = input.startAt === undefined ? null : checkedInstant(input.startAt, 'startAt');
  const endAtMs = input.endAt === undefined ? null : checkedInstant(input.endAt, 'endAt');
  if (startAtMs !== null && endAtMs !== null && endAtMs < startAtMs) {
    throw badField('endAt', 'must not be earlier than the start');
  }
  const timing = {
    cron: cron ?? null,
    timeZone: cron === undefined ? null : (timeZone ?? 'UTC'),
    everyMs: period(every, 'every'),
    afterMs: period(after, 'after'),
    startAtMs,
    endAtMs,
  };
  // What is due at no time within its own bounds, whatever the time is now, is wrong and not over.
  const isBounded = cron !== undefined && endAtMs !== null;
  if (isBounded && nextSlot(timetableOf({ ...timing, firstMs: null }), 0) === undefined) {
    throw neverDue(timing);
  }
  return timing;
}

function period(given: Duration | undefined, field: string): number | null {
  if (given === undefined) {
    return null;
  }
  const ms = Math.round(durationMs(given, field));
  if (ms < LEAST_MS) {
    throw badField(
      field,
      'must be at least one second: a schedule is due at most once a second, so let each job do more',
    );
  }
  return ms;
}

/** Durations as milliseconds; the rest is checked where a job would be. */
function checkedJobOptions(options: ScheduleJobOptions): JsonObject {
  checkOptionKeys(options, SCHEDULE_OPTION_KEYS, 'options');
  const { timeout, retryDelay, unique, ...rest } = options;
  const { value } = toJson(
    {
      ...rest,
      ...(timeout === undefined ? {} : { timeout: durationMs(timeout, 'options.timeout') }),
      ...(retryDelay === undefined
        ? {}
        : { retryDelay: durationMs(retryDelay, 'options.retryDelay') }),
      ...(unique === undefined ? {} : { unique: checkedUnique(unique) }),
    },
    'options',
    { bytes: MOST_OPTION_BYTES, depth: DEEPEST },
  );
  return value as JsonObject;
}

function checkedUnique(unique: true | UniqueOptions): true | UniqueOptions {
  const { withinMs } = uniqueTerms(unique) ?? {};
  return unique === true || withinMs === undefined ? unique : { ...unique, within: withinMs };
}

/** What state and meta may have at most is checked by the limits of jobs. */
const MOST_OPTION_BYTES = 2 ** 24;
const DEEPEST = 256;

function digestOf(draft: Omit<ScheduleDraft, 'tenantId'>): string {
  const { userId: _, declared: __, paused, ...says } = draft;
  return createHash('sha256')
    .update(canonicalJson({ ...says, paused: paused ?? null, tenantId: '' }))
    .digest('hex');
}

function neverDue({ cron, endAtMs }: Pick<ScheduleDraft, 'cron' | 'endAtMs'>): Error {
  const end = endAtMs === null ? '' : new Date(endAtMs).toISOString();
  return cron === null
    ? badField('endAt', `is ${end}, so it would never be due: give a time that is still to come`)
    : badField(
        'cron',
        `would never be due${end === '' ? '' : ` before its end, ${end}`}: give times that are still to come`,
      );
}

function oneOf<T extends string>(value: unknown, known: readonly T[], field: string): T {
  const found = known.find((each) => each === value);
  if (found === undefined) {
    throw badField(field, `must be one of ${known.join(', ')}`);
  }
  return found;
}
