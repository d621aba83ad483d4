import type { TableNames } from '../typeorm/table-names.js';
import { initialSchema } from './0001-initial.js';
import {
  mysqlRelationsSchema,
  postgresRelationsSchema,
  relationsSchema,
} from './0002-relations.js';
import { initialMysqlSchema } from './mysql-0001-initial.js';
import { initialPostgresSchema } from './postgres-0001-initial.js';

/** Migrations in order; the schema's version is how many of them have run. */
export const MIGRATIONS: readonly ((tables: TableNames) => readonly string[])[] = [
  initialSchema,
  relationsSchema,
];

/** The same for PostgreSQL. */
export const POSTGRES_MIGRATIONS: typeof MIGRATIONS = [
  initialPostgresSchema,
  postgresRelationsSchema,
];

/** The same for MySQL and MariaDB, with the collation that compares by code point. */
export const MYSQL_MIGRATIONS: readonly ((
  tables: TableNames,
  collation: string,
) => readonly string[])[] = [initialMysqlSchema, mysqlRelationsSchema];
