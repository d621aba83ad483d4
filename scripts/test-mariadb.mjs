// vitest's globalSetup of the projects on MariaDB: one server for all of them, ended with the last.
import { startMariadb } from './mariadb.mjs';

const shared = (globalThis[Symbol.for('nestjs-jobs:test-mariadb')] ??= {
  users: 0,
  server: undefined,
});

export async function setup(project) {
  shared.users += 1;
  shared.server ??= process.env.DATABASE_URL
    ? Promise.resolve({ url: process.env.DATABASE_URL, stop: () => Promise.resolve() })
    : startMariadb();
  project.provide('mariadb', (await shared.server).url);
}

export async function teardown() {
  shared.users -= 1;
  if (shared.users === 0) {
    const server = await shared.server;
    shared.server = undefined;
    await server?.stop();
  }
}
