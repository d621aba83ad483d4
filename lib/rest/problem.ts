import { HttpException } from '@nestjs/common';
import {
  isJobsError,
  type FieldError,
  type JobsError,
  type JobsErrorCode,
} from '../model/errors.js';
import type { JsonValue } from '../model/json.js';
import { Unidentified } from './identity.js';
import { InvalidRequest } from './invalid.js';
import { onTheWire } from './wire/names.js';

/** A problem document (RFC 9457). `code` is stable; members of the code's own stand beside it. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly errors?: readonly FieldError[];
  readonly instance?: string;
  readonly [member: string]: JsonValue | readonly FieldError[] | undefined;
}

/** A problem with what its answer needs besides the document. */
export interface ProblemAnswer {
  readonly problem: Problem;
  readonly retryAfterSec?: number;
  /** Whether the cause belongs in the host's log, since the document does not tell it. */
  readonly log: boolean;
}

/** The sentences that stand for errors whose own might name files, tables or addresses. */
const FIXED: Readonly<Record<string, string>> = {
  database_busy: 'The database is busy with other work. Nothing was changed; try again shortly.',
  database_unavailable: 'The database cannot be reached. Nothing was changed; try again shortly.',
};

const INTERNAL =
  'Something went wrong inside the server. Its log says what; nothing more is shown here.';

/** What to answer to anything thrown. */
export function problemOf(thrown: unknown): ProblemAnswer {
  if (isJobsError(thrown)) {
    return ofJobsError(thrown);
  }
  if (thrown instanceof HttpException) {
    return ofHttpException(thrown);
  }
  return {
    problem: document('internal_error', 500, INTERNAL),
    log: !(thrown instanceof Unidentified),
  };
}

function ofJobsError(error: JobsError): ProblemAnswer {
  if (error.status === 500) {
    return { problem: document('internal_error', 500, INTERNAL), log: true };
  }
  const fixed = FIXED[error.code];
  const { errors = [] } = error;
  const told =
    error instanceof InvalidRequest ? { detail: error.message, errors } : onTheWire(error, errors);
  const problem: Problem = {
    // Members first: none may take the place of the document's own.
    ...error.members,
    ...document(error.code, error.status, fixed ?? told.detail),
    ...(errors.length === 0 ? {} : { errors: told.errors }),
  };
  const wait = error.status === 423 || error.status === 503 ? 1 : undefined;
  const retryAfterSec = error.retryAfterSec ?? wait;
  return {
    problem,
    log: fixed !== undefined,
    ...(retryAfterSec === undefined ? {} : { retryAfterSec }),
  };
}

/** The codes of answers that guards and interceptors of the host give by throwing. */
const CODES: Readonly<Record<number, string>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  413: 'too_large',
};

function ofHttpException(exception: HttpException): ProblemAnswer {
  const status = exception.getStatus();
  const isServers = status >= 500;
  const code = CODES[status] ?? (isServers ? 'internal_error' : 'invalid_request');
  // An exception around another error carries that error's message, which is not for clients.
  const isWrapped = exception.getResponse() instanceof Error;
  const detail = isWrapped || status === 500 ? titleOf(code, status) : exception.message;
  return { problem: document(code, status, detail), log: isServers || isWrapped };
}

function document(code: string, status: number, detail: string): Problem {
  return {
    type: `urn:nestjs-jobs:problem:${code}`,
    title: titleOf(code, status),
    status,
    detail,
    code,
  };
}

/** One for each code that is sent. */
const TITLES: Readonly<
  Record<Exclude<JobsErrorCode, 'not_finished' | 'invalid_options' | 'schema_mismatch'>, string>
> = {
  invalid_request: 'The request is not valid',
  invalid_params: 'The params do not fit the job type',
  unknown_type: 'No such job type',
  unknown_dependency: 'There is no such job to depend on',
  init_failed: 'The job type refused the job',
  unauthorized: 'Who is asking is not known',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  illegal_transition: "Not possible in the job's status",
  idempotency_conflict: 'The idempotency key belongs to another job',
  duplicate_job: 'Such a job exists already',
  not_suspendable: 'The job type cannot be suspended',
  suspend_failed: 'The job type refused the suspension',
  resume_failed: 'The job could not be resumed',
  already_ended: 'The job has ended',
  lock_circle: 'The jobs would wait for each other',
  has_dependents: 'Other jobs wait for the job',
  type_not_here: 'This process does not have the job type',
  lease_lost: 'The run is no longer held',
  too_large: 'Too large',
  invalid_progress: 'The progress is not valid',
  try_later: 'Try again later',
  job_active: 'The job is at work',
  database_busy: 'The database is busy',
  database_unavailable: 'The database cannot be reached',
  internal_error: 'Internal error',
};

function titleOf(code: string, status: number): string {
  return Object.hasOwn(TITLES, code) ? TITLES[code as keyof typeof TITLES] : `HTTP ${status}`;
}
