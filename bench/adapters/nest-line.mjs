/** The packages of one line: which Nest, which TypeORM, which driver, and nestjs-jobs beside them. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const root = path.resolve(import.meta.dirname, '../..');
const compat = path.join(root, 'test/compat/nest11');

/** The build that is measured; `--dist` names another, to compare two. */
const dist = process.env.NESTJS_JOBS_DIST ?? path.join(root, 'dist');

/** The job type that every scenario runs. */
export const NO_OP = { name: 'noop', description: 'Does nothing' };

export function packagesOf(line) {
  return line === 'compat' ? compatPackages() : currentPackages();
}

async function currentPackages() {
  const [{ NestFactory }, { Module }, { TypeOrmModule }, { DataSource }, jobs] = await Promise.all([
    import('@nestjs/core'),
    import('@nestjs/common'),
    import('@nestjs/typeorm'),
    import('typeorm'),
    import(pathToFileURL(path.join(dist, 'esm/index.js')).href),
  ]);
  const versions = versionsOf(createRequire(import.meta.url), 'better-sqlite3');
  return {
    NestFactory,
    Module,
    TypeOrmModule,
    DataSource,
    jobs,
    driver: 'better-sqlite3',
    versions,
  };
}

function compatPackages() {
  const require = createRequire(path.join(compat, 'package.json'));
  const { NestFactory } = require('@nestjs/core');
  const { Module } = require('@nestjs/common');
  const { TypeOrmModule } = require('@nestjs/typeorm');
  const { DataSource } = require('typeorm');
  const jobs = require(path.join(copyForCompat(), 'dist/cjs/index.js'));
  const versions = versionsOf(require, 'sqlite3');
  return { NestFactory, Module, TypeOrmModule, DataSource, jobs, driver: 'sqlite', versions };
}

/**
 * A package finds its peers from where it stands, so the older line gets a copy of dist/ inside its
 * own node_modules, in a folder that the test suite does not use.
 */
function copyForCompat() {
  const home = path.join(compat, 'node_modules/.bench/nestjs-jobs');
  const stamp = path.join(home, '.copied');
  const built = statSync(dist).mtimeMs;
  if (existsSync(stamp) && statSync(stamp).mtimeMs > built) return home;
  const fresh = `${home}-${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  cpSync(dist, path.join(fresh, 'dist'), { recursive: true });
  cpSync(path.join(root, 'package.json'), path.join(fresh, 'package.json'));
  writeFileSync(path.join(fresh, '.copied'), '');
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  return home;
}

function versionsOf(require, driver) {
  const names = ['@nestjs/core', 'typeorm', driver];
  return Object.fromEntries(names.map((name) => [name, versionOf(require.resolve(name), name)]));
}

/** Read beside the code: not every package exports its package.json. */
function versionOf(file, name) {
  const folder = file.slice(0, file.lastIndexOf(path.join('node_modules', name)));
  const manifest = path.join(folder, 'node_modules', name, 'package.json');
  return JSON.parse(readFileSync(manifest, 'utf8')).version;
}
