import type { DataSource } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import { MYSQL_WORDS } from '../dialects/mysql/mysql-words.js';
import { POSTGRES_NOW, POSTGRES_WORDS } from '../dialects/postgres/words.js';
import { MIGRATIONS, MYSQL_MIGRATIONS, POSTGRES_MIGRATIONS } from '../migrations/index.js';
import { mysqlStatementsFrom } from './mysql-schema.js';
import { statementsFrom } from './schema.js';
import type { TableNames } from './table-names.js';
import { tablesOf } from './tables-of.js';

/** How a kind of database is migrated by hand. */
interface Printer {
  readonly newest: number;
  tables(host: DataSource): TableNames;
  statements(t: TableNames, from: number): readonly string[];
}

const SQLITE: Printer = {
  newest: MIGRATIONS.length,
  tables: (host) => tablesOf(host),
  statements: (t, from) => [
    'BEGIN IMMEDIATE',
    ...statementsFrom(from, t, MIGRATIONS, 'unixepoch() * 1000'),
    'COMMIT',
  ],
};

const POSTGRES: Printer = {
  newest: POSTGRES_MIGRATIONS.length,
  tables: (host) => tablesOf(host, POSTGRES_WORDS),
  statements: (t, from) => [
    'BEGIN',
    ...statementsFrom(from, t, POSTGRES_MIGRATIONS, POSTGRES_NOW),
    'COMMIT',
  ],
};

/** Without a transaction: there a change of a schema ends it, and each statement may be repeated. */
const mysql = (server: 'mysql' | 'mariadb'): Printer => ({
  newest: MYSQL_MIGRATIONS.length,
  tables: (host) => tablesOf(host, MYSQL_WORDS),
  statements: (t, from) => mysqlStatementsFrom(from, t, server),
});

const PRINTERS: Readonly<Partial<Record<string, Printer>>> = {
  'better-sqlite3': SQLITE,
  sqlite: SQLITE,
  postgres: POSTGRES,
  mysql: mysql('mysql'),
  mariadb: mysql('mariadb'),
};

/**
 * What brings the tables from a version to the newest, as text for the database's own client.
 *
 * @throws JobsError `invalid_options` for a kind of database or a version that there is not
 */
export function sqlOfMigrations(host: DataSource, from: number): string {
  const type: string = host.options.type;
  const printer = PRINTERS[type];
  if (printer === undefined) {
    throw new JobsError(
      'invalid_options',
      `There are no migrations for a data source of type "${type}": use one of ${Object.keys(PRINTERS).join(', ')}.`,
    );
  }
  const { newest } = printer;
  if (!Number.isInteger(from) || from < 0 || from > newest) {
    throw new JobsError(
      'invalid_options',
      `from is ${String(from)}: give the version that the tables have, 0 (there are none) to ${newest} (nothing is to be done).`,
    );
  }
  const head = `-- nestjs-jobs on ${type}: from schema version ${from} to ${newest}\n`;
  const statements = from === newest ? [] : printer.statements(printer.tables(host), from);
  return head + statements.map((statement) => `${outdented(statement)};\n`).join('');
}

/** Statements stand in the source as deep as what surrounds them. */
function outdented(statement: string): string {
  return statement.replaceAll(/\n {4}/g, '\n');
}
