import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import type { Cluster } from './cluster.js';
import type { FaultDatabase } from './fault-database.js';
import type { FaultProxy } from './fault-proxy.js';

/** `.ci/run --full` runs scenarios at their full length. */
export const isFull = process.env['JOBS_TEST_FULL'] === '1';

/** What a nemesis may lay its hands on. */
export interface Victims {
  readonly cluster: Cluster;
  readonly database: FaultDatabase;
  /** Only where the scenario asks for one. */
  readonly proxy: FaultProxy | undefined;
  readonly random: () => number;
  /** How often it has struck before. */
  readonly strikes: number;
}

const LARGEST_WAL = 64 * 1024 ** 2;
/** A reader goes when the log is so long, or after so much time. */
const LONG_WAL = 40 * 1024 ** 2;
const READ_MS = isFull ? 5000 : 700;
const ALL_PAGES = 0x7fffffff;

/** Others read the file, and copy it, as long as they like. */
export async function readOn(
  { folder, file = '' }: Victims['database'],
  cluster: Cluster,
): Promise<void> {
  const logBytes = (): number => statSync(`${file}-wal`).size;
  const reader = new Sqlite(file, { readonly: true });
  try {
    const known = cluster.acknowledged.length;
    const copy = path.join(folder, 'copy.db');
    // In one step: SQLite begins anew between two of them whenever another process has written.
    await reader.backup(copy, { progress: () => ALL_PAGES });
    checkCopy(copy, known);
    cluster.toll.copies += 1;
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM jobs').get();
    // What is written from here on cannot leave the log while this goes on.
    const until = performance.now() + READ_MS;
    while (performance.now() < until && logBytes() < LONG_WAL) {
      await pause(50);
    }
    reader.exec('COMMIT');
    cluster.toll.readings += 1;
  } finally {
    reader.close();
  }
  if (logBytes() > LARGEST_WAL) {
    throw new Error(`The write-ahead log has ${logBytes()} bytes.`);
  }
}

/** It is whole, and has at least what was acknowledged before it was begun. */
function checkCopy(file: string, known: number): void {
  const copy = new Sqlite(file);
  try {
    const health: unknown = copy.pragma('integrity_check', { simple: true });
    const jobs = Number(copy.prepare('SELECT count(*) FROM jobs').pluck().get());
    if (health !== 'ok' || jobs < known) {
      throw new Error(
        `A copy has ${jobs} jobs of ${known} that were acknowledged before: ${String(health)}`,
      );
    }
  } finally {
    copy.close();
  }
  for (const end of ['', '-wal', '-shm']) {
    rmSync(`${file}${end}`, { force: true });
  }
}

/** Gives when the server was back. */
export async function restart(
  { server, kind }: Victims['database'],
  { toll }: Cluster,
  random: () => number,
): Promise<number> {
  const inOrder = kind === 'postgres' ? 'SIGINT' : 'SIGTERM';
  await server.end(random() < 0.5 ? 'SIGKILL' : inOrder);
  await pause(random() * (isFull ? 2000 : 500));
  await server.start();
  toll.restarts += 1;
  return Date.now();
}

/** Gives how many. */
export async function terminateSome(
  database: FaultDatabase,
  random: () => number,
): Promise<number> {
  if (database.kind === 'postgres') {
    const struck = await database.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.2`,
    );
    return struck.length;
  }
  const sessions = await database.ask(
    `SELECT id AS id FROM information_schema.processlist WHERE db = 'faults' AND id <> CONNECTION_ID()`,
  );
  let count = 0;
  for (const { id } of sessions.filter(() => random() < 0.2)) {
    // It may have gone by itself.
    await database.ask(`KILL ${Number(id)}`).then(
      () => (count += 1),
      () => undefined,
    );
  }
  return count;
}
