import type { JobEntity } from '../entities/job.entity.js';
import { JobsError } from '../model/errors.js';
import type { JobOperation, OperationEffect } from '../model/operations.js';

const RETRY_AFTER_SEC = 1;

const TARGETS: Readonly<Record<JobOperation, string>> = {
  cancel: 'canceled',
  suspend: 'suspended',
  resume: 'waiting',
  skip: 'skipped',
  fail: 'failed',
  retry: 'waiting',
  delete: 'deleted',
};

/** Whether an operation changes nothing because it must not, now or at all. */
export function isRefused(effect: OperationEffect): effect is 'refused' | 'later' {
  return effect === 'refused' || effect === 'later';
}

/** The error of an operation that the job's status forbids. */
export function refusal(
  operation: JobOperation,
  job: JobEntity,
  effect: 'refused' | 'later',
): JobsError {
  const members = { from: job.status, to: TARGETS[operation] };
  if (effect === 'later') {
    return new JobsError(
      operation === 'delete' ? 'job_active' : 'try_later',
      `Job ${job.id} is ${job.status}, so "${operation}" must wait until that is over${operation === 'delete' ? '; cancel it first' : ''}. Try again.`,
      { members, retryAfterSec: RETRY_AFTER_SEC },
    );
  }
  return new JobsError(
    'illegal_transition',
    `Job ${job.id} is ${job.status}: "${operation}" would make it ${TARGETS[operation]}, which is not allowed from there.`,
    { members },
  );
}
