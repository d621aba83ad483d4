import type { Job } from './job.js';

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
    check_in: job.checkIn,
    check_in_at: instant(job.checkInAt),
    cancel_requested_at: instant(job.cancelRequestedAt),
    status_hook: job.statusHook,
    schedule_id: job.scheduleId,
    upstream_job_id: job.upstreamJobId,
    depends_on: job.dependsOn.map(({ id, onFailure }) => ({ id, on_failure: onFailure })),
    expires_at: instant(job.expiresAt),
  };
}

/** A job as answers show it. */
export type WireJob = ReturnType<typeof jobToWire>;
