// Installs the packed library into applications and runs them on every Node line: see README.md.
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { check, finish, run } from '../../scripts/checks.mjs';

const here = import.meta.dirname;
const root = path.resolve(here, '../..');
const cache = process.env['CONSUMERS_CACHE'] ?? path.join(tmpdir(), 'nestjs-jobs-consumers');
const scratch = fs.mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-run-'));

// Natives are built for tests, not for speed.
const build = { CFLAGS: '-O0', CXXFLAGS: '-O0' };
const minutes = (n) => ({ deadlineMs: n * 60_000 });

const withDriver13 = {
  dependencies: { 'better-sqlite3': '^13.2.0' },
  overrides: { typeorm: { 'better-sqlite3': '$better-sqlite3' } },
};

try {
  fs.mkdirSync(cache, { recursive: true });
  const tarball = await pack();
  const nodes = {};
  for (const major of [20, 22, 24]) nodes[major] = await nodeOf(major);

  // What takes longest is building drivers, one file after the other: all at once.
  const esm = (major, changes) => ({ name: 'esm-app', node: nodes[major], changes });
  const apps = {
    bare: { name: 'bare', node: nodes[20] },
    // sqlite3 6 has one binary for every Node.
    cjs: { name: 'cjs-app', node: nodes[20] },
    // better-sqlite3 12 is built for one Node each; on Node 24 it has to be 13.
    20: esm(20),
    22: esm(22),
    24: esm(24, withDriver13),
    old: esm(24),
  };
  await Promise.all(Object.values(apps).map(async (app) => (app.folder = await prepare(app))));

  const bare = await install(apps.bare, tarball);
  for (const [major, node] of Object.entries(nodes)) {
    await check(`bare: imports without an optional peer on Node ${major}`, () =>
      run(node.exec, ['check.mjs'], { cwd: bare }),
    );
  }

  const cjs = await install(apps.cjs, tarball);
  await checkTypes('cjs-app', cjs);
  for (const [major, node] of Object.entries(nodes)) {
    await checkApp(`cjs-app, Node ${major}`, node, cjs, ['node_modules/jest/bin/jest.js', '--ci']);
  }

  const test = ['node_modules/vitest/vitest.mjs', 'run'];
  for (const major of [20, 22, 24]) {
    const folder = await install(apps[major], tarball);
    if (major === 20) await checkTypes('esm-app', folder);
    else await run(nodes[20].exec, [tscOf(folder)], { cwd: folder });
    await checkApp(`esm-app, Node ${major}`, nodes[major], folder, test);
  }

  const old = await install(apps.old, tarball);
  await run(nodes[20].exec, [tscOf(old)], { cwd: old });
  await check('esm-app, Node 24: boot names the cure for better-sqlite3 12', async () => {
    const env = { JOBS_DB: path.join(scratch, 'old.sqlite') };
    const ended = run(nodes[24].exec, ['dist/src/main.js'], { cwd: old, env, deadlineMs: 30_000 });
    // What this driver does later on, abort the process or not, is left to it.
    const output = await ended.catch((error) => error.message);
    if (!/better-sqlite3 13 with an npm override/.test(output)) throw new Error(output);
  });
} catch (error) {
  await check('set-up', () => {
    throw error;
  });
} finally {
  fs.rmSync(scratch, { recursive: true, force: true });
}
finish();

async function checkTypes(name, cwd) {
  await check(`${name}: compiles`, () => run(process.execPath, [tscOf(cwd)], { cwd }));
  await check(`${name}: our declarations stand without skipLibCheck`, async () => {
    const args = [tscOf(cwd), '--noEmit', '--skipLibCheck', 'false'];
    const output = await run(process.execPath, args, { cwd }).catch((error) => error.message);
    const ours = output.split('\n').filter((line) => line.includes('node_modules/nestjs-jobs/'));
    if (ours.length > 0) throw new Error(ours.join('\n'));
  });
}

async function checkApp(name, node, cwd, test) {
  const database = (kind) => ({ JOBS_DB: path.join(scratch, `${name} ${kind}.sqlite`) });
  await check(`${name}: runs jobs in code and over HTTP, and ends`, () =>
    run(node.exec, ['dist/src/main.js'], { cwd, env: database('main'), deadlineMs: 30_000 }),
  );
  await check(`${name}: its own test passes`, () =>
    run(node.exec, test, { cwd, env: database('test'), deadlineMs: 60_000 }),
  );
}

async function pack() {
  await run('npm', ['pack', '--pack-destination', scratch], { cwd: root });
  const name = fs.readdirSync(scratch).find((file) => file.endsWith('.tgz'));
  return path.join(scratch, name);
}

/** A Node of that major: this process's own, or the one that npm packages for this platform. */
async function nodeOf(major) {
  if (process.versions.node.startsWith(`${major}.`)) return { exec: process.execPath, env: {} };
  const name = `node-${process.platform}-${process.arch}`;
  const folder = path.join(cache, `node-${major}`);
  const home = path.join(folder, 'node_modules', name);
  const exec = path.join(home, 'bin/node');
  if (!fs.existsSync(exec)) {
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }');
    await run('npm', ['install', `${name}@${major}`], { cwd: folder, ...minutes(5) });
  }
  const PATH = `${path.dirname(exec)}${path.delimiter}${process.env['PATH']}`;
  // Natives must be built with the headers that came with this Node.
  return { exec, env: { PATH, npm_config_nodedir: home } };
}

/** A folder with the application's manifest and dependencies, from the cache or fresh. */
async function prepare({ name, node, changes }) {
  const manifest = JSON.parse(fs.readFileSync(path.join(here, name, 'package.json'), 'utf8'));
  const wanted = {
    ...manifest,
    ...changes,
    dependencies: { ...manifest.dependencies, ...changes?.dependencies },
  };
  const version = await run(node.exec, ['-p', 'process.version + process.arch']);
  const key = createHash('sha256').update(JSON.stringify(wanted) + version);
  const folder = path.join(cache, `${name}-${key.digest('hex').slice(0, 12)}`);
  const ready = path.join(folder, '.ready');
  const write = () =>
    fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify(wanted, undefined, 2));

  if (!fs.existsSync(ready)) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    write();
    await run('npm', ['install'], { cwd: folder, env: { ...build, ...node.env }, ...minutes(10) });
    fs.writeFileSync(ready, '');
  }
  write();
  return folder;
}

/** The application's files, and the packed library, in its folder. */
async function install({ name, node, folder }, tarball) {
  fs.rmSync(path.join(folder, 'node_modules/nestjs-jobs'), { recursive: true, force: true });
  for (const part of ['dist', 'src', 'test']) {
    fs.rmSync(path.join(folder, part), { recursive: true, force: true });
  }
  fs.cpSync(path.join(here, name), folder, {
    recursive: true,
    filter: (file) => path.basename(file) !== 'package.json',
  });
  const version = await run(node.exec, ['-p', 'process.versions.node.split(".")[0]']);
  await check(`${name}: installs on Node ${version.trim()}`, () =>
    run('npm', ['install', tarball], {
      cwd: folder,
      env: { ...build, ...node.env },
      ...minutes(10),
    }),
  );
  return folder;
}

function tscOf(folder) {
  return path.join(folder, 'node_modules/typescript/bin/tsc');
}
