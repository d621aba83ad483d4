import type { DataSource } from 'typeorm';
import { driverUnderTest } from './databases.js';
import { until } from './waiting.js';

const TABLES = [
  'jobs',
  'job_runs',
  'job_logs',
  'job_types',
  'job_groups',
  'job_queues',
  'job_workers',
];

const STATEMENTS: Readonly<Record<string, readonly string[]>> = {
  postgres: ['BEGIN', `LOCK TABLE ${TABLES.join(', ')} IN EXCLUSIVE MODE`],
  // Readers are kept out by nothing less than a lock of the rows; such a lock lets none of them be written.
  mariadb: [`LOCK TABLES ${TABLES.map((table) => `${table} READ`).join(', ')}`],
};

/** Keeps everybody else from writing jobs, as another program might; gives back how to let go. */
export async function lockForWriting(dataSource: DataSource): Promise<() => Promise<void>> {
  const runner = dataSource.createQueryRunner();
  const statements = STATEMENTS[driverUnderTest] ?? ['BEGIN IMMEDIATE'];
  const lock = async (): Promise<boolean> => {
    try {
      for (const statement of statements) {
        await runner.query(statement);
      }
      return true;
    } catch {
      // Somebody else has it, or the tables are not there yet; a server would refuse all that follows.
      await runner.query('ROLLBACK').catch(() => undefined);
      return false;
    }
  };
  await until(lock, 'the lock');
  return async () => {
    await runner.query('ROLLBACK');
    if (driverUnderTest === 'mariadb') {
      await runner.query('UNLOCK TABLES');
    }
    await runner.release();
  };
}
