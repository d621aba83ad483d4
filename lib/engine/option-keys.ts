import { JobsError } from '../model/errors.js';
import type { ScheduleJobOptions } from '../model/schedule.js';

/** What may be said of one job as of all jobs of a schedule. */
const JOB_OPTIONS: Readonly<Record<keyof ScheduleJobOptions, true>> = {
  priority: true,
  channel: true,
  timeout: true,
  maxRetries: true,
  retryDelay: true,
  state: true,
  tags: true,
  meta: true,
  unique: true,
  statusHook: true,
};

/** What the jobs of a schedule may be enqueued with. */
export const SCHEDULE_OPTION_KEYS: ReadonlySet<string> = new Set(Object.keys(JOB_OPTIONS));

/** What an enqueue takes, in code. */
export const ENQUEUE_KEYS: ReadonlySet<string> = new Set([
  'idempotencyKey',
  'runAt',
  'delay',
  ...SCHEDULE_OPTION_KEYS,
  'expiresAt',
  'dependsOn',
  'tenantId',
  'userId',
  'manager',
]);

/** What an item of `enqueueMany` takes. */
export const ITEM_KEYS: ReadonlySet<string> = new Set(
  ['type', 'params', ...ENQUEUE_KEYS].filter((key) => key !== 'manager'),
);

/** What `update` changes. */
export const PATCH_KEYS: ReadonlySet<string> = new Set([
  'priority',
  'runAt',
  'timeout',
  'maxRetries',
  'retryDelay',
  'tags',
]);

/** What `setRetryPolicy` takes. */
export const POLICY_KEYS: ReadonlySet<string> = new Set(['timeout', 'maxRetries', 'retryDelay']);

/**
 * A misspelt option must not be ignored: the job would run without it.
 *
 * @throws JobsError `invalid_request` that names the first key that is not known, or the argument
 *   that is no object
 */
export function checkOptionKeys(
  options: object,
  known: ReadonlySet<string>,
  what = 'options',
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new JobsError(
      'invalid_request',
      `${what} must be an object, which may have ${[...known].join(', ')}.`,
      { errors: [{ field: what, message: 'must be an object' }] },
    );
  }
  for (const key in options) {
    if (!known.has(key) && options[key as keyof typeof options] !== undefined) {
      throw new JobsError(
        'invalid_request',
        `The option "${key}" is unknown: remove it, or use one of ${[...known].join(', ')}.`,
        { errors: [{ field: key, message: 'is unknown' }] },
      );
    }
  }
}
