import type { DataSource } from 'typeorm';
import { JobsError } from '../../../model/errors.js';

/** What is used of the driver `pg`: the host's data source has loaded it, we never import it. */
export interface PgModule {
  readonly Client: new (config: object) => PgClient;
}

/** A connection of `pg`. */
export interface PgClient {
  /** The server's process that serves it. */
  readonly processID?: number | null;
  connect(): Promise<unknown>;
  end(): Promise<void>;
  query(config: PgQuery): Promise<PgResult>;
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown;
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): unknown;
}

/** A statement as the driver takes it. */
export interface PgQuery {
  readonly text: string;
  readonly name?: string;
  readonly values?: unknown[];
  readonly rowMode: 'array';
  readonly types: PgTypes;
}

/** How values are read. */
export interface PgTypes {
  getTypeParser(oid: number, format?: string): (value: string) => unknown;
}

/** What a statement gave; a text of several statements gives an array of them. */
export interface PgResult {
  readonly rows: unknown[][];
  readonly rowCount: number | null;
}

interface PgDriver {
  readonly options: unknown;
  readonly postgres?: PgModule & {
    readonly types?: { getTypeParser(oid: number, format?: string): (value: string) => unknown };
  };
  readonly master?: { readonly options?: Readonly<Record<string, unknown>> };
}

const INT8 = 20;
const BOOL = 16;
const NUMERIC = 1700;

const asNumber = (value: string): number => Number(value);
const asBit = (value: string): number => (value === 't' ? 1 : 0);
const asText = (value: string): string => value;
const FLOATS: readonly number[] = [21, 23, 26, 700, 701, INT8, NUMERIC];

/**
 * Values as SQLite gives them: numbers are numbers, truth is 1 or 0, everything else is text. The
 * host may have changed the driver's parsers for its own queries; ours are not touched by that.
 */
export const PG_TYPES: PgTypes = {
  getTypeParser: (oid) => (FLOATS.includes(oid) ? asNumber : oid === BOOL ? asBit : asText),
};

/** Makes connections like those of the host's own pool. */
export function clientMaker(host: DataSource, applicationName: string): () => PgClient {
  const driver: PgDriver = host.driver;
  const { postgres, master } = driver;
  if (postgres === undefined || master?.options === undefined) {
    throw new JobsError(
      'database_unavailable',
      'The data source of the application has not been initialized, so the jobs database cannot be reached; it is tried again by itself.',
      { retryAfterSec: 5 },
    );
  }
  const { options } = master;
  // The pool hides the password from enumeration, so it is named.
  const config = {
    ...options,
    password: options['password'],
    application_name: applicationName,
    keepAlive: true,
  };
  return () => new postgres.Client(config);
}
