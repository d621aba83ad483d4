import path from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import suite from './vitest.config.js';

/**
 * Faults: real processes and real servers that are killed, cut off and led astray, see CONTRIBUTING.
 * Not a part of `npm test`; `.ci/run` runs it in a few minutes, `.ci/run --full` as long as it takes.
 */
const root = import.meta.dirname;
const isFull = process.env['JOBS_TEST_FULL'] === '1';

/** Those that take longest, which begin first: by its size, by which files are sorted else, a file of scenarios is short. */
const LONG = ['scenarios-network', 'scenarios-', 'crash-points', 'interleavings', 'model'];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => path.basename(moduleId).startsWith(name));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    name: 'faults',
    include: ['test/faults/**/*.spec.ts'],
    // Only at full length.
    exclude: isFull
      ? []
      : ['high-availability', 'shutdown'].map((name) => `test/faults/${name}.spec.ts`),
    globalSetup: ['scripts/test-setup.mjs'],
    setupFiles: ['test/support/set-up.ts'],
    env: { JOBS_TEST_FIXTURES: path.join(root, 'test/processes/fixtures') },
    provide: { line: 'nest12' },
    pool: 'forks',
    // A cluster is several processes by itself; at full length, one mostly waits for a network that lags.
    maxWorkers: isFull ? 3 : 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 15_000,
    hookTimeout: 60_000,
  },
  resolve: suite.resolve,
  oxc: suite.oxc,
});
