import type { DataSource } from 'typeorm';
import { JobsError } from '../../model/errors.js';

interface Place {
  readonly type: string;
  readonly url?: unknown;
  readonly host?: unknown;
  readonly port?: unknown;
  readonly database?: unknown;
}

/** Where the database of a server is, as the data source says it. */
export function placeOf(dataSource: DataSource): string {
  const { type, url, host, port, database }: Place = dataSource.options;
  return JSON.stringify([type, url, host, port, database]);
}

/** The server cannot be reached. */
export function unreachable(cause: unknown): JobsError {
  return new JobsError(
    'database_unavailable',
    'The jobs database cannot be reached or written now. Check that the server runs, takes connections of this user, and is not read-only; it is tried again by itself.',
    { cause, retryAfterSec: 5 },
  );
}
