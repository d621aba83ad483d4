import path from 'node:path';
import { defineConfig } from 'vitest/config';
import suite from './vitest.config.js';

/**
 * Faults: real processes and real servers that are killed, cut off and led astray, see CONTRIBUTING.
 * Not a part of `npm test`; `.ci/run` runs it in a few minutes, `.ci/run --full` as long as it takes.
 */
const root = import.meta.dirname;

export default defineConfig({
  test: {
    name: 'faults',
    include: ['test/faults/**/*.spec.ts'],
    // Only at full length.
    exclude:
      process.env['JOBS_TEST_FULL'] === '1'
        ? []
        : ['high-availability', 'shutdown'].map((name) => `test/faults/${name}.spec.ts`),
    globalSetup: ['scripts/test-setup.mjs'],
    setupFiles: ['test/support/set-up.ts'],
    env: { JOBS_TEST_FIXTURES: path.join(root, 'test/processes/fixtures') },
    provide: { line: 'nest12' },
    pool: 'forks',
    // A cluster is several processes by itself.
    maxWorkers: 2,
    testTimeout: 15_000,
    hookTimeout: 60_000,
  },
  resolve: suite.resolve,
  oxc: suite.oxc,
});
