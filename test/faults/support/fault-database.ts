import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { mariadbBinaries, startMariadb } from '../../../scripts/mariadb.mjs';
import { startPostgres } from '../../../scripts/postgres.mjs';
import type { TestServer } from '../../../scripts/servers.d.mts';
import { dropLater } from '../../support/cleanup.js';
import type { TestDatabase } from '../../support/databases.js';
import type { JobRow, RunRow } from '../history.js';

export const KINDS = ['sqlite', 'postgres', 'mariadb'] as const;
export type Kind = (typeof KINDS)[number];

/** What there is to test on here. */
export const kindsHere: readonly Kind[] = KINDS.filter(
  (kind) => kind !== 'mariadb' || mariadbBinaries() !== undefined,
);

type Row = Record<string, unknown>;

/** A database that faults may happen to, and that is read by plain SQL. */
export interface FaultDatabase extends TestDatabase {
  readonly kind: Kind;
  readonly server: TestServer;
  /** Its port on this machine. */
  readonly port: number;
  /** Where the fixtures of its processes are, if not where those of the line are. */
  readonly fixtures?: string;
  /** Asks over a new connection. */
  ask(sql: string): Promise<readonly Row[]>;
}

const DATABASE = 'faults';

/** The driver is a package of the other line. */
const FIXTURES_OF_SQLITE3 = path.resolve('test/compat/nest11/fixtures');

/** A server of the test's own, which keeps what it has acknowledged over a crash; or a file. */
export async function createFaultDatabase(kind: Kind, driver?: 'sqlite3'): Promise<FaultDatabase> {
  return kind === 'sqlite'
    ? fileDatabase(driver)
    : serverDatabase(
        kind,
        kind === 'postgres'
          ? await startPostgres({ durable: true })
          : await startMariadb({ durable: true }),
      );
}

/** The tables of the library as they stand. */
export async function rowsOf(
  database: Pick<FaultDatabase, 'ask'>,
): Promise<{ jobs: readonly JobRow[]; runs: readonly RunRow[] }> {
  const jobs = (await database.ask(`SELECT ${JOB_COLUMNS} FROM jobs`)).map(plain) as unknown[];
  const runs = (await database.ask(`SELECT ${RUN_COLUMNS} FROM job_runs`)).map(plain) as unknown[];
  return { jobs: jobs as JobRow[], runs: runs as RunRow[] };
}

const JOB_COLUMNS =
  'job_id, type, queue, tenant_id, idempotency_key, status, revision, retries, lost, max_retries, run_id, run_outcome, worker_id, scheduled_at_ms, started_at_ms, finished_at_ms, lease_until_ms, result, params';
const RUN_COLUMNS = 'run_id, job_id, revision, worker_id, started_at_ms, ended_at_ms, outcome';

const NUMBERS = /_ms$|^(revision|retries|lost|max_retries)$/;

/** Large numbers come as texts from some drivers. */
function plain(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      value !== null && NUMBERS.test(name) ? Number(value) : value,
    ]),
  );
}

function fileDatabase(driver?: 'sqlite3'): FaultDatabase {
  const folder = newFolder();
  const file = path.join(folder, 'app.db');
  return {
    kind: 'sqlite',
    file,
    folder,
    port: 0,
    get server(): TestServer {
      throw new Error('A file has no server.');
    },
    ...(driver === undefined ? {} : { fixtures: FIXTURES_OF_SQLITE3 }),
    options: (extra = {}) =>
      asOptions({
        type: driver === undefined ? 'better-sqlite3' : 'sqlite',
        database: file,
        ...extra,
      }),
    leaks: () => [],
    abandon: () => undefined,
    ask: (sql) => ask({ type: 'better-sqlite3', database: file, timeout: 5000 }, sql),
  };
}

export async function serverDatabase(
  kind: 'postgres' | 'mariadb',
  server: TestServer,
): Promise<FaultDatabase> {
  const folder = newFolder();
  dropLater(() => server.stop(), 'test');
  const url = new URL(server.url);
  const place = {
    type: kind,
    host: url.hostname,
    port: Number(url.port),
    username: kind === 'postgres' ? 'postgres' : 'root',
  };
  await ask({ ...place, database: url.pathname.slice(1) }, `CREATE DATABASE ${DATABASE}`);
  return {
    kind,
    server,
    folder,
    file: undefined,
    port: place.port,
    options: (extra = {}) => asOptions({ ...place, database: DATABASE, ...extra }),
    leaks: () => [],
    abandon: () => undefined,
    ask: (sql) => ask({ ...place, database: DATABASE }, sql),
  };
}

/** A server that is none of a test's database, as another node of its cluster is. */
export function askMariadbAt(url: string, sql: string): Promise<readonly Row[]> {
  const { hostname: host, port } = new URL(url);
  return ask({ type: 'mariadb', host, port: Number(port), username: 'root' }, sql);
}

/** Over a connection of its own: the last one may have been cut. */
async function ask(options: DataSourceOptions, sql: string): Promise<Row[]> {
  const source = new DataSource(options);
  await source.initialize();
  try {
    return (await source.query(sql)) as Row[];
  } finally {
    await source.destroy();
  }
}

/** An application waits for its own connection at boot, as long as a database may be away. */
function asOptions(options: object): TypeOrmModuleOptions {
  return {
    retryAttempts: 100,
    retryDelay: 300,
    autoLoadEntities: true,
    ...options,
  } as TypeOrmModuleOptions;
}

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-faults-'));
  dropLater(() => rmSync(folder, { recursive: true, force: true }), 'test');
  return folder;
}
