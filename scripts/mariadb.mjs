// A MariaDB server for tests: started on a free port by an ordinary user, gone afterwards.
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, ordinaryUser } from './servers.mjs';

/** Where the server's programs are: MARIADB_BIN, else what is in PATH; undefined when they are not there. */
export function mariadbBinaries() {
  const folders = [process.env.MARIADB_BIN, ...(process.env.PATH ?? '').split(path.delimiter)];
  const find = (name) =>
    [...folders, '/usr/sbin']
      .filter(Boolean)
      .map((folder) => path.join(folder, name))
      .find((file) => existsSync(file));
  const [server, install] = [find('mariadbd'), find('mariadb-install-db')];
  return server === undefined || install === undefined ? undefined : { server, install };
}

/** Starts a server; `durable` keeps its promises over a crash, as a benchmark must. */
export async function startMariadb({ durable = false, settings = [] } = {}) {
  const bin = mariadbBinaries();
  if (bin === undefined) {
    throw new Error(
      'No MariaDB was found to test with: install mariadb-server, or set MARIADB_BIN to the folder of mariadbd, or DATABASE_URL to a server of yours.',
    );
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-mariadb-'));
  const user = ordinaryUser(['mysql', 'nobody']);
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const as = { ...user, cwd: folder, env: { ...process.env, LC_ALL: 'C', HOME: folder } };
  const data = path.join(folder, 'data');
  const common = ['--no-defaults', `--datadir=${data}`];
  const made = spawnSync(
    bin.install,
    [
      ...common,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
    ],
    { ...as, encoding: 'utf8' },
  );
  if (made.status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`mariadb-install-db failed: ${made.error ?? made.stderr}${made.stdout}`);
  }
  const port = await freePort();
  const careless = [
    '--innodb-flush-log-at-trx-commit=0',
    '--innodb-doublewrite=0',
    '--innodb-flush-method=nosync',
    '--sync-frm=0',
    '--innodb-buffer-pool-size=128M',
    '--innodb-fast-shutdown=2',
  ];
  const launch = async () => {
    const server = spawn(
      bin.server,
      [
        ...common,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        `--socket=${path.join(folder, 's.sock')}`,
        `--pid-file=${path.join(folder, 'pid')}`,
        '--skip-name-resolve',
        '--max-connections=300',
        ...(durable ? [] : careless),
        ...settings,
      ],
      { ...as, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await ready(server);
    // The log would fill the pipe.
    server.stderr.resume();
    return server;
  };
  let server = await launch();
  const end = async (signal) => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    if (server.exitCode === null && server.signalCode === null && server.kill(signal)) await ended;
  };
  return {
    url: `mysql://root@127.0.0.1:${port}/mysql`,
    get pid() {
      return server.pid;
    },
    /** Ends it and keeps its data: SIGTERM disconnects everybody, SIGKILL is a crash. */
    end,
    /** Starts it again where it was. */
    async start() {
      server = await launch();
    },
    async stop() {
      await end(durable ? 'SIGTERM' : 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function ready(server) {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`MariaDB does not start: ${said}`)), 30_000);
    server.stderr.setEncoding('utf8').on('data', (text) => {
      said += text;
      if (/ready for connections/.test(said)) {
        clearTimeout(timer);
        resolve();
      }
    });
    server.once('error', reject);
    server.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`MariaDB ended: ${said}`));
    });
  });
}
