import { JobScheduleEntity } from '../../entities/job-schedule.entity.js';
import type { Row, SqlValue } from '../dialects/sql.js';
import type { ScheduleTimes, StoredSchedule } from '../store.js';

/** The columns of `job_schedules` and the fields that hold them, in the order in which they are read. */
const DEFINITION = {
  schedule_id: 'id',
  tenant_id: 'tenantId',
  name: 'name',
  user_id: 'userId',
  type: 'type',
  params: 'params',
  cron: 'cron',
  time_zone: 'timeZone',
  every_ms: 'everyMs',
  after_ms: 'afterMs',
  first_ms: 'firstMs',
  start_at_ms: 'startAtMs',
  end_at_ms: 'endAtMs',
  overlap: 'overlap',
  misfire: 'misfire',
  paused: 'paused',
  options: 'options',
  declared: 'declared',
  created_at_ms: 'createdAtMs',
  updated_at_ms: 'updatedAtMs',
} as const satisfies Readonly<Record<string, keyof JobScheduleEntity>>;

const NUMBERS: ReadonlySet<string> = new Set([
  'everyMs',
  'afterMs',
  'firstMs',
  'startAtMs',
  'endAtMs',
  'paused',
  'createdAtMs',
  'updatedAtMs',
]);

export const DEFINITION_COLUMNS = Object.keys(DEFINITION);
const FIELDS = Object.values(DEFINITION);

/** The columns of `job_schedule_times`, and of what kind they are. */
export const TIMES = {
  schedule_id: 'text',
  type: 'text',
  revision: 'number',
  due_at_ms: 'number',
  next_run_at_ms: 'number',
  last_run_at_ms: 'number',
  last_job_id: 'text',
  after_ms: 'number',
} as const;

/** What of them is read. */
const TIMES_READ = ['revision', 'next_run_at_ms', 'last_run_at_ms', 'last_job_id'];

/** What is selected of a schedule, of tables that are called `schedule` and `times`. */
export const SCHEDULE_SELECT = [
  ...DEFINITION_COLUMNS.map((column) => `schedule.${column}`),
  ...TIMES_READ.map((column) => `times.${column}`),
].join(', ');

/** A schedule of such a row. */
export function scheduleOfRow(row: Row): StoredSchedule {
  const definition = new JobScheduleEntity();
  FIELDS.forEach((field, at) => {
    const value = row[at] ?? null;
    Object.assign(definition, {
      [field]: value !== null && NUMBERS.has(field) ? Number(value) : value,
    });
  });
  return { definition, times: timesOfRow(row.slice(FIELDS.length)) };
}

function timesOfRow([revision, next, last, jobId]: Row): ScheduleTimes {
  return {
    revision: Number(revision),
    nextRunAtMs: numberOrNull(next),
    lastRunAtMs: numberOrNull(last),
    lastJobId: jobId === null || jobId === undefined ? null : String(jobId),
  };
}

/** The values of a definition, in the order of its columns. */
export function valuesOfDefinition(definition: JobScheduleEntity): readonly SqlValue[] {
  return FIELDS.map((field) => definition[field]);
}

/** The values of a row of `job_schedule_times`. */
export function valuesOfTimes(
  { id, type, afterMs, paused }: JobScheduleEntity,
  times: ScheduleTimes,
): readonly SqlValue[] {
  return [
    id,
    type,
    times.revision,
    times.nextRunAtMs,
    times.nextRunAtMs,
    times.lastRunAtMs,
    times.lastJobId,
    paused === 1 ? null : afterMs,
  ];
}

function numberOrNull(value: SqlValue | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
