import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { fences, readPage } from './support/pages.js';

const root = path.resolve(import.meta.dirname, '../..');
/** Ignored by git, and where imports of packages resolve. */
const folder = path.join(root, '.dist-readme');
const file = path.join(folder, 'example.ts');
const page = readPage('README.md');
const examples = fences(page, 'ts');

mkdirSync(folder, { recursive: true });
writeFileSync(file, examples.join('\n'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('fits on a screen or so', () => {
  expect(page.split('\n').length).toBeLessThan(90);
});

it('names the two commands', () => {
  expect(page).toContain('npm install && npm start');
  expect(page).toContain('npm install && npm test');
});

// It is compiled by snippets.spec.ts.
it('has one example, of about twenty lines', () => {
  expect(examples.length).toBe(1);
  expect(examples.join('').split('\n').filter(Boolean).length).toBeLessThanOrEqual(25);
});

it('has an example that prints what it says', { timeout: 60_000 }, async () => {
  const before = process.cwd();
  const empty = mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-readme-'));
  const log = vi.spyOn(console, 'log').mockReturnValue(undefined);
  process.chdir(empty);
  try {
    await import(/* @vite-ignore */ file);
    const printed = log.mock.calls.map((call) => call.join(' '));
    const promised = /console\.log\(.*\); \/\/ (.*)$/m.exec(page)?.[1];
    expect(printed).toEqual([promised]);
  } finally {
    log.mockRestore();
    process.chdir(before);
    rmSync(empty, { recursive: true });
  }
});
