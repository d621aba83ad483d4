import type { OnFailure } from '../../model/dependencies.js';
import type { EnqueueOptions } from '../../model/enqueue-options.js';
import type { JobKind, LogLevel } from '../../model/job.js';
import type { JobStatus } from '../../model/job-status.js';
import type { JsonObject, JsonValue } from '../../model/json.js';
import type { JobQuery } from '../../model/query.js';
import type { UniqueConflict, UniqueUntil } from '../../model/unique.js';
import type { Caller } from '../identity.js';
import { invalid } from '../invalid.js';

/** What may be said of one job as of all jobs of a schedule. */
export interface JobOptionsBody {
  readonly priority?: number;
  readonly channel?: string;
  readonly timeout_sec?: number;
  readonly max_retries?: number;
  readonly retry_delay_sec?: number;
  readonly state?: JsonValue;
  readonly tags?: readonly string[];
  readonly meta?: JsonObject;
  readonly unique?:
    | true
    | {
        readonly key?: string;
        readonly until?: UniqueUntil;
        readonly within_sec?: number;
        readonly on_conflict?: UniqueConflict;
      };
  readonly status_hook?: string;
}

/** As `CREATE_JOB` has it. */
export interface CreateJobBody extends JobOptionsBody {
  readonly type: string;
  readonly idempotency_key?: string;
  readonly params?: JsonValue;
  readonly run_at?: number;
  readonly delay_sec?: number;
  readonly expires_at?: number;
  readonly depends_on?: readonly (
    string | { readonly id: string; readonly on_failure?: OnFailure }
  )[];
}

/** As `CREATE_JOBS` has it. */
export interface CreateJobsBody {
  readonly jobs: readonly CreateJobBody[];
  readonly on_conflict?: 'fail' | 'ignore';
}

/** As `CREATE_FLOW` has it. */
export interface CreateFlowBody {
  readonly jobs: Readonly<Record<string, CreateJobBody>>;
}

/** As `UPDATE_JOB` has it. */
export interface UpdateJobBody {
  readonly priority?: number;
  readonly run_at?: number;
  readonly timeout_sec?: number;
  readonly max_retries?: number;
  readonly retry_delay_sec?: number;
  readonly tags?: readonly string[];
}

/** As `WITH_REASON` has it. */
export interface ReasonBody {
  readonly reason?: string;
}

/** As `FAIL_JOB` has it. */
export interface FailJobBody extends ReasonBody {
  readonly result?: JsonValue;
}

/** As `SEND_SIGNAL` has it. */
export interface SignalBody {
  readonly payload?: JsonValue;
}

/** As `READ_LOGS` has it. */
export interface LogsQuery {
  readonly after?: number;
  readonly level?: LogLevel;
  readonly limit?: number;
  readonly tail?: number;
}

/** Pages of any list. */
export interface PageQuery {
  readonly page?: number;
  readonly limit?: number;
  readonly page_size?: number;
  readonly cursor?: string;
}

/** As `LIST_WORKERS` has it. */
export interface ListWorkersQuery extends PageQuery {
  readonly older_than_sec?: number;
}

/** As `LIST_RUNS` has it. */
export interface ListRunsQuery extends PageQuery {
  readonly older_than_sec?: number;
  readonly worker_id?: string;
}

/** As `LIST_JOBS` has it. */
export interface ListJobsQuery extends PageQuery {
  readonly order?: string;
  readonly status?: readonly JobStatus[];
  readonly type?: readonly string[];
  readonly group?: string;
  readonly queue?: string;
  readonly channel?: string;
  readonly kind?: JobKind;
  readonly tag?: string;
  readonly user_id?: string;
  readonly schedule_id?: string;
  readonly upstream_job_id?: string;
  readonly idempotency_key?: string;
  readonly scheduled_after?: number;
  readonly scheduled_before?: number;
  readonly q?: string;
}

