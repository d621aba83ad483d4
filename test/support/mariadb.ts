import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inject } from 'vitest';
import { asker } from './asker.js';
import { dropLater, type Lifetime } from './cleanup.js';
import type { TestDatabase } from './databases.js';

/** After a close the server needs a moment to notice. */
const LINGER_TRIES = 100;

let made = 0;

/** A database of a test's own on the server that the run started, or that DATABASE_URL names. */
export function createMariadbDatabase(
  lifetime: Lifetime,
  asOptions: (options: object) => ReturnType<TestDatabase['options']>,
): TestDatabase {
  const name = `jobs_test_${process.pid}_${(made += 1)}`;
  const url = new URL(inject('mariadb'));
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-test-'));
  askMariadb(`CREATE DATABASE ${name}`);
  let abandoned = false;
  const connected = (): string[] =>
    abandoned
      ? []
      : askMariadb(
          `SELECT id, command, info FROM information_schema.processlist WHERE db = '${name}'`,
        ).map((row) => Object.values(row).map(String).join(' '));
  const leaks = (): string[] => {
    let open = connected();
    for (let tries = 0; open.length > 0 && tries < LINGER_TRIES; tries += 1) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      open = connected();
    }
    return open;
  };
  dropLater(() => {
    const open = leaks();
    dropDatabase(name);
    rmSync(folder, { recursive: true, force: true });
    if (open.length > 0) {
      throw new Error(`Everything is closed, and yet connected: ${open.join(', ')}`);
    }
  }, lifetime);
  return {
    file: undefined,
    folder,
    options: (extra = {}) =>
      asOptions({
        type: 'mariadb',
        host: url.hostname,
        port: Number(url.port || 3306),
        username: decodeURIComponent(url.username),
        password: url.password === '' ? undefined : decodeURIComponent(url.password),
        database: name,
        // Tests count rows by hand.
        bigNumberStrings: false,
        ...extra,
      }),
    leaks,
    abandon: () => void (abandoned = true),
  };
}

/** A transaction that somebody left open would hold it up. */
export function dropDatabase(name: string): void {
  for (const { id } of askMariadb(
    `SELECT id AS id FROM information_schema.processlist WHERE db = '${name}'`,
  )) {
    try {
      askMariadb(`KILL ${Number(id)}`);
    } catch {
      // It has gone by itself.
    }
  }
  askMariadb(`DROP DATABASE IF EXISTS ${name}`);
}

/** Asks the server about everything, from a connection that belongs to no test. */
export const askMariadb = asker(
  'mysql2',
  () => inject('mariadb'),
  `
const pool = driver.createPool({ uri: url, connectionLimit: 1 });
return (sql) => new Promise((resolve, reject) =>
  pool.query(sql, (error, rows) => error ? reject(error) : resolve(Array.isArray(rows) ? rows : [])));`,
);
