import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { defineConfig, type Plugin } from 'vitest/config';
import { mariadbBinaries } from './scripts/mariadb.mjs';

/**
 * One suite, two lines of dependencies:
 *
 *   nest12  Nest 12, TypeORM 1.1, better-sqlite3  (the root's own packages)         all tests
 *   nest11  Nest 11, TypeORM 0.3, sqlite3         (workspace test/compat/nest11)    the behavioural ones
 *   nest12-postgres, nest11-postgres              the same lines on PostgreSQL      the behavioural ones
 *   nest12-mariadb, nest11-mariadb                the same lines on MariaDB         the behavioural ones
 *
 * Nest 11 on a server mostly doubles what Nest 12 says of the database: all of it runs with JOBS_TEST_FULL=1,
 * and what depends on the line of TypeORM with JOBS_TEST_SERVERS=rest. MariaDB is there where it is installed.
 * JOBS_TEST_SERVERS=rest runs, on servers and on Nest 11, only what is left out otherwise. DATABASE_URL names a server of one's own instead: that one kind of database is then
 * tested on it, whole, and the other kind is left out.
 *
 * A test asks `inject('line')` for its line and reads JOBS_TEST_DRIVER for its database driver.
 *
 * Child processes are out of reach of the resolver below. Before the first test `globalSetup` builds
 * dist/ when lib/ is newer, and lays out for each line a folder where Node itself finds the right
 * packages; a test starts `<JOBS_TEST_FIXTURES>/<name>.mjs`. See test/support/README.md.
 */
const root = import.meta.dirname;
// For workers, their children and the servers alike.
process.env['TMPDIR'] = testFolder();

type Line = 'nest12' | 'nest11';

declare module 'vitest' {
  interface ProvidedContext {
    line: Line;
    /** Where the servers of the projects on one are. */
    postgres: string;
    mariadb: string;
  }
}

const suffix = '*.{spec,e2e-spec}.ts';

/** What an application does, whatever its database. */
const behavioural = ['behaviour', 'rest', 'nest', 'processes'].map(
  (folder) => `test/${folder}/**/${suffix}`,
);

/** What happens to files and to databases in memory. */
const aboutFiles = ['database-errors', 'memory', 'write-ahead-log'].map(
  (name) => `test/behaviour/${name}.spec.ts`,
);

/** What never reaches a database: services made up by the test, options that are refused, modules that are loaded. */
const withoutDatabase = [
  ...['boot', 'doors', 'events', 'host', 'identity', 'openapi', 'problems', 'requests', 'wait'].map(
    (name) => `test/rest/${name}.e2e-spec.ts`,
  ),
  'test/nest/options.spec.ts',
  'test/processes/loaded.e2e-spec.ts',
  'test/processes/lines.e2e-spec.ts',
];

const url = process.env['DATABASE_URL'];
const isFull = process.env['JOBS_TEST_FULL'] !== undefined;
/** Whether all of the suite runs on each server. */
const isAll = isFull || url !== undefined;

/** The servers that there are to test on. */
const servers = (['postgres', 'mariadb'] as const).filter((server) =>
  url === undefined
    ? server === 'postgres' || mariadbBinaries() !== undefined
    : /^(mysql|mariadb):/.test(url) === (server === 'mariadb'),
);

/** Of the behavioural suite, what `npm test` runs on MariaDB as well. */
const core = [
  'clock',
  'context-transaction',
  'enqueue',
  'enqueue-in-transaction',
  'enqueue-many',
  'idempotency',
  'leases',
  'limits',
  'operations-matrix',
  'random-operations',
  'retries',
  'suspend-resume',
];

/** Of the behavioural suite, what takes long and is mostly above the database. */
const slow = [
  'dependencies',
  'dependency-causes',
  'dependency-crowds',
  'dependency-ends',
  'log-flood',
  'schedules',
  'sleeps-and-signals',
  'steps',
  'unique-release',
  'webhook-endpoints',
  'webhooks',
];

/** What keeps `npm test` under five minutes by running with JOBS_TEST_SERVERS=rest, in a step of its own. */
const apart: Readonly<Record<'nest11' | (typeof servers)[number], readonly string[]>> = {
  nest11: [
    'test/processes/@(kill|durable|schedules|webhooks).spec.ts',
    `test/behaviour/@(${slow.join('|')}).spec.ts`,
    `test/rest/**/${suffix}`,
    `test/nest/**/${suffix}`,
  ],
  postgres: [
    'test/postgres/slow.spec.ts',
    'test/processes/@(kill|durable|schedules|webhooks).spec.ts',
    `test/behaviour/@(${slow.join('|')}).spec.ts`,
    `test/rest/**/${suffix}`,
    `test/nest/**/${suffix}`,
  ],
  mariadb: [
    'test/mariadb/slow.spec.ts',
    ...['rest', 'nest', 'processes'].map((folder) => `test/${folder}/**/${suffix}`),
    `test/behaviour/!(${core.join('|')}).spec.ts`,
  ],
};

