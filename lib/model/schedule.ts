import type { Duration } from './duration.js';
import type { EnqueueOptions } from './enqueue-options.js';
import type { JobTypeRef } from './job-type.js';
import type { JsonValue } from './json.js';

/** What happens at a slot while a job of the schedule has not ended. */
export const SCHEDULE_OVERLAPS = ['skip', 'queue', 'allow', 'cancel'] as const;

/**
 * `skip`: the slot makes no job, so that there is never more than one; `queue`: one more may wait
 * until the one that runs has ended; `allow`: the slot does not care; `cancel`: the older job is
 * canceled.
 */
export type ScheduleOverlap = (typeof SCHEDULE_OVERLAPS)[number];

/** What becomes of slots that were missed. */
export const SCHEDULE_MISFIRES = ['once', 'skip', 'all'] as const;

/**
 * What becomes of slots that were missed while no process ran: `once`: one job for all of them;
 * `skip`: none; `all`: one each, for the latest hundred.
 */
export type ScheduleMisfire = (typeof SCHEDULE_MISFIRES)[number];

/** What the jobs of a schedule are enqueued with. */
export type ScheduleJobOptions = Pick<
  EnqueueOptions,
  | 'priority'
  | 'channel'
  | 'timeout'
  | 'maxRetries'
  | 'retryDelay'
  | 'state'
  | 'tags'
  | 'meta'
  | 'unique'
  | 'statusHook'
>;

/** When a schedule is due: one of `cron`, `every` and `after`. */
export interface ScheduleTiming {
  /** Five fields (minute, hour, day, month, weekday), or six with seconds first. */
  readonly cron?: string;
  /** The zone of `cron`: a name such as 'Europe/Berlin', or an offset such as '+05:30'. @default 'UTC' */
  readonly timeZone?: string;
  /** A fixed rate, at least a second: the first slot is `startAt`, or one period from now. */
  readonly every?: Duration;
  /** So long, at least a second, after the last run ended; the first is at `startAt`, or that long from now. */
  readonly after?: Duration;
  /** Not due before then. */
  readonly startAt?: Date;
  /** Not due after then. */
  readonly endAt?: Date;
  /** @default 'skip' */
  readonly overlap?: ScheduleOverlap;
  /** @default 'once' */
  readonly misfire?: ScheduleMisfire;
}

/** What `SchedulesService.upsert` takes. */
export interface ScheduleInput extends ScheduleTiming {
  /** 1–255 characters, unique in its tenant. */
  readonly name: string;
  /** The type of its jobs. */
  readonly type: JobTypeRef;
  /** The params of its jobs, checked as those of an enqueue. */
  readonly params?: unknown;
  /** @default as it is, false for a new one */
  readonly paused?: boolean;
  /** What its jobs are enqueued with. */
  readonly options?: ScheduleJobOptions;
}

/** A timetable that makes jobs; instants are `Date`, durations milliseconds, absent values null. */
export interface Schedule {
  /** UUID; the `scheduleId` of its jobs. */
  readonly id: string;
  readonly tenantId: string;
  /** Who made it, and whose jobs it makes. */
  readonly userId: string | null;
  readonly name: string;
  readonly type: string;
  /** The params as given; the class's defaults are added to each job. */
  readonly params: JsonValue;
  readonly cron: string | null;
  readonly timeZone: string | null;
  readonly every: number | null;
  readonly after: number | null;
  readonly startAt: Date | null;
  readonly endAt: Date | null;
  readonly overlap: ScheduleOverlap;
  readonly misfire: ScheduleMisfire;
  readonly paused: boolean;
  readonly options: ScheduleJobOptions;
  /** Null while it is paused, is over, or waits for the end of a run. */
  readonly nextRunAt: Date | null;
  /** When it made its latest job. */
  readonly lastRunAt: Date | null;
  readonly lastJobId: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A schedule and whether it was there before. */
export interface UpsertedSchedule extends Schedule {
  readonly outcome: 'created' | 'replaced';
}
