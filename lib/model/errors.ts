import type { JsonValue } from './json.js';

/**
 * Every code an error of this package can carry, with the HTTP status the REST layer answers.
 * `not_finished` and `invalid_options` appear in code only; their status is never sent.
 */
export const JOBS_ERROR_STATUS = {
  invalid_request: 400,
  invalid_params: 400,
  unknown_type: 400,
  unknown_dependency: 400,
  init_failed: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  illegal_transition: 409,
  idempotency_conflict: 409,
  duplicate_job: 409,
  not_suspendable: 409,
  suspend_failed: 409,
  resume_failed: 409,
  already_ended: 409,
  lock_circle: 409,
  has_dependents: 409,
  type_not_here: 409,
  lease_lost: 410,
  too_large: 413,
  try_later: 423,
  job_active: 423,
  invalid_progress: 400,
  internal_error: 500,
  database_busy: 503,
  database_unavailable: 503,
  not_finished: 408,
  invalid_options: 500,
  schema_mismatch: 500,
} as const;

/** A stable, machine-readable reason; the wire's `code`. */
export type JobsErrorCode = keyof typeof JOBS_ERROR_STATUS;

/** One thing wrong with one field; `field` is a path such as `params.items.0.url`. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** What an error carries besides its code and sentence. */
export interface JobsErrorOptions {
  readonly cause?: unknown;
  /** What is wrong, field by field. */
  readonly errors?: readonly FieldError[];
  /** Extra members of the problem document, snake_case, such as `job_id` or `resource`. */
  readonly members?: Readonly<Record<string, JsonValue>>;
  /** After how many seconds another try makes sense (`Retry-After`). */
  readonly retryAfterSec?: number;
}

/**
 * The one family of errors. `code` is stable and the same as on the wire; the message says what
 * happened, to what, and what to do.
 */
export class JobsError extends Error {
  override readonly name: string = 'JobsError';
  readonly code: JobsErrorCode;
  /** The HTTP status that the REST layer answers with. */
  readonly status: number;
  readonly errors: readonly FieldError[] | undefined;
  readonly members: Readonly<Record<string, JsonValue>>;
  readonly retryAfterSec: number | undefined;

  constructor(code: JobsErrorCode, message: string, options: JobsErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = JOBS_ERROR_STATUS[code];
    this.errors = options.errors;
    this.members = options.members ?? {};
    this.retryAfterSec = options.retryAfterSec;
  }
}

/** Whether something thrown is a {@link JobsError}, also one of another copy of this package. */
export function isJobsError(thrown: unknown): thrown is JobsError {
  return (
    thrown instanceof Error &&
    thrown.name === 'JobsError' &&
    'code' in thrown &&
    typeof thrown.code === 'string' &&
    thrown.code in JOBS_ERROR_STATUS
  );
}

/** The 404 of a resource that does not exist, or not for this tenant. */
export function notFound(resource: string, id: string): JobsError {
  const why =
    resource === 'job'
      ? 'Check the id; an ended job may have been removed by retention.'
      : `Check the name, or list what there is.`;
  return new JobsError('not_found', `There is no ${resource} "${id}". ${why}`, {
    members: { resource },
  });
}

/** What is asked of an engine after its end. */
export function closedError(): JobsError {
  return new JobsError(
    'database_unavailable',
    'The jobs engine has been closed with its application, so nothing was read or written. Call it before the application closes.',
  );
}
