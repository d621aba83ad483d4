import { JobsError } from '../../model/errors.js';
import { MIGRATIONS } from '../migrations/index.js';
import type { Session } from '../dialects/session.js';
import { query, type Script } from '../dialects/sql.js';
import type { TableNames } from './table-names.js';

/** What boot does about the schema. */
export type MigrateMode = 'auto' | 'check' | 'off';

/** What a store is built from. */
export interface StoreOptions {
  readonly migrate: MigrateMode;
  /** Connections to a server; SQLite has one. */
  readonly poolSize?: number | undefined;
}

/** What bringing a schema up to date needs to know of a database. */
export interface SchemaDialect {
  /** In order; the schema's version is how many of them have run. */
  readonly migrations: readonly ((tables: TableNames) => readonly string[])[];
  /** Whether the table that records them is there. */
  isThere(tables: TableNames): Script<boolean>;
  /** Keeps others that boot from migrating at once, until the transaction ends. */
  lock(tables: TableNames): Script<unknown>;
}

const SQLITE_SCHEMA: SchemaDialect = {
  migrations: MIGRATIONS,
  *isThere(t) {
    const name = t.migrations.slice(1, -1).replaceAll('""', '"');
    const found = yield* query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [
      name,
    ]);
    return found.length > 0;
  },
  // The transaction has the write lock from its beginning.
  *lock() {},
};

const BUSY_TRIES = 400;
const BUSY_DELAY_MS = 25;

/**
 * Whether the schema needs no migration.
 *
 * @throws JobsError `schema_mismatch` when it is newer, or older with `check`
 */
export async function isSchemaReady(
  session: Session,
  tables: TableNames,
  mode: MigrateMode,
  dialect: SchemaDialect = SQLITE_SCHEMA,
): Promise<boolean> {
  if (mode === 'off') {
    await requireTables(session, tables);
    return true;
  }
  const version = await retryBusy(session, () => session.run(schemaVersion(tables, dialect)));
  return isUpToDate(version, dialect.migrations.length, mode);
}

/**
 * Brings the schema up to date. All of it is one transaction that holds the write lock from its
 * beginning, so ten processes that boot at once migrate one after the other, and nine find it done.
 *
 * @throws JobsError `schema_mismatch` when the schema is newer
 */
export async function migrateSchema(
  session: Session,
  tables: TableNames,
  dialect: SchemaDialect = SQLITE_SCHEMA,
): Promise<void> {
  await retryBusy(session, async () => {
    await session.transact([(nowMs) => migrate(tables, dialect, nowMs)]);
  });
}

/**
 * Somebody else makes the tables; whether they have is all that is asked.
 *
 * @throws JobsError `schema_mismatch` when they are not there
 */
export async function requireTables(session: Session, tables: TableNames): Promise<void> {
  try {
    await retryBusy(session, () =>
      session.run(query(`SELECT name FROM ${tables.queues} WHERE 1 = 0`)),
    );
  } catch (error) {
    if (session.classify(error) !== 'error') {
      throw error;
    }
    throw new JobsError(
      'schema_mismatch',
      `The jobs tables cannot be read (${String(error)}), and database.migrate is 'off': make them with the SQL that migrationSql(dataSource) prints, or boot one process with database.migrate: 'auto'.`,
      { cause: error },
    );
  }
}

/** Tries again, without blocking the event loop, while another connection holds the lock. */
export async function retryBusy<T>(session: Session, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const cause = error instanceof Error && error.name === 'ScriptFailure' ? error.cause : error;
      const kind = session.classify(cause);
      if (tries >= BUSY_TRIES || (kind !== 'busy' && kind !== 'held')) {
        throw cause;
      }
      await new Promise((resolve) => setTimeout(resolve, BUSY_DELAY_MS));
    }
  }
}

/** How many migrations have run. */
export function* schemaVersion(
  t: TableNames,
  dialect: Pick<SchemaDialect, 'isThere'>,
): Script<number> {
  if (!(yield* dialect.isThere(t))) {
    return 0;
  }
  const rows = yield* query(`SELECT MAX(version) FROM ${t.migrations}`);
  return Number(rows[0]?.[0] ?? 0);
}

function* migrate(t: TableNames, dialect: SchemaDialect, nowMs: number): Script<void> {
  yield* dialect.lock(t);
  const version = yield* schemaVersion(t, dialect);
  refuseNewer(version, dialect.migrations.length);
  for (const statement of statementsFrom(version, t, dialect.migrations, String(nowMs))) {
    yield* query(statement);
  }
}

/** What leads from a version to the newest one, in order; `now` is the time in SQL. */
export function statementsFrom(
  version: number,
  t: TableNames,
  migrations: SchemaDialect['migrations'],
  now: string,
): readonly string[] {
  const record = `CREATE TABLE IF NOT EXISTS ${t.migrations} (version INTEGER PRIMARY KEY, applied_at_ms BIGINT NOT NULL)`;
  return [
    ...(version === 0 ? [record] : []),
    ...migrations
      .slice(version)
      .flatMap((migration, index) => [
        ...migration(t),
        `INSERT INTO ${t.migrations} (version, applied_at_ms) VALUES (${version + index + 1}, ${now})`,
      ]),
  ];
}

/** @throws JobsError `schema_mismatch` when the schema is newer, or older with `check` */
export function isUpToDate(version: number, newest: number, mode: MigrateMode): boolean {
  refuseNewer(version, newest);
  if (version < newest && mode === 'check') {
    throw new JobsError(
      'schema_mismatch',
      `The jobs tables have schema version ${version}, this package needs ${newest}. Migrate them (boot one process with database.migrate: 'auto') and start again.`,
    );
  }
  return version === newest;
}

function refuseNewer(version: number, newest: number): void {
  if (version > newest) {
    throw new JobsError(
      'schema_mismatch',
      `The jobs tables have schema version ${version}, made by a newer nestjs-jobs; this one knows up to ${newest}. Install the newer package; nothing was changed.`,
    );
  }
}
