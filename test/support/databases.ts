import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import { dropLater, type Lifetime } from './cleanup.js';
import { askMariadb, createMariadbDatabase, dropDatabase } from './mariadb.js';
import { ask, createPostgresDatabase } from './postgres.js';

/** A database of a test's own, empty at first. */
export interface TestDatabase {
  /** TypeORM options of a connection to it; `extra` is laid over them. */
  options(extra?: object): TypeOrmModuleOptions;
  /** The file it lives in; undefined for a server. */
  readonly file: string | undefined;
  /** The folder a test may put files into. */
  readonly folder: string;
  /** What still holds it open in this process, in words; empty when nothing does. */
  leaks(): string[];
  /** A boot was refused: Nest leaves the host's own connection open, and nobody can close it. */
  abandon(): void;
}

/** What a database that nobody used has in it: our tables only where that saves a boot much time. */
export type Contents = 'nothing' | 'tables';

/** What a database must offer for the behavioural suite to run on it. */
interface DatabaseKind {
  create(lifetime: Lifetime, contents: Contents): TestDatabase;
}

const sqliteFile = (driver: 'better-sqlite3' | 'sqlite'): DatabaseKind => ({
  create(lifetime) {
    const folder = mkdtempSync(path.join(tmpdir(), 'jobs-test-'));
    const file = path.join(folder, 'app.db');
    let abandoned = 0;
    // One descriptor of the main file is one connection.
    const leaks = (): string[] =>
      openFilesBelow(folder)
        .filter((name) => name === file)
        .slice(abandoned);
    dropLater(() => {
      const open = leaks();
      rmSync(folder, { recursive: true, force: true });
      if (open.length > 0) {
        throw new Error(`Everything is closed, and yet open: ${open.join(', ')}`);
      }
    }, lifetime);
    return {
      file,
      folder,
      options: (extra = {}) => asOptions({ type: driver, database: file, ...extra }),
      leaks,
      abandon: () => void (abandoned += 1),
    };
  },
});

/** One entry a database. */
const DATABASES: Readonly<Record<string, DatabaseKind>> = {
  'better-sqlite3': sqliteFile('better-sqlite3'),
  sqlite3: sqliteFile('sqlite'),
  postgres: {
    create: (lifetime, contents) => createPostgresDatabase(lifetime, asOptions, contents),
  },
  mariadb: { create: (lifetime) => createMariadbDatabase(lifetime, asOptions) },
};

/** The vitest project's database driver. */
export const driverUnderTest = process.env['JOBS_TEST_DRIVER'] ?? 'better-sqlite3';

/** Whether it is one file, which has one writer, permissions and a size. */
export const isFile = !['postgres', 'mariadb'].includes(driverUnderTest);

/** A new database of the kind that the vitest project is for. */
export function createDatabase(
  lifetime: Lifetime = 'test',
  contents: Contents = 'nothing',
): TestDatabase {
  const kind = DATABASES[driverUnderTest];
  if (kind === undefined) {
    throw new Error(
      `JOBS_TEST_DRIVER is "${driverUnderTest}": use ${Object.keys(DATABASES).join(' or ')}.`,
    );
  }
  return kind.create(lifetime, contents);
}

/** Another database beside it that is not there yet, by the name that TypeORM is given. */
export function missingDatabase(beside: TestDatabase): {
  readonly name: string;
  readonly create: () => void;
} {
  if (!isFile) {
    const name = `${path.basename(beside.folder).replaceAll('-', '_').toLowerCase()}`;
    if (driverUnderTest === 'mariadb') {
      dropLater(() => dropDatabase(name), 'test');
      return { name, create: () => void askMariadb(`CREATE DATABASE ${name}`) };
    }
    dropLater(() => void ask(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`), 'test');
    return { name, create: () => void ask(`CREATE DATABASE ${name} TEMPLATE template0`) };
  }
  // A file where the folder should be: no driver can make the folder then.
  const folder = path.join(beside.folder, 'data');
  writeFileSync(folder, 'in the way');
  return {
    name: path.join(folder, 'app.db'),
    create: () => {
      rmSync(folder);
      mkdirSync(folder);
    },
  };
}

// The two lines of TypeORM know different `type` words, so no literal fits both.
function asOptions(options: object): TypeOrmModuleOptions {
  return { retryAttempts: 1, autoLoadEntities: true, ...options } as TypeOrmModuleOptions;
}

function openFilesBelow(folder: string): string[] {
  const fds = '/proc/self/fd';
  // Only Linux tells; elsewhere the other checks must do.
  if (!existsSync(fds)) {
    return [];
  }
  return readdirSync(fds).flatMap((fd) => {
    try {
      const target = readlinkSync(path.join(fds, fd));
      return target.startsWith(folder) ? [target] : [];
    } catch {
      // The descriptor of this very listing is gone by now.
      return [];
    }
  });
}