/** Where TypeORM 0.3 on a server is another matter than TypeORM 1: its drivers, transactions and names of tables. */
const ofLine = [
  ...['enqueue', 'enqueue-in-transaction', 'host-transaction', 'schema', 'uniqueness'].map(
    (name) => `test/behaviour/${name}.spec.ts`,
  ),
  'test/nest/migrations.spec.ts',
];

const isRest = process.env['JOBS_TEST_SERVERS'] === 'rest';

function onServer(server: (typeof servers)[number], name: Line, fixtures: string) {
  const settings = line(name, server, fixtures, behavioural);
  return {
    ...settings,
    name: `${name}-${server}`,
    include: isRest
      ? [...(name === 'nest11' ? ofLine : apart[server])]
      : [...behavioural, `test/${server}/**/${suffix}`],
    exclude: [
      ...settings.exclude,
      ...aboutFiles,
      ...withoutDatabase,
      ...(isRest || isAll ? [] : apart[server]),
    ],
    globalSetup: [`scripts/test-${server}.mjs`],
  };
}

function nest11() {
  const include = isRest ? [...apart.nest11] : behavioural;
  const settings = line('nest11', 'sqlite3', 'test/compat/nest11/fixtures', include);
  const left = isRest || isFull ? [] : apart.nest11;
  return { ...settings, exclude: [...settings.exclude, ...left] };
}

function line(name: Line, driver: string, fixtures: string, include: string[]) {
  return {
    name,
    include,
    exclude: ['**/node_modules/**', '**/dist/**', 'test/compat/**', 'test/package/**'],
    env: { JOBS_TEST_DRIVER: driver, JOBS_TEST_FIXTURES: path.join(root, fixtures) },
    provide: { line: name },
  };
}

/** Bare imports written in our own files resolve as if they were written inside `folder`. */
function resolveFrom(folder: string): Plugin {
  const anchor = path.join(root, folder, 'package.json');
  return {
    name: `resolve-from:${folder}`,
    enforce: 'pre',
    async resolveId(id, importer, options) {
      const ours = importer !== undefined && !importer.includes('/node_modules/');
      const bare = /^[@a-z]/.test(id) && !/^(node:|vitest$|vitest\/|@vitest\/)/.test(id);
      return ours && bare ? this.resolve(id, anchor, { ...options, skipSelf: true }) : null;
    },
  };
}

/**
 * Where databases are: in memory where there is a folder with room for them. Tests make thousands of
 * short-lived files, which take ten times as long on some disks. `TMPDIR` decides if it is set.
 */
function testFolder(): string {
  const memory = '/dev/shm';
  if (process.env['TMPDIR'] !== undefined) return tmpdir();
  try {
    const { bavail, bsize } = statfsSync(memory);
    return bavail * bsize > 2 * 1024 ** 3 ? memory : tmpdir();
  } catch {
    return tmpdir();
  }
}

export default defineConfig({
  test: {
    globalSetup: ['scripts/test-setup.mjs'],
    setupFiles: ['test/support/set-up.ts'],
    projects: [
      {
        extends: true,
        test: line('nest12', 'better-sqlite3', 'test/processes/fixtures', [
          `test/!(postgres|mariadb|faults)/**/${suffix}`,
          `test/${suffix}`,
        ]),
      },
      {
        extends: true,
        plugins: [resolveFrom('test/compat/nest11')],
        test: nest11(),
      },
      ...servers.flatMap((server) => [
        { extends: true as const, test: onServer(server, 'nest12', 'test/processes/fixtures') },
        ...(isFull || isRest
          ? [
              {
                extends: true as const,
                plugins: [resolveFrom('test/compat/nest11')],
                test: onServer(server, 'nest11', 'test/compat/nest11/fixtures'),
              },
            ]
          : []),
      ]),
    ],
    // Processes, for native drivers. Most of what tests do is wait, so three keep two cores busy. The
    // files of a process share its modules: loading Nest and TypeORM anew for each took most of the time.
    pool: 'forks',
    maxWorkers: 3,
    isolate: false,
    testTimeout: 15_000,
    hookTimeout: 15_000,
  },
  resolve: { alias: { 'nestjs-jobs': path.join(root, 'lib/index.ts') } },
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
});
