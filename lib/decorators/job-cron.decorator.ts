import type { JobTypeOptions } from '../model/job-type.js';
import type { ScheduleTiming } from '../model/schedule.js';

const CRONS = 'nestjs-jobs:crons';

/** A cron text, or the one moment at which the method runs: a `Date`, or a luxon `DateTime`. */
export type CronTime = string | Date | { toJSDate(): Date };

/** What `@JobCron` takes: what `@Cron` of `@nestjs/schedule` does, and what jobs can do besides. */
export interface JobCronOptions
  extends
    Pick<
      JobTypeOptions,
      | 'group'
      | 'description'
      | 'timeout'
      | 'maxRetries'
      | 'retryDelay'
      | 'backoff'
      | 'retryOnTimeout'
    >,
    Pick<ScheduleTiming, 'startAt' | 'endAt' | 'overlap' | 'misfire'> {
  /** Name of the schedule, and of the job type where it can be one. @default `Class.method` */
  readonly name?: string;
  /** Time zone of the cron text. @default the process's own */
  readonly timeZone?: string;
  /** Minutes ahead of UTC, instead of a time zone. */
  readonly utcOffset?: number;
  /** `true` is overlap 'skip', which is the default here; `false` is overlap 'allow'. */
  readonly waitForCompletion?: boolean;
  /** Whether the schedule is paused. @default false */
  readonly disabled?: boolean;
  /** So many milliseconds after its start this process begins to make the method's jobs. */
  readonly initialDelay?: number;
  /** Taken and not needed: a worker holds its process, a producer does not. */
  readonly unrefTimeout?: boolean;
  /** Taken and not needed: what is late runs, what was missed is up to `misfire`. */
  readonly threshold?: number;
}

/** What {@link JobCron} said of a method. */
export interface DeclaredCron {
  readonly cronTime: CronTime;
  readonly options: JobCronOptions;
}

/**
 * Runs a method of any provider by a timetable: once per slot in the whole cluster, as a job with
 * history, log and retries. Takes what `@Cron` of `@nestjs/schedule` takes. The method is given the
 * job's context; what it returns is awaited and not kept.
 */
export function JobCron(cronTime: CronTime, options: JobCronOptions = {}): MethodDecorator {
  return (_target, _key, descriptor) => {
    const method: unknown = descriptor.value;
    if (typeof method === 'function') {
      Reflect.defineMetadata(CRONS, [{ cronTime, options }, ...cronsOf(method)], method);
    }
  };
}

/** What a method declares by `@JobCron`. */
export function cronsOf(method: unknown): readonly DeclaredCron[] {
  return typeof method === 'function'
    ? ((Reflect.getOwnMetadata(CRONS, method) as readonly DeclaredCron[] | undefined) ?? [])
    : [];
}
