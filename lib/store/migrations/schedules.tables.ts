import type { TableNames } from '../typeorm/table-names.js';
import type { TableSpec } from './table.js';

/** What schedules are (`JobScheduleEntity`): read seldom, written when somebody edits one. */
const SCHEDULES: TableSpec = {
  columns: {
    schedule_id: 'id',
    tenant_id: ['varied', 64],
    name: ['varied', 255],
    user_id: { kind: ['varied', 64], nullable: true },
    type: ['varied', 129],
    params: 'text',
    cron: { kind: ['varied', 256], nullable: true },
    time_zone: { kind: ['varied', 64], nullable: true },
    every_ms: { kind: 'number', nullable: true },
    after_ms: { kind: 'number', nullable: true },
    first_ms: { kind: 'number', nullable: true },
    start_at_ms: { kind: 'number', nullable: true },
    end_at_ms: { kind: 'number', nullable: true },
    overlap: ['word', 6],
    misfire: ['word', 4],
    paused: 'number',
    options: 'text',
    // What the code that declares it says, so that only a change of the code undoes an edit.
    declared: { kind: ['word', 64], nullable: true },
    created_at_ms: 'number',
    updated_at_ms: 'number',
  },
  key: ['schedule_id'],
  indexes: { job_schedules_name: { columns: ['tenant_id', 'name'], unique: true } },
};

/** Where schedules are: small rows, since each tick writes them. */
const TIMES: TableSpec = {
  columns: {
    schedule_id: 'id',
    type: ['varied', 129],
    // Grows with each write: who has read it may write if it has not grown.
    revision: 'number',
    // When to look at it next: its next slot, or when its claim is over.
    due_at_ms: { kind: 'number', nullable: true },
    next_run_at_ms: { kind: 'number', nullable: true },
    last_run_at_ms: { kind: 'number', nullable: true },
    last_job_id: { kind: 'id', nullable: true },
    // So long after the end of a run it is due; null where that is no matter, or while it is paused.
    after_ms: { kind: 'number', nullable: true },
  },
  key: ['schedule_id'],
  indexes: {
    job_schedule_times_due: { columns: ['due_at_ms', 'type'], where: 'due_at_ms IS NOT NULL' },
  },
};

/** Slots that have been, each once; those of the last hour. */
const SLOTS: TableSpec = {
  columns: { schedule_id: 'id', slot_ms: 'number', job_id: { kind: 'id', nullable: true } },
  key: ['schedule_id', 'slot_ms'],
};

/** Jobs of schedules that have not ended. */
const OPEN_JOBS: TableSpec = {
  columns: { seq: 'number', schedule_id: 'id', job_id: 'id' },
  key: ['seq'],
  indexes: { job_schedule_jobs_schedule: { columns: ['schedule_id', 'seq'] } },
};

/** The tables of schedules. */
export function scheduleTables(t: TableNames): readonly (readonly [string, TableSpec])[] {
  return [
    [t.schedules, SCHEDULES],
    [t.scheduleTimes, TIMES],
    [t.scheduleSlots, SLOTS],
    [t.scheduleJobs, OPEN_JOBS],
  ];
}
