// vitest's globalSetup: what child processes need, see test/support/README.md.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build, isBuilt } from './build.mjs';

const root = path.resolve(import.meta.dirname, '..');
const compat = path.join(root, 'test/compat/nest11');

export async function setup() {
  if (!isBuilt()) {
    // Type errors are the business of `npm run typecheck`; a test of one folder need not wait for them.
    const complaints = await build({ lenient: true });
    if (complaints !== '') console.warn(`dist/ was built in spite of type errors:\n${complaints}`);
  }
  copyPackage(path.join(compat, 'node_modules/nestjs-jobs'));
  copyFixtures(path.join(root, 'test/processes/fixtures'), path.join(compat, 'fixtures'));
}

// A copy, not a link: Node resolves a link to the root's own packages, which are the other line's.
function copyPackage(to) {
  const same = (name) => read(path.join(root, name)) === read(path.join(to, name));
  if (same('dist/.built') && same('package.json')) return;
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const name of ['dist', 'package.json']) {
    cpSync(path.join(root, name), path.join(to, name), { recursive: true });
  }
}

// Over what is there, so that a test that runs at the same time keeps its files.
function copyFixtures(from, to) {
  cpSync(from, to, { recursive: true });
  for (const name of readdirSync(to)) {
    if (!existsSync(path.join(from, name))) rmSync(path.join(to, name), { recursive: true });
  }
}

function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}
