// vitest's globalSetup of the projects on PostgreSQL: one server for all of them, ended with the last.
import { startPostgres } from './postgres.mjs';

const shared = (globalThis[Symbol.for('nestjs-jobs:test-postgres')] ??= {
  users: 0,
  server: undefined,
});

export async function setup(project) {
  shared.users += 1;
  shared.server ??= process.env.DATABASE_URL
    ? Promise.resolve({ url: process.env.DATABASE_URL, stop: () => Promise.resolve() })
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
