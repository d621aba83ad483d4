import type { Session } from '../session.js';

/** Settings of a connection, which are no business of anybody else. */
export type SqliteSetting = 'busy_timeout' | 'wal_autocheckpoint';

/** An engine connection to a file, or to a database in memory. */
export interface SqliteSession extends Session {
  /**
   * Changes a setting of the connection; calls without an `await` between them come one right after the
   * other. SQLite does it while the statement is prepared, so one that is kept would do nothing the second time.
   */
  set(setting: SqliteSetting, value: number): Promise<void>;
}
