import { JobsError } from './errors.js';
import { isFinal, type JobStatus } from './job-status.js';

/** What tells jobs apart that wait for another one. */
export interface WaitingJob {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
}

/** Whether no worker and no hook is at a job, so that it may be deleted along with another one. */
export function isAtRest(status: JobStatus): boolean {
  return status === 'waiting' || status === 'suspended' || isFinal(status);
}

/** Why a job is not deleted with those that wait for it. */
export function stillActive(id: string, active: WaitingJob): JobsError {
  return new JobsError(
    'job_active',
    `Job ${id} cannot be deleted with its dependents: job ${active.id} (${active.type}) is ${active.status}. Cancel it first, or try again when it has ended.`,
    { retryAfterSec: 1, members: { job_id: active.id } },
  );
}
