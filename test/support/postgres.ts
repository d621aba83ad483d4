import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DataSource } from 'typeorm';
import { inject } from 'vitest';
import { migrationSql } from '../../lib/index.js';
import { asker } from './asker.js';
import { dropLater, type Lifetime } from './cleanup.js';
import type { Contents, TestDatabase } from './databases.js';

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
/** Databases of this process that are as they were made: making one costs as much as a test. */
const spare: Record<Contents, string[]> = { nothing: [], tables: [] };

/** What says that nobody changed a schema: when something in it was made last, and how much there is. */
const SHAPE = `SELECT concat_ws(' ', ${[
  'pg_class',
  'pg_attribute',
  'pg_attrdef',
  'pg_constraint',
  'pg_namespace',
  'pg_proc',
  'pg_trigger',
  'pg_db_role_setting',
]
  .map((table) => `(SELECT count(*) || '/' || max(xmin::text::bigint) FROM ${table})`)
  .join(', ')}) AS shape`;

/** The shapes of the databases that have our tables. */
const shapes = new Map<string, unknown>();

/** Our tables without rows; which migrations they had stays. */
const WITHOUT_ROWS = `DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT oid::regclass AS name, relkind FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') AND relname <> 'job_migrations' LOOP
    IF each.relkind = 'S' THEN
      PERFORM setval(each.name, 1, false);
    ELSE
      EXECUTE format('DELETE FROM %s', each.name);
    END IF;
  END LOOP;
END $$`;

/** A database of a test's own on the server that the run started, or that DATABASE_URL names. */
export function createPostgresDatabase(
  lifetime: Lifetime,
  asOptions: (options: object) => ReturnType<TestDatabase['options']>,
  contents: Contents,
): TestDatabase {
  const name = spare[contents].pop() ?? (contents === 'tables' ? newTables() : newDatabase());
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
      shapes.delete(name);
      ask(`DROP DATABASE ${name} WITH (FORCE)`);
    } else if (shapes.has(name) && shapes.get(name) === shapeOf(name)) {
      ask(WITHOUT_ROWS, name);
      spare.tables.push(name);
    } else {
      shapes.delete(name);
      ask(EMPTY, name);
      spare.nothing.push(name);
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

/** With our tables in it: to make them takes longer than most tests do. */
function newTables(): string {
  const name = spare.nothing.pop() ?? newDatabase();
  ask(migrationSql(new DataSource({ type: 'postgres' })), name);
  shapes.set(name, shapeOf(name));
  return name;
}

function shapeOf(name: string): unknown {
  return ask(SHAPE, name)[0]?.['shape'];
}

/** Asks the server about everything, from connections that belong to no test. */
export const ask = asker(
  'pg',
  () => inject('postgres'),
  `
const clients = new Map();
return async (sql, database) => {
  if (!clients.has(database)) {
    const place = new URL(url);
    if (database) place.pathname = database;
    const client = new driver.Client({ connectionString: place.href, application_name: '${CLEANER}' });
    client.on('error', () => clients.delete(database));
    clients.set(database, client.connect().then(() => client));
  }
  // Of several statements, what the last one gives.
  return [await (await clients.get(database)).query(sql)].flat().at(-1).rows;
};`,
);
