/** The PostgreSQL server of a run: durable, default settings, a fresh database for each sample. */
import pg from 'pg';
import { startPostgres } from '../../scripts/postgres.mjs';
import { cpuOf, parentOf } from './cpu.mjs';

/** `JOBS_BENCH_POSTGRES` names a server that is there, on this machine. */
export async function start() {
  const given = process.env.JOBS_BENCH_POSTGRES;
  const server = given ? { url: given, stop: () => {} } : await startPostgres({ durable: true });
  const admin = await connected(server.url);
  const ask = async (sql) => (await admin.query(sql)).rows;
  const [{ pid }] = await ask('SELECT pg_backend_pid() AS pid');
  const cpuUs = cpuOf(parentOf(pid));
  let made = 0;
  return {
    /** A database of its own for one sample. */
    async create() {
      const name = `bench_${process.pid}_${(made += 1)}`;
      await ask(`CREATE DATABASE ${name} TEMPLATE template0`);
      await ask('CHECKPOINT');
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      return {
        url: url.href,
        async transactions() {
          const sql = `SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = '${name}'`;
          return Number((await ask(sql))[0].n);
        },
        checkpoint: () => ask('CHECKPOINT'),
        /** A session that sees the database as it is now, until it is told to end. */
        async pinned() {
          const session = await connected(url.href);
          await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
          await session.query('SELECT count(*) FROM pg_class');
          return () => session.end();
        },
        cpuUs,
        drop: () => ask(`DROP DATABASE ${name} WITH (FORCE)`),
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
    /** When the run is broken off: there is no time to wait. */
    kill: () => void server.stop(),
  };
}

async function connected(url) {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  return client;
}
