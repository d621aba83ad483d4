// vitest's globalSetup of the projects on PostgreSQL: one server for all of them, ended with the last.
import pg from 'pg';
import { startPostgres } from './postgres.mjs';

const shared = (globalThis[Symbol.for('nestjs-jobs:test-postgres')] ??= {
  users: 0,
  server: undefined,
});

export async function setup(project) {
  shared.users += 1;
  shared.server ??= process.env.DATABASE_URL
    ? Promise.resolve({ url: process.env.DATABASE_URL, stop: dropDatabases })
    : startPostgres();
  project.provide('postgres', (await shared.server).url);
}

export async function teardown() {
  shared.users -= 1;
  if (shared.users === 0) {
    const server = await shared.server;
    shared.server = undefined;
    await server?.stop();
  }
}

/** On a server that goes on, the databases of this run's processes go. */
async function dropDatabases() {
  const client = new pg.Client(process.env.DATABASE_URL);
  await client.connect();
  const made = `jobs_test_${process.pid}_%`;
  const { rows } = await client.query('SELECT datname FROM pg_database WHERE datname LIKE $1', [
    made,
  ]);
  for (const { datname } of rows) await client.query(`DROP DATABASE ${datname} WITH (FORCE)`);
  await client.end();
}
