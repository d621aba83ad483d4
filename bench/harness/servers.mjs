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
let isOver = false;

/** Why that server cannot be had on this machine; undefined when it can. */
export const missing = (kind) => SERVERS[kind].missing?.();

export function server(kind) {
  if (isOver) throw new Error('The run is over.');
  if (!started.has(kind)) started.set(kind, start(kind));
  return started.get(kind);
}

async function start(kind) {
  const server = await SERVERS[kind].start();
  running.add(server);
  return server;
}

/** Ends them, also those that are about to start, and takes their folders away. */
export async function stopServers() {
  isOver = true;
  await Promise.allSettled(started.values());
  await Promise.all(
    [...running].map(async (server) => {
      await server.stop();
      running.delete(server);
    }),
  );
}

/** When there is no time to wait. */
export function killServers() {
  for (const server of running) server.kill();
}
