import { JobsError } from '../../model/errors.js';
import { STATEMENT_MS } from './shared/answer-patience.js';

/** Somebody else kept the lock for too long. */
export function busyError(waitedMs: number): JobsError {
  return new JobsError(
    'database_busy',
    `The database was locked by another connection for ${waitedMs / 1000} s, so nothing was written. If this call is made inside a transaction of the application, pass its EntityManager as \`manager\`; else try again.`,
    { retryAfterSec: 1 },
  );
}

/** The server has ended a statement, as we have told it to. */
export function slowError(cause: unknown): JobsError {
  return new JobsError(
    'database_busy',
    `The database ended a statement of this call, as each may take ${STATEMENT_MS / 1000} s at most, so the call has done nothing. Try again, a list with more filters; if it stays so, look for what keeps the server busy: locks, a full disk queue, indexes that are missing.`,
    { cause, retryAfterSec: 5 },
  );
}

/** The database cannot be written. */
export function unavailableError(cause: unknown): JobsError {
  return new JobsError(
    'database_unavailable',
    'The database cannot be written now, so nothing was stored. Check that it is reachable, writable and has space, then try again.',
    { cause, retryAfterSec: 5 },
  );
}

/** Nobody can say whether it was written. */
export function answerLostError(cause: unknown): JobsError {
  return new JobsError(
    'database_unavailable',
    'The connection to the jobs database broke while this was being stored, so it is not known whether it was. Look when the database can be reached again; an enqueue with an idempotency key can simply be made again.',
    { cause, retryAfterSec: 5 },
  );
}
