import { jobToWire } from '../../model/job-wire.js';
import type { JobEvent, JobLogLine, JobRun } from '../../model/job.js';
import type { JobPage } from '../../model/query.js';

export { jobToWire, type WireJob } from '../../model/job-wire.js';

/** Unix milliseconds, or null. */
function instant(at: Date | null): number | null {
  return at === null ? null : at.getTime();
}

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
    actor: event.actor,
  };
}
