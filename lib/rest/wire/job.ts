import type { Job, JobEvent, JobLogLine, JobRun } from '../../model/job.js';
import type { JobPage } from '../../model/query.js';

/** Unix milliseconds, or null. */
function instant(at: Date | null): number | null {
  return at === null ? null : at.getTime();
}

/** A job as answers show it: every field, absent values null. */
export function jobToWire(job: Job) {
  return {
    id: job.id,
    tenant_id: job.tenantId,
    user_id: job.userId,
    idempotency_key: job.idempotencyKey,
    type: job.type,
    type_version: job.typeVersion,
    group: job.group,
    queue: job.queue,
    channel: job.channel,
    kind: job.kind,
    priority: job.priority,
    status: job.status,
    waiting_for: job.waitingFor,
    scheduled_at: job.scheduledAt.getTime(),
    run_at: job.runAt.getTime(),
    updated_at: job.updatedAt.getTime(),
    started_at: instant(job.startedAt),
    finished_at: instant(job.finishedAt),
    eta: instant(job.eta),
    locked_by: job.lockedBy,
    progress: job.progress,
    progress_details: job.progressDetails,
    completed: job.completed,
    total: job.total,
    details: job.details,
    timeout_sec: job.timeout / 1000,
    max_retries: job.maxRetries,
    retry_delay_sec: job.retryDelay / 1000,
    retries: job.retries,
    lost: job.lost,
    revision: job.revision,
    error: job.error,
    result: job.result,
    params: job.params,
    state: job.state,
    tags: job.tags,
    meta: job.meta,
    // Fields of the wire whose behaviour is not part of this version yet.
    check_in: null,
    check_in_at: null,
    cancel_requested_at: instant(job.cancelRequestedAt),
    status_hook: null,
    schedule_id: job.scheduleId,
    upstream_job_id: job.upstreamJobId,
    depends_on: job.dependsOn.map(({ id, onFailure }) => ({ id, on_failure: onFailure })),
    expires_at: instant(job.expiresAt),
  };
}

/** A job as answers show it. */
export type WireJob = ReturnType<typeof jobToWire>;

/** A page of the list, in the envelope that all lists share. */
export function jobPageToWire(page: JobPage) {
  return {
    page: page.page,
    limit: page.limit,
    total: page.total,
    total_is_exact: page.totalIsExact,
    order: page.order,
    next_cursor: page.nextCursor,
    jobs: page.jobs.map((job) => jobToWire(job)),
  };
}

export function runToWire(run: JobRun) {
  return {
    id: run.id,
    job_id: run.jobId,
    revision: run.revision,
    worker_id: run.workerId,
    started_at: instant(run.startedAt),
    updated_at: run.updatedAt.getTime(),
    ended_at: instant(run.endedAt),
    outcome: run.outcome,
    error: run.error,
    completed: run.completed,
    total: run.total,
  };
}

export function logLineToWire(line: JobLogLine) {
  return {
    seq: line.seq,
    at: line.at.getTime(),
    level: line.level,
    run_id: line.runId,
    message: line.message,
    fields: line.fields,
  };
}

/** An event as `data:` of the stream; what is not known is left out. */
export function eventToWire(event: JobEvent) {
  return {
    sequence: event.sequence,
    type: event.type,
    job_id: event.jobId,
    run_id: event.runId,
    at: event.at.getTime(),
    status: event.status,
    from: event.from,
    progress: event.progress,
    message: event.message,
  };
}
