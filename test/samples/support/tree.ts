import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const ODD_NAMES = [
  'with space',
  ' spaces ',
  '-',
  '--help',
  'line\nbreak',
  'carriage\rreturn',
  'back\\slash',
  'ends with \\',
  'quote\'s and "quotes"',
  '*',
  'größe €.txt',
  '\u{1F600}',
  Buffer.from([0x66, 0xff, 0xfe, 0x66]),
];

/** Fills a folder with about 300 files: odd names, an empty file, links, one of 20 MB. */
export function growTree(folder: string): void {
  for (let i = 0; i < 280; i++) {
    put(folder, `d${i % 7}/e${i % 3}/file-${i}.bin`, bytes(i, i * 37));
  }
  ODD_NAMES.forEach((name, i) => put(folder, name, bytes(i, 10)));
  // Byte order of whole paths: '-' and '.' come before '/', letters after it.
  ['order/a-b', 'order/a/b', 'order/a.txt', 'order/ab'].forEach((name) => put(folder, name, name));
  put(folder, 'empty', '');
  put(folder, 'large', bytes(1, 20 * 1024 * 1024));
  mkdirSync(path.join(folder, 'no files'));
  symlinkSync('large', path.join(folder, 'link-to-a-file'));
  symlinkSync('..', path.join(folder, 'order/link-to-a-folder'));
  symlinkSync('nothing', path.join(folder, 'link-to-nothing'));
}

/** What the machine's own tools say about a folder, in byte order of the paths. */
export function sha256sums(folder: string): Buffer {
  const command = 'find . -type f -print0 | sort -z | xargs -0 -r sha256sum';
  return execFileSync('sh', ['-c', command], { cwd: folder, env: { ...process.env, LC_ALL: 'C' } });
}

/** So many bytes, always the same for the same seed. */
export function bytes(seed: number, length: number): Buffer {
  const block = createHash('sha512').update(String(seed)).digest();
  return Buffer.alloc(length, length === 0 ? undefined : block);
}

function put(folder: string, name: string | Buffer, content: string | Buffer): void {
  const file = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name)]);
  mkdirSync(path.dirname(file.toString('latin1')), { recursive: true });
  writeFileSync(file, content);
}
