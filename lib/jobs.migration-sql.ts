import type { DataSource } from 'typeorm';
import { sqlOfMigrations } from './store/typeorm/migration-sql.js';

/** Which migrations are printed. */
export interface MigrationSqlOptions {
  /** The schema version that the tables have: the highest `version` in `job_migrations`. @default 0, no tables */
  readonly from?: number;
}

/**
 * The SQL of the migrations as text, for databases whose schema no application may change: run it by
 * hand, and boot with `database.migrate: 'check'`. It has the names that the data source's
 * `entityPrefix`, `schema` and naming strategy give. The data source need not be connected, and
 * nothing is asked of its database.
 *
 * @throws JobsError `invalid_options` for a kind of database or a version that there is not
 */
export function migrationSql(dataSource: DataSource, options: MigrationSqlOptions = {}): string {
  return sqlOfMigrations(dataSource, options.from ?? 0);
}
