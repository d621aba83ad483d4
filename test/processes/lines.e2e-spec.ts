import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import * as typeorm from 'typeorm';
import { expect, inject, it } from 'vitest';
import { driverUnderTest, isFile } from '../support/databases.js';

const expected = {
  nest12: { nest: /^12\./, typeorm: /^1\./, driver: 'better-sqlite3' },
  nest11: { nest: /^11\./, typeorm: /^0\.3\./, driver: 'sqlite3' },
}[inject('line')];
const driver = isFile ? expected.driver : driverUnderTest;

it('runs on the packages of its line', () => {
  // TypeORM 1 removed the old `Connection` class.
  expect('Connection' in typeorm).toBe(inject('line') === 'nest11');
  expect(process.env['JOBS_TEST_DRIVER']).toBe(driver);
});

it('gives a child process the packages of its line', async () => {
  const fixture = path.join(process.env['JOBS_TEST_FIXTURES'] ?? '', 'which-line.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [fixture]);
  const seen = JSON.parse(stdout) as Record<string, string>;
  expect(seen['@nestjs/common']).toMatch(expected.nest);
  expect(seen['@nestjs/typeorm']).toMatch(expected.nest);
  expect(seen['typeorm']).toMatch(expected.typeorm);
  expect(seen['driver']).toBe(driver);
  expect(seen['home']).toContain(path.join('dist', 'esm', 'index.js'));
});
