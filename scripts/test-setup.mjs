// vitest's globalSetup: what child processes need, see test/support/README.md.
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
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
  copy(['package.json', 'dist'], root, path.join(compat, 'node_modules/nestjs-jobs'));
  copy(['.'], path.join(root, 'test/processes/fixtures'), path.join(compat, 'fixtures'));
}

// A copy, not a link: Node resolves a link to the root's own packages, which are the other line's.
function copy(names, from, to) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  for (const name of names) {
    const source = path.join(from, name);
    if (existsSync(source)) cpSync(source, path.join(to, name), { recursive: true });
  }
}