/** Options of `enqueue` from a body; `at` prefixes field paths, such as `jobs.3.`. */
export function enqueueOptions(
  body: CreateJobBody,
  caller: Caller,
  at = '',
): Omit<EnqueueOptions, 'manager'> {
  if (body.run_at !== undefined && body.delay_sec !== undefined) {
    throw invalid('body', [{ field: `${at}delay_sec`, message: 'must not be given with run_at' }]);
  }
  return present({
    idempotencyKey: body.idempotency_key,
    runAt: date(body.run_at),
    delay: milliseconds(body.delay_sec),
    ...jobOptions(body),
    expiresAt: date(body.expires_at),
    dependsOn: body.depends_on?.map((each) =>
      typeof each === 'string' ? each : present({ id: each.id, onFailure: each.on_failure }),
    ),
    tenantId: caller.tenantId,
    userId: caller.userId,
  });
}

/** The options that jobs of schedules may have too, absent ones undefined. */
export function jobOptions(body: JobOptionsBody) {
  return {
    priority: body.priority,
    channel: body.channel,
    timeout: milliseconds(body.timeout_sec),
    maxRetries: body.max_retries,
    retryDelay: milliseconds(body.retry_delay_sec),
    state: body.state,
    tags: body.tags,
    meta: body.meta,
    unique: uniqueOption(body.unique),
    statusHook: body.status_hook,
  };
}

function uniqueOption(given: CreateJobBody['unique']): EnqueueOptions['unique'] {
  return given === undefined || given === true
    ? given
    : present({
        key: given.key,
        until: given.until,
        within: milliseconds(given.within_sec),
        onConflict: given.on_conflict,
      });
}

/** The patch of `update` from a body. */
export function jobPatch(body: UpdateJobBody) {
  return present({
    priority: body.priority,
    runAt: date(body.run_at),
    timeout: milliseconds(body.timeout_sec),
    maxRetries: body.max_retries,
    retryDelay: milliseconds(body.retry_delay_sec),
    tags: body.tags,
  });
}

/** How far pages go; beyond, a cursor does it without counting up to the page. */
const MAX_OFFSET = 10_000;

/** Which page is asked for, with defaults. */
export function pageOf(query: PageQuery): { page: number; limit: number } {
  if (query.limit !== undefined && query.page_size !== undefined) {
    throw invalid('query', [{ field: 'page_size', message: 'is another name of limit: give one' }]);
  }
  if (query.page !== undefined && query.cursor !== undefined) {
    throw invalid('query', [{ field: 'cursor', message: 'must not be given with page' }]);
  }
  const page = query.page ?? 1;
  const limit = query.limit ?? query.page_size ?? 50;
  if (page * limit > MAX_OFFSET) {
    const message = `× limit is more than ${MAX_OFFSET}: go on with cursor, which takes next_cursor`;
    throw invalid('query', [{ field: 'page', message }]);
  }
  return { page, limit };
}

/** The query of `list` from parameters. */
export function jobQuery(query: ListJobsQuery, tenantId: string): JobQuery {
  const { page, limit } = pageOf(query);
  return present({
    tenantId,
    // Without a page the service is free to follow the cursor.
    page: query.cursor === undefined ? page : undefined,
    limit,
    cursor: query.cursor,
    order: query.order,
    status: query.status,
    type: query.type,
    group: query.group,
    queue: query.queue,
    channel: query.channel,
    kind: query.kind,
    tag: query.tag,
    userId: query.user_id,
    scheduleId: query.schedule_id?.toLowerCase(),
    upstreamJobId: query.upstream_job_id?.toLowerCase(),
    idempotencyKey: query.idempotency_key,
    scheduledAfter: date(query.scheduled_after),
    scheduledBefore: date(query.scheduled_before),
    // Nothing typed into a search field is no search.
    q: query.q === '' ? undefined : query.q,
  });
}

/** The options of `WorkersService.runs` from parameters. */
export function runsQuery(query: ListRunsQuery) {
  const { page, limit } = pageOf(query);
  return present({
    page: query.cursor === undefined ? page : undefined,
    limit,
    cursor: query.cursor,
    olderThan: milliseconds(query.older_than_sec),
    workerId: query.worker_id,
  });
}

export function date(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms);
}

export function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000);
}

/** The object without what is undefined: an absent option is not one that is set to nothing. */
export function present<T extends object>(
  options: T,
): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
