import type { Job, JobKind, LogLevel } from './job.js';
import type { JobStatus } from './job-status.js';

/** What `order` takes; a leading `-` means descending. */
export const ORDER_FIELDS = [
  'id',
  'scheduled_at',
  'run_at',
  'updated_at',
  'started_at',
  'finished_at',
  'priority',
] as const;

/** What a list may be ordered by. */
export type OrderField = (typeof ORDER_FIELDS)[number];

/** Filters, order and page of a list; everything is optional. */
export interface JobQuery {
  /** Only this tenant's jobs; all of them when absent. */
  readonly tenantId?: string;
  /** From 1; not with `cursor`; page × limit is at most 10,000. @default 1 */
  readonly page?: number;
  /** 1–1,000. @default 50 */
  readonly limit?: number;
  /** `nextCursor` of the page before; its order and filters must be the same. */
  readonly cursor?: string;
  /** As on the wire: `'-scheduled_at'`, `'priority,-run_at'`; ties go by id. @default '-scheduled_at' */
  readonly order?: string;
  readonly status?: JobStatus | readonly JobStatus[];
  readonly type?: string | readonly string[];
  readonly group?: string;
  readonly queue?: string;
  readonly channel?: string;
  readonly kind?: JobKind;
  readonly tag?: string;
  readonly userId?: string;
  /** Only jobs that this schedule made. */
  readonly scheduleId?: string;
  readonly upstreamJobId?: string;
  readonly idempotencyKey?: string;
  readonly scheduledAfter?: Date;
  readonly scheduledBefore?: Date;
  /** An id, or the beginning of a type or an idempotency key. */
  readonly q?: string;
}

/** A page of jobs. */
export interface JobPage {
  readonly page: number;
  readonly limit: number;
  /** The true count up to 10,000. */
  readonly total: number;
  readonly totalIsExact: boolean;
  /** The order in force, as on the wire. */
  readonly order: string;
  readonly nextCursor: string | null;
  readonly jobs: readonly Job[];
}

/** Which lines of a job's log. */
export interface LogQuery {
  readonly tenantId?: string;
  /** Lines after this `seq`. @default 0 */
  readonly after?: number;
  /** The lowest level shown. @default 'trace' */
  readonly level?: LogLevel;
  /** 1–1,000. @default 200 */
  readonly limit?: number;
  /** The last so many lines instead of the first. */
  readonly tail?: number;
}
