/** The MariaDB server of a run: durable, default settings, a fresh database for each sample. */
import { mariadbBinaries, startMariadb } from '../../scripts/mariadb.mjs';
import { cpuOf } from './cpu.mjs';

export function missing() {
  return mariadbBinaries() === undefined
    ? 'no mariadbd in PATH or MARIADB_BIN: install mariadb-server'
    : undefined;
}

export async function start() {
  const server = await startMariadb({ durable: true });
  const { createConnection } = await import('mysql2/promise');
  const admin = await createConnection(server.url);
  const ask = async (sql) => (await admin.query(sql))[0];
  const cpuUs = cpuOf(server.pid);
  let made = 0;
  return {
    async create() {
      const name = `bench_${process.pid}_${(made += 1)}`;
      await ask(`CREATE DATABASE ${name}`);
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      return {
        url: url.href,
        checkpoint: () => ask('FLUSH ENGINE LOGS'),
        cpuUs,
        drop: () => ask(`DROP DATABASE ${name}`),
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
    kill: () => void server.stop(),
  };
}
