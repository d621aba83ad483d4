import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, it, vi } from 'vitest';
import { temporaryFolder } from './support/folder.js';
import { sharedMain } from './support/main.js';
import { buildSample } from './support/sample.js';

// Whole applications start here, and a killed one's lease must end.
vi.setConfig({ testTimeout: 40_000 });

const sample = sharedMain(buildSample('main'));

it('gives back what a database does not use, and keeps what it holds', async () => {
  const { rest, file, compact } = compacting();
  fill(file, 10_000);
  using(file, (database) => database.exec('DELETE FROM item WHERE id > 100'));
  const before = statSync(file).size;
  const { id } = await compact(file);
  const { result } = await rest.end(id, 'completed');
  const after = statSync(file).size;
  expect(result).toEqual({ before, after, pages: after / 4096, integrity: 'ok' });
  expect(after).toBeLessThan(before / 20);
  using(file, (database) => {
    expect(database.prepare('SELECT count(*) FROM item').pluck().get()).toBe(100);
  });
});

it('compacts the database of its own jobs while it works with it', async () => {
  const { rest, data, compact } = compacting();
  const { id } = await compact(path.join(data, 'jobs.sqlite'));
  expect((await rest.end(id, 'completed')).result).toMatchObject({ integrity: 'ok' });
});

it('fails for good on a damaged file, on none and on no database', async () => {
  const { rest, file, compact } = compacting();
  fill(file, 1000);
  damage(file);
  const damaged = await rest.end((await compact(file)).id, 'failed');
  expect(damaged.error).toMatch(/integrity check failed:\n.*\n|malformed/);
  const missing = await rest.end(
    (await compact(path.join(path.dirname(file), 'none'))).id,
    'failed',
  );
  expect(missing.error).toContain('there is no such file');
  const text = path.join(path.dirname(file), 'text');
  writeFileSync(text, 'no database '.repeat(1000));
  const other = await rest.end((await compact(text)).id, 'failed');
  expect(other.error).toContain('file is not a database');
  expect([damaged, missing, other].map(({ retries }) => retries)).toEqual([0, 0, 0]);
});

function compacting() {
  const { rest, data } = sample();
  const compact = (file: string) => rest.enqueue('maintenance:compact', { file });
  return { rest, data, file: path.join(temporaryFolder(), 'target.sqlite'), compact };
}

function fill(file: string, rows: number): void {
  using(file, (database) => {
    database.pragma('page_size = 4096');
    database.exec('CREATE TABLE item (id INTEGER PRIMARY KEY, name BLOB)');
    database.exec('CREATE INDEX item_name ON item (name)');
    const insert = database.prepare('INSERT INTO item (name) VALUES (randomblob(500))');
    database.transaction(() => {
      for (let i = 0; i < rows; i++) insert.run();
    })();
  });
}

function damage(file: string): void {
  const content = readFileSync(file);
  const middle = Math.floor(content.length / 2);
  content.fill(0xaa, middle, middle + 6000);
  writeFileSync(file, content);
}

function using(file: string, work: (database: Database.Database) => void): void {
  const database = new Database(file);
  try {
    work(database);
  } finally {
    database.close();
  }
}
