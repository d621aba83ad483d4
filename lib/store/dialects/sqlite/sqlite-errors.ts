import type { FailureKind } from '../session.js';

const BUSY = /^SQLITE_(BUSY|LOCKED)/;
const UNAVAILABLE = /^SQLITE_(FULL|IOERR|READONLY|CANTOPEN|NOTADB|CORRUPT|PERM|NOMEM)/;

/** What an error of either SQLite driver means; TypeORM's wrapper is looked through. */
export function classifySqliteError(thrown: unknown): FailureKind {
  const code = sqliteCode(thrown);
  if (code === undefined) {
    return 'error';
  }
  return BUSY.test(code) ? 'busy' : UNAVAILABLE.test(code) ? 'unavailable' : 'error';
}

/** The `SQLITE_…` code of an error of either driver. */
export function sqliteCode(thrown: unknown): string | undefined {
  for (let error = thrown; typeof error === 'object' && error !== null;) {
    if ('code' in error && typeof error.code === 'string' && error.code.startsWith('SQLITE_')) {
      return error.code;
    }
    error = 'driverError' in error ? error.driverError : 'cause' in error ? error.cause : undefined;
  }
  return undefined;
}
