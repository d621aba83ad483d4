import type { DataSource } from 'typeorm';
import { JobsError } from '../../../model/errors.js';

/** What is used of the driver `mysql2`: the host's data source has loaded it, we never import it. */
interface Mysql2 {
  createConnection(options: object): MysqlClient;
  /** The older package `mysql` does not show it. */
  readonly PoolConnection?: unknown;
}

/** A connection of `mysql2`. */
export interface MysqlClient {
  /** The server's number of the session. */
  readonly threadId?: number;
  query(options: MysqlQuery, done: (error: Error | null, result: unknown) => void): unknown;
  connect(done: (error: Error | null) => void): void;
  end(done: (error?: Error) => void): void;
  /** Says that it ends, and waits for the other side to say so too. */
  destroy(): void;
  /** The socket. */
  readonly stream?: { destroy(): unknown };
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown;
}

/** A statement as the driver takes it. */
export interface MysqlQuery {
  readonly sql: string;
  readonly rowsAsArray: true;
  readonly typeCast?: (field: MysqlField, next: () => unknown) => unknown;
}

/** A value about to be read. */
export interface MysqlField {
  readonly type: string;
  string(encoding?: string): string | null;
}

/** What a statement that changes something gave. */
export interface MysqlChanges {
  readonly affectedRows: number;
  readonly warningStatus: number;
  readonly info: string;
}

interface MysqlDriver {
  readonly options: unknown;
  readonly mysql?: Mysql2;
  createConnectionOptions?(options: object, credentials: object): Readonly<Record<string, unknown>>;
}

/** The data sources of TypeORM that are served. */
export const MYSQL_TYPES: readonly string[] = ['mysql', 'mariadb'];

/**
 * What only a pool understands, or must not differ between hosts: with `flags` one could have rows counted
 * only where a write has changed them.
 */
const LEFT_OUT: readonly string[] = [
  'connectionLimit',
  'acquireTimeout',
  'waitForConnections',
  'queueLimit',
  'maxIdle',
  'idleTimeout',
  'resetOnRelease',
  'insecureAuth',
  'typeCast',
  'trace',
  'debug',
  'flags',
];

/**
 * Makes connections like those of the host's own pool, from the same options; the pool itself is left
 * to the host, and need not be there yet.
 */
export function clientMaker(host: DataSource): () => MysqlClient {
  const driver: MysqlDriver = host.driver;
  const { mysql } = driver;
  const { replication }: { replication?: { readonly master: object } } = host.options as object;
  const theirs = driver.createConnectionOptions?.(
    host.options,
    replication?.master ?? host.options,
  );
  if (mysql?.PoolConnection === undefined || theirs === undefined) {
    throw new JobsError(
      'invalid_options',
      `The data source is of type "${host.options.type}" but has not loaded the driver \`mysql2\`: install it, and with TypeORM 0.3 say \`connectorPackage: 'mysql2'\` when \`mysql\` is installed too.`,
    );
  }
  const options = Object.fromEntries(
    Object.entries(theirs).filter(
      ([name, value]) => value !== undefined && !LEFT_OUT.includes(name),
    ),
  );
  return () =>
    mysql.createConnection({
      connectTimeout: CONNECT_TIMEOUT_MS,
      ...options,
      charset: 'UTF8MB4_BIN',
      supportBigNumbers: false,
      bigNumberStrings: false,
      decimalNumbers: true,
      dateStrings: true,
      jsonStrings: true,
      multipleStatements: true,
      namedPlaceholders: false,
      // Values stand in the text already: nothing has to be looked for in all of it.
      queryFormat: (sql: string) => sql,
      enableKeepAlive: true,
    });
}

const CONNECT_TIMEOUT_MS = 10_000;
