import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const bench = path.resolve(import.meta.dirname, '..');
const root = path.resolve(bench, '..');

/** Installs the peers and builds the package, each only when needed. */
export async function setUp(adapters) {
  if (!existsSync(path.join(root, 'node_modules/better-sqlite3'))) {
    throw new Error('Run `npm install` in the project folder first.');
  }
  const { dependencies } = JSON.parse(readFileSync(path.join(bench, 'package.json'), 'utf8'));
  const peers = Object.keys(dependencies);
  if (!peers.every((name) => existsSync(path.join(bench, 'node_modules', name)))) {
    console.error('Installing the peers …');
    // Not `ci`, which misses the optional packages of other platforms in the lockfile.
    const install = ['install', '--no-audit', '--no-fund'];
    execFileSync('npm', install, { cwd: bench, stdio: 'inherit' });
  }
  const ours = adapters.some((name) => name.startsWith('nestjs-jobs'));
  if (ours && process.env.NESTJS_JOBS_DIST === undefined) {
    const { build, isBuilt } = await import('../../scripts/build.mjs');
    if (!isBuilt()) {
      console.error('Building nestjs-jobs …');
      const complaints = await build();
      if (complaints !== '') throw new Error(`The package does not build:\n${complaints}`);
    }
  }
}
