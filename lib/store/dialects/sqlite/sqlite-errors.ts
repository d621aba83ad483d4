import type { FailureKind } from '../session.js';

const BUSY = /^SQLITE_(BUSY|LOCKED)/;
const UNAVAILABLE = /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN|NOTADB|CORRUPT|PERM|NOMEM)/;
/** In memory the one connection is shared: the application has a transaction open on it. */
const IN_TRANSACTION = /cannot start a transaction within a transaction/;

/** What an error of either SQLite driver means; TypeORM's wrapper is looked through. */
export function classifySqliteError(thrown: unknown): FailureKind {
  const error = sqliteError(thrown);
  if (error === undefined) {
    return 'error';
  }
  return BUSY.test(error.code) || IN_TRANSACTION.test(error.message)
    ? 'busy'
    : UNAVAILABLE.test(error.code)
      ? 'unavailable'
      : 'error';
}

function sqliteError(
  thrown: unknown,
): { readonly code: string; readonly message: string } | undefined {
  for (let error = thrown; typeof error === 'object' && error !== null;) {
    if ('code' in error && typeof error.code === 'string' && error.code.startsWith('SQLITE_')) {
      return { code: error.code, message: 'message' in error ? String(error.message) : '' };
    }
    error = 'driverError' in error ? error.driverError : 'cause' in error ? error.cause : undefined;
  }
  return undefined;
}
