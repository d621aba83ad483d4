/** The PostgreSQL server of a run: durable, default settings, a fresh database for each sample. */
import { readFileSync, readdirSync } from 'node:fs';
import pg from 'pg';
import { startPostgres } from '../../scripts/postgres.mjs';

let started;
let running;

/** Starts the server once; `JOBS_BENCH_POSTGRES` names one that is there, on this machine. */
export function postgres() {
  started ??= start();
  return started;
}

async function start() {
  const given = process.env.JOBS_BENCH_POSTGRES;
  const server = given ? { url: given, stop: () => {} } : await startPostgres({ durable: true });
  running = server;
  const admin = new pg.Client(server.url);
  admin.on('error', () => {});
  await admin.connect();
  const ask = async (sql) => (await admin.query(sql)).rows;
  const [{ pid }] = await ask('SELECT pg_backend_pid() AS pid');
  const postmaster = Number(statOf(pid)[1]);
  let made = 0;
  return {
    ask,
    /** A database of its own for one sample. */
    async create() {
      const name = `bench_${process.pid}_${(made += 1)}`;
      await ask(`CREATE DATABASE ${name} TEMPLATE template0`);
      await ask('CHECKPOINT');
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      const transactions = async () => {
        const sql = `SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = '${name}'`;
        return Number((await ask(sql))[0].n);
      };
      return {
        url: url.href,
        transactions,
        checkpoint: () => ask('CHECKPOINT'),
        cpuUs: () => cpuUs(postmaster),
        drop: () => ask(`DROP DATABASE ${name} WITH (FORCE)`),
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}

/** When the run is broken off: there is no time to wait. */
export function killPostgres() {
  void running?.stop();
}

export async function stopPostgres() {
  const server = await started;
  started = undefined;
  running = undefined;
  await server?.stop();
}

/** The fields of /proc/<pid>/stat behind the name: state, parent, … */
function statOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const known = new Map();

/**
 * Microseconds that the server and its processes have worked. The scheduler counts nanoseconds, where
 * the ticks of /proc/<pid>/stat are hundredths of a second; of a process that ended the last count stays.
 */
function cpuUs(postmaster) {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (Number(name) === postmaster || Number(statOf(name)[1]) === postmaster) {
        const ns = readFileSync(`/proc/${name}/schedstat`, 'utf8').split(' ')[0];
        known.set(name, Number(ns) / 1000);
      }
    } catch {
      // It has just ended.
    }
  }
  return [...known.values()].reduce((sum, each) => sum + each, 0);
}
