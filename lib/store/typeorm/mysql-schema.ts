import { JobsError } from '../../model/errors.js';
import { MYSQL_MIGRATIONS } from '../migrations/index.js';
import { isUpToDate, requireTables, retryBusy, schemaVersion, type MigrateMode } from './schema.js';
import type { TableNames } from './table-names.js';
import type { Session } from '../dialects/session.js';
import { query, type Script } from '../dialects/sql.js';
import { limits } from '../dialects/mysql/connection.js';
import { CIRCLES_ROW } from '../dialects/mysql/job.scripts.js';
import { IDLE_MS, STATEMENT_MS } from '../dialects/shared/answer-patience.js';
import { isThereAlready } from '../dialects/mysql/mysql-errors.js';
import { MYSQL_NOW } from '../dialects/mysql/mysql-words.js';

/** The row of the migrations' table that is locked while a process migrates. */
const BOOT_ROW = 0;

/** So often it is looked again where somebody else has made what was not there at the look before. */
const MOST_LOOKS = 10;

/** Collations that compare by code point and count trailing spaces: MySQL's, and MariaDB's. */
const COLLATIONS: readonly string[] = ['utf8mb4_0900_bin', 'utf8mb4_nopad_bin'];

const SCHEMA = {
  *isThere(t: TableNames): Script<boolean> {
    const name = t.migrations.slice(1, -1).replaceAll('``', '`');
    const rows = yield* query(
      'SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
      [name],
    );
    return rows.length > 0;
  },
};

/**
 * Whether the schema needs no migration.
 *
 * @throws JobsError `schema_mismatch` when it is newer, or older with `check`
 */
export async function isMysqlSchemaReady(
  work: Session,
  t: TableNames,
  mode: MigrateMode,
): Promise<boolean> {
  if (mode === 'off') {
    await requireTables(work, t);
    return true;
  }
  const version = await retryBusy(work, () => work.run(schemaVersion(t, SCHEMA)));
  return isUpToDate(version, MYSQL_MIGRATIONS.length, mode);
}

/**
 * Brings the schema up to date. A change of a schema ends the transaction that it is made in, so one
 * session holds the lock of a row while another one migrates, and every statement may be repeated: a
 * process that is ended in the middle leaves what the next one completes.
 *
 * @throws JobsError `schema_mismatch` when the schema is newer
 */
export async function migrateMysqlSchema(
  lock: Session,
  work: Session,
  t: TableNames,
): Promise<void> {
  await retryBusy(work, () => work.run(makeRows(t)));
  await retryBusy(lock, async () => {
    // To build an index takes as long as it takes.
    await Promise.all([lock, work].map((each) => each.run(query(limits(0, 0)))));
    await lock.run(query('START TRANSACTION'));
    try {
      await lock.run(
        query(`SELECT version FROM ${t.migrations} WHERE version = ? FOR UPDATE`, [BOOT_ROW]),
      );
      await migrateBeside(work, t);
    } finally {
      await lock.run(query('COMMIT'));
      await Promise.all([lock, work].map((each) => each.run(query(limits(STATEMENT_MS, IDLE_MS)))));
    }
  });
}

/**
 * On a cluster the lock of a row stays on its node, and on any server somebody may run the statements by
 * hand: what is missing at one look may be there when it is made. The next look finds it.
 */
async function migrateBeside(work: Session, t: TableNames): Promise<void> {
  for (let looks = 1; ; looks += 1) {
    try {
      await work.run(migrate(t));
      return;
    } catch (error) {
      if (looks === MOST_LOOKS || !isThereAlready(error)) {
        throw error;
      }
    }
  }
}

function* makeRows(t: TableNames): Script<void> {
  for (const statement of statementsOfRows(t)) {
    yield* query(statement);
  }
}

/** What makes the table of migrations, with its rows that are locked. */
function statementsOfRows(t: TableNames): readonly string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${t.migrations} (version INT NOT NULL PRIMARY KEY, applied_at_ms BIGINT NOT NULL) ENGINE = InnoDB`,
    ...[BOOT_ROW, CIRCLES_ROW].map(
      (row) => `INSERT IGNORE INTO ${t.migrations} (version, applied_at_ms) VALUES (${row}, 0)`,
    ),
  ];
}

function* migrate(t: TableNames): Script<void> {
  // Another process may have done it while this one waited for its turn.
  const version = yield* schemaVersion(t, SCHEMA);
  isUpToDate(version, MYSQL_MIGRATIONS.length, 'auto');
  for (const statement of statementsFrom(version, t, yield* findCollation())) {
    yield* query(statement);
  }
}

function statementsFrom(version: number, t: TableNames, collation: string): readonly string[] {
  return MYSQL_MIGRATIONS.slice(version).flatMap((migration, index) => [
    ...migration(t, collation),
    `INSERT IGNORE INTO ${t.migrations} (version, applied_at_ms) VALUES (${version + index + 1}, ${MYSQL_NOW})`,
  ]);
}

/** The whole way from a version to the newest, for somebody who runs it by hand. */
export function mysqlStatementsFrom(
  version: number,
  t: TableNames,
  server: 'mysql' | 'mariadb',
): readonly string[] {
  const [ofMysql = '', ofMariadb = ''] = COLLATIONS;
  return [
    ...statementsOfRows(t),
    ...statementsFrom(version, t, server === 'mysql' ? ofMysql : ofMariadb),
  ];
}

function* findCollation(): Script<string> {
  const rows = yield* query(
    'SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME IN (?*) ORDER BY COLLATION_NAME',
    [JSON.stringify(COLLATIONS)],
  );
  const [row] = rows;
  if (row === undefined) {
    throw new JobsError(
      'invalid_options',
      `The server has none of the collations ${COLLATIONS.join(' and ')}: JobsModule needs MySQL 8 or MariaDB 10.11, or newer.`,
    );
  }
  return String(row[0]);
}
