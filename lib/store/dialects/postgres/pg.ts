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
  /** From then on it does not keep the process alive. */
  unref(): void;
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
  readonly postgres?: PgModule;
}

/** Where a server is, and as whom: options of a data source, or of its primary. */
interface Place {
  readonly url?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: unknown;
  readonly database?: string;
  readonly ssl?: unknown;
}

interface PgOptions extends Place {
  readonly type: string;
  readonly replication?: { readonly master: Place };
  readonly connectTimeoutMS?: number;
  readonly extra?: object;
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

/**
 * Makes connections like those of the host's own pool, from the same options; the pool itself is left
 * to the host, and need not be there yet.
 */
export function clientMaker(host: DataSource, applicationName: string): () => PgClient {
  const driver: PgDriver = host.driver;
  const { postgres } = driver;
  if (postgres === undefined) {
    throw new JobsError(
      'invalid_options',
      'The data source is of type "postgres" but has not loaded the driver `pg`: install it.',
    );
  }
  const options: PgOptions = host.options as PgOptions;
  const place = options.replication?.master ?? options;
  const config = {
    connectionString: place.url,
    host: place.host,
    port: place.port,
    user: place.username,
    password: place.password,
    database: place.database,
    ssl: place.ssl,
    connectionTimeoutMillis: options.connectTimeoutMS ?? CONNECT_TIMEOUT_MS,
    ...options.extra,
    application_name: applicationName,
    keepAlive: true,
  };
  return () => new postgres.Client(config);
}

const CONNECT_TIMEOUT_MS = 10_000;
