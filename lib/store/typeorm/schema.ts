import { JobsError } from '../../model/errors.js';
import { MIGRATIONS } from '../migrations/index.js';
import type { Session } from '../dialects/session.js';
import { query, type Script } from '../dialects/sql.js';
import type { TableNames } from './table-names.js';

/** What boot does about the schema. */
export type MigrateMode = 'auto' | 'check' | 'off';

const BUSY_TRIES = 400;
const BUSY_DELAY_MS = 25;

/**
 * Brings the schema up to date. All of it is one transaction that holds the write lock from its
 * beginning, so ten processes that boot at once migrate one after the other, and nine find it done.
 *
 * @throws JobsError `schema_mismatch` when the schema is newer, or older with `check`
 */
export async function prepareSchema(
  session: Session,
  tables: TableNames,
  mode: MigrateMode,
): Promise<void> {
  if (mode === 'off') {
    return;
  }
  const version = await retryBusy(session, () => session.run(schemaVersion(tables)));
  refuseNewer(version);
  if (version === MIGRATIONS.length) {
    return;
  }
  if (mode === 'check') {
    throw new JobsError(
      'schema_mismatch',
      `The jobs tables have schema version ${version}, this package needs ${MIGRATIONS.length}. Migrate them (boot one process with database.migrate: 'auto') and start again.`,
    );
  }
  await retryBusy(session, async () => {
    await session.transact([(nowMs) => migrate(tables, nowMs)]);
  });
}

/** Tries again, without blocking the event loop, while another connection holds the lock. */
export async function retryBusy<T>(session: Session, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const cause = error instanceof Error && error.name === 'ScriptFailure' ? error.cause : error;
      if (tries >= BUSY_TRIES || session.classify(cause) !== 'busy') {
        throw cause;
      }
      await new Promise((resolve) => setTimeout(resolve, BUSY_DELAY_MS));
    }
  }
}

function* schemaVersion(t: TableNames): Script<number> {
  const name = t.migrations.slice(1, -1).replaceAll('""', '"');
  const found = yield* query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [
    name,
  ]);
  if (found.length === 0) {
    return 0;
  }
  const rows = yield* query(`SELECT MAX(version) FROM ${t.migrations}`);
  return Number(rows[0]?.[0] ?? 0);
}

function* migrate(t: TableNames, nowMs: number): Script<void> {
  const version = yield* schemaVersion(t);
  refuseNewer(version);
  if (version === 0) {
    yield* query(
      `CREATE TABLE IF NOT EXISTS ${t.migrations} (version INTEGER PRIMARY KEY, applied_at_ms BIGINT NOT NULL)`,
    );
  }
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (index >= version) {
      for (const statement of migration(t)) {
        yield* query(statement);
      }
      yield* query(`INSERT INTO ${t.migrations} (version, applied_at_ms) VALUES (?, ?)`, [
        index + 1,
        nowMs,
      ]);
    }
  }
}

function refuseNewer(version: number): void {
  if (version > MIGRATIONS.length) {
    throw new JobsError(
      'schema_mismatch',
      `The jobs tables have schema version ${version}, made by a newer nestjs-jobs; this one knows up to ${MIGRATIONS.length}. Install the newer package; nothing was changed.`,
    );
  }
}
