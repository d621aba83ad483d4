import { query } from '../dialects/sql.js';
import { POSTGRES_MIGRATIONS } from '../migrations/index.js';
import type { SchemaDialect } from './schema.js';

/** How a schema on PostgreSQL is brought up to date. */
export const POSTGRES_SCHEMA: SchemaDialect = {
  migrations: POSTGRES_MIGRATIONS,
  *isThere(t) {
    // Looking into the catalog's table makes the session take note of what others have just made;
    // the function alone may answer from memory.
    const rows = yield* query('SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass(?)', [
      t.migrations,
    ]);
    return rows.length > 0;
  },
  *lock(t) {
    // To build an index takes as long as it takes.
    yield* query('SET LOCAL statement_timeout = 0');
    yield* query('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', [
      `nestjs-jobs ${t.migrations}`,
    ]);
  },
};
