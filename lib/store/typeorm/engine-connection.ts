import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import {
  BetterSqlite3Session,
  type BetterSqlite3Database,
} from '../dialects/sqlite/better-sqlite3.session.js';
import type { DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import type { SqliteSession } from '../dialects/sqlite/sqlite-session.js';
import {
  Sqlite3Session,
  type Sqlite3Connection,
  type Sqlite3Database,
} from '../dialects/sqlite/sqlite3.session.js';
import { query } from '../dialects/sql.js';

/** The engine's connection: its session, and how to end both. */
export interface EngineConnection {
  readonly session: SqliteSession;
  /** The database file that other processes may write, if there is one. */
  readonly file: string | undefined;
  /** Whether the host's own connection is shared, as a database in memory demands. */
  readonly isShared: boolean;
  close(): Promise<void>;
}

/** The options that count of a SQLite data source of either line. */
interface SqliteOptions {
  readonly type: string;
  readonly database: string;
  readonly prepareDatabase: ((database: unknown) => unknown) | undefined;
}

/** The same where any kind of data source may come. */
interface AnyOptions {
  readonly type: string;
  readonly database?: unknown;
  readonly prepareDatabase?: (database: unknown) => unknown;
}

/** The SQLite drivers that are served. */
export const SQLITE_TYPES: readonly string[] = ['better-sqlite3', 'sqlite'];

/**
 * Opens the engine's own connection with the host's options. A SQLite data source of TypeORM is one
 * connection: a statement of the engine on it would land inside whatever transaction the host has
 * open, and be rolled back with it.
 */
export async function openEngineConnection(
  host: DataSource,
  clock: DatabaseClock,
): Promise<EngineConnection> {
  const options = sqliteOptions(host.options);
  if (isInMemory(options.database)) {
    const runner = host.createQueryRunner();
    const shared = sessionOf(options.type, await runner.connect(), clock, { isShared: true });
    const restore = beginBetween(runner, shared);
    return {
      session: shared,
      file: undefined,
      isShared: true,
      close: () => {
        restore();
        return shared.release();
      },
    };
  }
  const dataSource = new DataSource(engineOptions(host.options, { entities: [] }));
  await dataSource.initialize();
  const session = sessionOf(options.type, await dataSource.createQueryRunner().connect(), clock, {
    isShared: false,
  });
  if (options.type === 'sqlite') {
    // This driver has no prepareDatabase.
    await session.run(query('PRAGMA synchronous = NORMAL'));
  }
  return {
    session,
    file: options.database,
    isShared: false,
    close: async () => {
      await session.release();
      await dataSource.destroy();
    },
  };
}

/**
 * On the one connection of a database in memory the host's transactions begin between the engine's:
 * with an asynchronous driver they would else be refused, or take the engine's writes with them.
 */
function beginBetween(runner: QueryRunner, session: SqliteSession): () => void {
  const begin = runner.startTransaction.bind(runner);
  runner.startTransaction = (isolation) => session.between(() => begin(isolation));
  return () => {
    runner.startTransaction = begin;
  };
}

/** A further connection on which the host's entities are available, for `ctx.transaction`. */
export async function openHandlerDataSource(host: DataSource): Promise<DataSource> {
  const dataSource = new DataSource(engineOptions(host.options, {}));
  await dataSource.initialize();
  waitForNoLock(await dataSource.createQueryRunner().connect());
  return dataSource;
}

/** Whether the data source is a database in memory, which only its one connection can see. */
export function isInMemory(database: string): boolean {
  return database === '' || database.startsWith(':memory:') || database.startsWith('file::memory:');
}

/** @throws JobsError `invalid_options` for a database that is not served */
export function sqliteOptions(options: DataSourceOptions): SqliteOptions {
  const { type, database, prepareDatabase }: AnyOptions = options;
  if (!SQLITE_TYPES.includes(type) || typeof database !== 'string') {
    throw new JobsError(
      'invalid_options',
      `The data source is of type "${type}"; JobsModule works on better-sqlite3 (TypeORM 1.x and 0.3), on sqlite (TypeORM 0.3), on postgres, and on mysql and mariadb. Give it such a data source by the option \`dataSource\`.`,
    );
  }
  return { type, database, prepareDatabase };
}

function engineOptions(host: DataSourceOptions, own: object): DataSourceOptions {
  const { prepareDatabase } = sqliteOptions(host);
  // The engine waits for the lock by itself: a synchronous driver's busy timeout would block the
  // event loop, and with it the commit it waits for.
  return Object.assign({}, host, {
    subscribers: [],
    migrations: [],
    synchronize: false,
    migrationsRun: false,
    dropSchema: false,
    cache: false,
    timeout: 0,
    busyTimeout: 0,
    prepareDatabase: async (database: BetterSqlite3Database) => {
      database.prepare('PRAGMA synchronous = NORMAL').run();
      await prepareDatabase?.(database);
    },
    ...own,
  });
}

function sessionOf(
  type: string,
  raw: unknown,
  clock: DatabaseClock,
  connection: Sqlite3Connection,
): SqliteSession {
  if (type === 'better-sqlite3') {
    return new BetterSqlite3Session(raw as BetterSqlite3Database, clock);
  }
  waitForNoLock(raw);
  return new Sqlite3Session(raw as Sqlite3Database, clock, connection);
}

/** sqlite3 waits a second for a lock unless it is told; meanwhile nothing else of ours could run. */
function waitForNoLock(raw: unknown): void {
  const database = raw as { configure?: (option: 'busyTimeout', value: number) => void };
  database.configure?.('busyTimeout', 0);
}
