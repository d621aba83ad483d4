import type { DataSource } from 'typeorm';
import { MYSQL_TYPES } from '../dialects/mysql/mysql2.js';
import type { Store } from '../store.js';
import { MysqlStore } from './mysql-store.js';
import { PostgresStore } from './postgres-store.js';
import type { StoreOptions } from './schema.js';
import { SqliteStore } from './sqlite-store.js';

/** The store for the kind of database that the data source is. */
export function storeOf(host: DataSource, options: StoreOptions): Store {
  const { type } = host.options;
  if (MYSQL_TYPES.includes(type)) {
    return new MysqlStore(host, options);
  }
  return type === 'postgres' ? new PostgresStore(host, options) : new SqliteStore(host, options);
}
