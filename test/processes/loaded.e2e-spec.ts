import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { QUICK } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';

const PACKAGES = ['ajv', 'ajv-formats', 'rotating-file-stream', 'typeorm'];

interface Settings {
  readonly build: 'esm' | 'cjs';
  readonly api: false | object;
  readonly server: boolean;
  readonly hasClass: boolean;
}

/** Which of the packages an application has loaded, in a process of its own. */
async function loadedBy({ api, ...rest }: Settings): Promise<string[]> {
  const fixture = path.join(process.env['JOBS_TEST_FIXTURES'] ?? '', 'loaded.mjs');
  const typeorm = createDatabase().options();
  const settings = { ...rest, typeorm, options: { ...QUICK, api }, packages: PACKAGES };
  const { stdout } = await promisify(execFile)(process.execPath, [
    fixture,
    JSON.stringify(settings),
  ]);
  return JSON.parse(stdout) as string[];
}

describe.each(['esm', 'cjs'] as const)('an application on the %s build loads', (build) => {
  it.each([
    { what: 'no ajv without routes and params classes', server: true, api: false },
    { what: 'no ajv for its routes where nothing serves them', server: false, api: {} },
  ] as const)('$what', async ({ server, api }) => {
    expect(await loadedBy({ build, api, server, hasClass: false })).toEqual(['typeorm']);
  });

  it.each([
    { what: 'ajv for routes', server: true, api: {}, hasClass: false, and: [] },
    {
      what: 'ajv and its formats for a params class',
      server: false,
      api: false,
      hasClass: true,
      and: ['ajv-formats'],
    },
  ] as const)('$what', async ({ server, api, hasClass, and }) => {
    expect(await loadedBy({ build, api, server, hasClass })).toEqual(['ajv', ...and, 'typeorm']);
  });
});
