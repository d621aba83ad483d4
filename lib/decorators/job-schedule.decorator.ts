import { JobsError } from '../model/errors.js';
import type { Class, JobHandler } from '../model/job-type.js';
import type { ScheduleJobOptions, ScheduleTiming } from '../model/schedule.js';

const SCHEDULES = 'nestjs-jobs:schedules';

/** What `@JobSchedule` takes beside a cron text. */
export interface JobScheduleOptions extends ScheduleTiming {
  /** Unique among the schedules that code declares. @default the id of the job type */
  readonly name?: string;
  /** The params of its jobs. @default the type's defaults */
  readonly params?: unknown;
  /** Whether it begins paused. @default false */
  readonly paused?: boolean;
  /** What its jobs are enqueued with. */
  readonly options?: ScheduleJobOptions;
}

/**
 * Makes jobs of the decorated type by a timetable, once per slot however many processes run. Boot
 * stores it; what an operator changes stays until the code says something else.
 */
export function JobSchedule(
  cronOrOptions: string | JobScheduleOptions,
): <T extends Class<JobHandler>>(target: T) => void {
  return (target) => {
    const options = typeof cronOrOptions === 'string' ? { cron: cronOrOptions } : cronOrOptions;
    if (typeof options !== 'object' || options === null) {
      throw new JobsError(
        'invalid_options',
        `@JobSchedule of ${target.name} says no times: give a cron text such as '0 3 * * *', or { every } or { after }.`,
      );
    }
    // Decorators are applied from the lowest to the highest.
    Reflect.defineMetadata(SCHEDULES, [options, ...schedulesOf(target)], target);
  };
}

/** What a class itself, not one it extends, declares by `@JobSchedule`. */
export function schedulesOf(target: unknown): readonly JobScheduleOptions[] {
  return typeof target === 'function'
    ? ((Reflect.getOwnMetadata(SCHEDULES, target) as readonly JobScheduleOptions[] | undefined) ??
        [])
    : [];
}
