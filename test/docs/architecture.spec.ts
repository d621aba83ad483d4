import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { pagesIn, readPage, tableUnder, words } from './support/pages.js';

const root = path.resolve(import.meta.dirname, '../..');
const page = readPage('docs/architecture.md');

it('has the layers that the test of imports has', () => {
  const text = readPage('test/layering.spec.ts');
  const table = /const layers[^=]*= \{\n(.*?)^\};/ms.exec(text)?.[1] ?? '';
  const layers = [...table.matchAll(/^ {2}'?([\w./-]+)'?: \{/gm)].map((match) => match[1]);
  const [, ...rows] = tableUnder(page, '## Layers');
  expect(rows.flatMap((row) => words(row[0]))).toEqual(layers);
});

it('names files that exist', () => {
  const prose = page.replaceAll(/^```.*?^```$/gms, '');
  const files = words(prose).filter((word) => /^[\w./-]+\/[\w.-]+\.ts$/.test(word));
  expect(files.length).toBeGreaterThan(20);
  const known = (file: string) =>
    [file, `lib/${file}`].some((each) => existsSync(path.join(root, each)));
  expect(files.filter((file) => !known(file))).toEqual([]);
});

it('has decisions of at most forty lines, numbered without gaps', () => {
  const pages = pagesIn('docs/adr');
  expect(pages.map((file) => Number(path.basename(file).slice(0, 4)))).toEqual(
    pages.map((_, index) => index + 1),
  );
  const long = pages.filter((file) => readPage(file).trimEnd().split('\n').length > 40);
  expect(long).toEqual([]);
});
