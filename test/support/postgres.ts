import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { inject } from 'vitest';
import { dropLater, type Lifetime } from './cleanup.js';
import type { TestDatabase } from './databases.js';

/** After a close the server needs a moment to notice. */
const LINGER_TRIES = 100;

/** The name of the connections that empty databases. */
const CLEANER = 'jobs-test-cleaner';

const EMPTY = `DO $$ DECLARE each text; BEGIN
  FOR each IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', each);
  END LOOP;
  CREATE SCHEMA public;
END $$`;

let made = 0;
/** Databases of this process that are empty again: making one costs as much as a test. */
const spare: string[] = [];

/** A database of a test's own on the server that the run started, or that DATABASE_URL names. */
export function createPostgresDatabase(
  lifetime: Lifetime,
  asOptions: (options: object) => ReturnType<TestDatabase['options']>,
): TestDatabase {
  const name = spare.pop() ?? newDatabase();
  const url = new URL(inject('postgres'));
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-test-'));
  url.pathname = `/${name}`;
  let abandoned = false;
  const connected = (): string[] =>
    ask(
      `SELECT application_name, query FROM pg_stat_activity
       WHERE datname = '${name}' AND backend_type = 'client backend' AND application_name <> '${CLEANER}'`,
    ).map((row) => `${String(row['application_name'])}: ${String(row['query'])}`);
  const leaks = (): string[] => {
    let open = abandoned ? [] : connected();
    for (let tries = 0; open.length > 0 && tries < LINGER_TRIES; tries += 1) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      open = connected();
    }
    return open;
  };
  dropLater(() => {
    const open = leaks();
    rmSync(folder, { recursive: true, force: true });
    // Who is still connected, for a boot that was refused or in error, must not reach the next test.
    if (abandoned || open.length > 0) {
      ask(`DROP DATABASE ${name} WITH (FORCE)`);
    } else {
      ask(EMPTY, name);
      spare.push(name);
    }
    if (open.length > 0) {
      throw new Error(`Everything is closed, and yet connected: ${open.join(', ')}`);
    }
  }, lifetime);
  return {
    file: undefined,
    folder,
    options: (extra = {}) =>
      asOptions({
        type: 'postgres',
        host: url.hostname,
        port: Number(url.port || 5432),
        username: decodeURIComponent(url.username),
        password: url.password === '' ? undefined : decodeURIComponent(url.password),
        database: name,
        // Tests count rows by hand.
        parseInt8: true,
        ...extra,
      }),
    leaks,
    abandon: () => void (abandoned = true),
  };
}

function newDatabase(): string {
  // The run drops what begins with its own process id.
  const name = `jobs_test_${process.ppid}_${process.pid}_${(made += 1)}`;
  ask(`CREATE DATABASE ${name} TEMPLATE template0`);
  return name;
}

/**
 * Asks the server and waits for the answer without giving up this turn: tests make databases in
 * places that cannot wait. Another thread has the connection.
 */
export function ask(sql: string, database?: string): readonly Record<string, unknown>[] {
  const { worker, signal, data, length } = administrator();
  Atomics.store(signal, 0, 0);
  worker.postMessage({ sql, database });
  Atomics.wait(signal, 0, 0, 20_000);
  const text = new TextDecoder().decode(data.slice(0, Atomics.load(length, 0)));
  const answer = JSON.parse(text) as { rows?: Record<string, unknown>[]; error?: string };
  if (answer.rows === undefined) {
    throw new Error(`${sql}: ${answer.error}`);
  }
  return answer.rows;
}

interface Administrator {
  readonly worker: Worker;
  readonly signal: Int32Array;
  readonly length: Int32Array;
  readonly data: Uint8Array;
}

let known: Administrator | undefined;

function administrator(): Administrator {
  if (known === undefined) {
    const shared = new SharedArrayBuffer(1 << 20);
    const worker = new Worker(PROGRAM, {
      eval: true,
      workerData: {
        shared,
        url: inject('postgres'),
        pg: createRequire(path.join(process.cwd(), 'package.json')).resolve('pg'),
      },
    });
    worker.unref();
    known = {
      worker,
      signal: new Int32Array(shared, 0, 1),
      length: new Int32Array(shared, 4, 1),
      data: new Uint8Array(shared, 8),
    };
  }
  return known;
}

const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
const { Client } = require(workerData.pg);
const signal = new Int32Array(workerData.shared, 0, 1), length = new Int32Array(workerData.shared, 4, 1);
const data = new Uint8Array(workerData.shared, 8);
const clients = new Map();
function clientOf(database) {
  if (!clients.has(database)) {
    const url = new URL(workerData.url);
    if (database) url.pathname = database;
    const client = new Client({ connectionString: url.href, application_name: '${CLEANER}' });
    client.on('error', () => clients.delete(database));
    clients.set(database, client.connect().then(() => client));
  }
  return clients.get(database);
}
parentPort.on('message', async ({ sql, database }) => {
  let answer;
  try { answer = { rows: (await (await clientOf(database)).query(sql)).rows }; }
  catch (error) { answer = { error: String(error) }; }
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  data.set(bytes); Atomics.store(length, 0, bytes.length);
  Atomics.store(signal, 0, 1); Atomics.notify(signal, 0);
});`;
