import type { JsonValue } from '../../model/json.js';
import type {
  Schedule,
  ScheduleInput,
  ScheduleJobOptions,
  ScheduleMisfire,
  ScheduleOverlap,
} from '../../model/schedule.js';
import { invalid } from '../invalid.js';
import { date, jobOptions, milliseconds, present, type JobOptionsBody } from './requests.js';

/** As `PUT_SCHEDULE` and `CREATE_SCHEDULE` have it. */
export interface ScheduleBody {
  readonly name?: string;
  readonly type: string;
  readonly params?: JsonValue;
  readonly cron?: string | null;
  readonly time_zone?: string | null;
  readonly every_sec?: number | null;
  readonly after_sec?: number | null;
  readonly start_at?: number | null;
  readonly end_at?: number | null;
  readonly overlap?: ScheduleOverlap;
  readonly misfire?: ScheduleMisfire;
  readonly paused?: boolean;
  readonly options?: JobOptionsBody;
}

/** What `upsert` takes, from a body; `name` is that of the path, where it has one. */
export function scheduleInput(body: ScheduleBody, name: string | undefined): ScheduleInput {
  if (name !== undefined && body.name !== undefined && body.name !== name) {
    throw invalid('body', [{ field: 'name', message: 'is not the one in the path: leave it out' }]);
  }
  const rhythms = [body.cron, body.every_sec, body.after_sec];
  if (rhythms.filter((each) => each !== undefined && each !== null).length !== 1) {
    const message = 'or every_sec or after_sec must be given, and only one of them';
    throw invalid('body', [{ field: 'cron', message }]);
  }
  return present({
    name: name ?? body.name ?? '',
    type: body.type,
    params: body.params,
    cron: body.cron ?? undefined,
    timeZone: body.time_zone ?? undefined,
    every: milliseconds(body.every_sec ?? undefined),
    after: milliseconds(body.after_sec ?? undefined),
    startAt: date(body.start_at ?? undefined),
    endAt: date(body.end_at ?? undefined),
    overlap: body.overlap,
    misfire: body.misfire,
    paused: body.paused,
    options: body.options === undefined ? undefined : present(jobOptions(body.options)),
  });
}

/** A schedule as answers show it: every field, absent values null. */
export function scheduleToWire(schedule: Schedule) {
  return {
    id: schedule.id,
    tenant_id: schedule.tenantId,
    user_id: schedule.userId,
    name: schedule.name,
    type: schedule.type,
    params: schedule.params,
    cron: schedule.cron,
    time_zone: schedule.timeZone,
    every_sec: seconds(schedule.every),
    after_sec: seconds(schedule.after),
    start_at: instant(schedule.startAt),
    end_at: instant(schedule.endAt),
    overlap: schedule.overlap,
    misfire: schedule.misfire,
    paused: schedule.paused,
    options: optionsToWire(schedule.options),
    next_run_at: instant(schedule.nextRunAt),
    last_run_at: instant(schedule.lastRunAt),
    last_job_id: schedule.lastJobId,
    created_at: schedule.createdAt.getTime(),
    updated_at: schedule.updatedAt.getTime(),
  };
}

function optionsToWire(options: ScheduleJobOptions): object {
  return present({
    priority: options.priority,
    channel: options.channel,
    // They are stored as milliseconds.
    timeout_sec: seconds(options.timeout),
    max_retries: options.maxRetries,
    retry_delay_sec: seconds(options.retryDelay),
    state: options.state,
    tags: options.tags,
    meta: options.meta,
    unique: uniqueToWire(options.unique),
    status_hook: options.statusHook,
  });
}

function uniqueToWire(unique: ScheduleJobOptions['unique']): object | true | undefined {
  return unique === undefined || unique === true
    ? unique
    : present({
        key: unique.key,
        until: unique.until,
        within_sec: seconds(unique.within),
        on_conflict: unique.onConflict,
      });
}

function seconds<T>(ms: T): number | Extract<T, null | undefined> {
  return typeof ms === 'number' ? ms / 1000 : (ms as Extract<T, null | undefined>);
}

function instant(at: Date | null): number | null {
  return at === null ? null : at.getTime();
}
