import type { DataSource } from 'typeorm';
import type { Store } from '../store.js';
import { PostgresStore } from './postgres-store.js';
import { TypeOrmStore, type TypeOrmStoreOptions } from './typeorm-store.js';

/** The store for the kind of database that the data source is. */
export function storeOf(host: DataSource, options: TypeOrmStoreOptions): Store {
  return host.options.type === 'postgres'
    ? new PostgresStore(host, options)
    : new TypeOrmStore(host, options);
}
