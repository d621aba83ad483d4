import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { complaintsOf } from './support/compile.js';
import { closePage } from './support/page-jobs.js';
import { fences, pagesIn, readPage } from './support/pages.js';

/**
 * The TypeScript of a page, from its first fence to its last, is one module, which must compile and
 * run. `jobs`, `queues`, `schedules`, `stats`, `workers` and `dataSource` are those of an application with the page's types.
 * A fence that stands for a part of something is marked `ts fragment`, and not tried.
 */
const root = path.resolve(import.meta.dirname, '../..');
/** Ignored by git, and where imports of packages resolve. */
const folder = path.join(root, '.dist-docs');
const provided = ['jobs', 'queues', 'schedules', 'stats', 'workers', 'dataSource'];
/** They describe what stands in an application of their own, and are tried by the tests of REST. */
const elsewhere = [
  'docs/guide/rest-api.md',
  'docs/guide/tenants-and-guards.md',
  'docs/guide/webhooks.md',
];

const pages = pagesIn('docs/guide')
  .filter((page) => !elsewhere.includes(page))
  .map((page) => ({ page, blocks: fences(readPage(page), 'ts') }))
  .filter(({ blocks }) => blocks.length > 0)
  .map(({ page, blocks }) => ({ page, file: fileOf(page), text: moduleOf(blocks) }));

const readme = {
  file: path.join(folder, 'README.ts'),
  text: fences(readPage('README.md'), 'ts').join(''),
};

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  for (const { file, text } of [...pages, readme]) writeFileSync(file, text);
});
afterEach(closePage);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('compile', { timeout: 120_000 }, () => {
  expect(complaintsOf([...pages, readme].map(({ file }) => file))).toEqual([]);
});

it.each(pages)('run: $page', { timeout: 30_000 }, async ({ file }) => {
  await import(/* @vite-ignore */ file);
});

function fileOf(page: string): string {
  return path.join(folder, `${path.basename(page, '.md')}.ts`);
}

function moduleOf(blocks: readonly string[]): string {
  const text = blocks
    .join('\n')
    .replaceAll("from 'nestjs-jobs'", "from '../test/docs/support/page-jobs.js'");
  const wanted = provided.filter((name) => new RegExp(`\\b${name}\\.`).test(text));
  const preamble = `import { ${wanted.join(', ')} } from '../test/docs/support/page-jobs.js';`;
  return `import 'reflect-metadata';\n${wanted.length === 0 ? '' : preamble}\n${text}\nexport {};\n`;
}
