/** The database servers of a run, each started once, when the first peer needs it. */
import * as mariadb from './mariadb.mjs';
import * as postgres from './postgres.mjs';
import * as redis from './redis.mjs';

const SERVERS = {
  postgres: { start: postgres.start },
  mariadb,
  redis: { start: redis.start('none'), missing: redis.missing },
  'redis-aof': { start: redis.start('everysec'), missing: redis.missing },
};

const started = new Map();
const running = new Set();

/** Why that server cannot be had on this machine; undefined when it can. */
export const missing = (kind) => SERVERS[kind].missing?.();

export function server(kind) {
  if (!started.has(kind)) started.set(kind, start(kind));
  return started.get(kind);
}

async function start(kind) {
  const server = await SERVERS[kind].start();
  running.add(server);
  return server;
}

export async function stopServers() {
  for (const server of running) {
    running.delete(server);
    await server.stop();
  }
}

/** When the run is broken off: there is no time to wait. */
export function killServers() {
  for (const server of running) server.kill();
}
