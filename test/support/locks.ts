import { setTimeout as pause } from 'node:timers/promises';
import type { BootedJobs } from './boot.js';
import { driverUnderTest } from './databases.js';

/** Whether so many, or more, wait for a lock on the server's database. */
export async function isLockAwaited(app: BootedJobs, by = 1): Promise<boolean> {
  // MariaDB makes its list anew only for who has not asked for it within a tenth of a second.
  await pause(driverUnderTest === 'postgres' ? 0 : 150);
  const rows = await app.sql(
    driverUnderTest === 'postgres'
      ? `SELECT 1 AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
      : `SELECT 1 AS n FROM information_schema.innodb_trx AS trx
         JOIN information_schema.processlist AS session ON session.id = trx.trx_mysql_thread_id
         WHERE session.db = DATABASE() AND trx.trx_state = 'LOCK WAIT'`,
  );
  return rows.length >= by;
}
