import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { Compacted, Order, Refused, Reply, Step } from './compact-thread.js';

const FIRST_LINES = 10;

const steps: readonly [string, (database: Database.Database) => void][] = [
  ['checking', check],
  ['writing the log back', (database) => database.pragma('wal_checkpoint(TRUNCATE)')],
  ['rewriting', (database) => database.exec('VACUUM')],
  ['counting for the query planner', (database) => database.pragma('optimize')],
  ['writing the log back again', (database) => database.pragma('wal_checkpoint(TRUNCATE)')],
];

const { file, stop } = workerData as Order;
tell(run());

function run(): Reply {
  try {
    return compact();
  } catch (error) {
    return refused(error);
  }
}

function compact(): Compacted {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new Error('there is no such file');
  if (!found.isFile()) throw new Error('it is no file');
  if (found.size === 0) throw new Error('it is empty: no database has been written to it yet');
  const before = bytesOnDisk();
  const database = new Database(file, { fileMustExist: true, timeout: 5000 });
  let pages: number;
  try {
    steps.forEach(([step, work], done) => {
      if (Atomics.load(stop, 0) === 1) throw new Error('it was stopped');
      tell({ done, of: steps.length, step });
      work(database);
    });
    pages = Number(database.pragma('page_count', { simple: true }));
  } finally {
    database.close();
  }
  return { before, after: bytesOnDisk(), pages, integrity: 'ok' };
}

function check(database: Database.Database): void {
  const found = database
    .prepare<[], string>(`PRAGMA integrity_check(${FIRST_LINES})`)
    .pluck()
    .all();
  if (found.join() !== 'ok') {
    throw new Error(`the integrity check failed:\n${found.join('\n')}`);
  }
}

/** The file, and the log that belongs to it. */
function bytesOnDisk(): number {
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false });
  return statSync(file).size + (log?.size ?? 0);
}

function refused(error: unknown): Refused {
  const { message, code } = error as { message: string; code?: string };
  return { error: message, isBusy: /^SQLITE_(BUSY|LOCKED)/.test(code ?? '') };
}

function tell(message: Step | Reply): void {
  parentPort?.postMessage(message);
}
