import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readPage } from './support/pages.js';

const root = path.resolve(import.meta.dirname, '../..');
const page = readPage('docs/guarantees.md');
const [promised = ''] = page.split('## What is not promised');

/** A sentence, and the tests beside it: `[file] “name”; “name”.` */
interface Promise {
  readonly sentence: string;
  readonly proofs: readonly { readonly file: string; readonly name: string }[];
}

const files = new Map(
  [...page.matchAll(/^\[([\w-]+)\]: \.\.\/(.*)$/gm)].map((match) => [match[1], match[2] ?? '']),
);

const promises: readonly Promise[] = promised
  .split(/\n- /)
  .slice(1)
  .map((text) => (text.split(/\n\n/)[0] ?? '').replaceAll(/\s+/g, ' '))
  .map((text) => ({
    sentence: text.replace(/ \[[\w-]+\] “.*$/, ''),
    proofs: [...text.matchAll(/\[([\w-]+)\] (“.*?”(?:; “.*?”)*)/g)].flatMap(([, file, names]) =>
      [...(names ?? '').matchAll(/“(.*?)”/g)].map(([, name]) => ({
        file: files.get(file) ?? `[${file}], which is no link`,
        name: name ?? '',
      })),
    ),
  }));

/** The names of a file's tests, as they are written. */
function namesIn(file: string): readonly string[] {
  const text = existsSync(path.join(root, file)) ? readPage(file) : '';
  return [
    ...text.matchAll(/\b(?:it|test)\b[^'"`]*?\(\s*('(?:[^'\\]|\\.)*'|"[^"]*"|`[^`]*`)/gs),
  ].map(([, quoted]) => (quoted ?? '').slice(1, -1).replaceAll(/\$\{[^}]*\}/g, '…'));
}

describe('the page of guarantees', () => {
  it('has sentences', () => {
    expect(promises.length).toBeGreaterThan(30);
  });

  it.each(promises)('proves: $sentence', ({ proofs }) => {
    expect(proofs.length).toBeGreaterThan(0);
    for (const { file, name } of proofs) {
      expect(namesIn(file), `${file} has no test of that name`).toContain(name);
    }
  });

  it('names no file that it does not use', () => {
    const used = new Set(promises.flatMap(({ proofs }) => proofs.map(({ file }) => file)));
    expect([...files.values()].filter((file) => !used.has(file))).toEqual([]);
  });
});
