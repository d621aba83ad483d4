import { durationMs } from '../model/duration.js';
import { JobsError } from '../model/errors.js';
import type { RetryPolicy } from '../model/job.js';
import { checkOptionKeys, POLICY_KEYS } from './option-keys.js';

/** The columns of a retry policy; what is absent stays. */
export interface PolicyColumns {
  maxRetries?: number;
  retryDelaySec?: number;
  timeoutSec?: number;
}

/** The columns of what `setRetryPolicy` is given. @throws JobsError `invalid_request` that names the field */
export function checkedPolicy(policy: RetryPolicy): PolicyColumns {
  checkOptionKeys(policy, POLICY_KEYS, 'policy');
  return policyColumns(policy);
}

/** @throws JobsError `invalid_request` that names the field */
export function policyColumns(policy: RetryPolicy): PolicyColumns {
  const columns: PolicyColumns = {};
  if (policy.maxRetries !== undefined) {
    columns.maxRetries = wholeNumber(policy.maxRetries, 'maxRetries');
  }
  if (policy.retryDelay !== undefined) {
    columns.retryDelaySec = durationMs(policy.retryDelay, 'retryDelay') / 1000;
  }
  if (policy.timeout !== undefined) {
    columns.timeoutSec = durationMs(policy.timeout, 'timeout') / 1000;
  }
  return columns;
}

/** @throws JobsError `invalid_request` for anything but a whole number from `least` */
export function wholeNumber(value: unknown, what: string, least = 0, most = 2 ** 31 - 1): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    throw new JobsError(
      'invalid_request',
      `${what} is ${String(value)}: use a whole number from ${least} to ${most}.`,
      {
        errors: [{ field: what, message: `must be a whole number from ${least} to ${most}` }],
      },
    );
  }
  return value;
}
