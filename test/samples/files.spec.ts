import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { digests } from '../../sample/main/src/files/digests.js';
import { fileHasher } from '../../sample/main/src/files/hash.js';
import { Manifest } from '../../sample/main/src/files/manifest.js';
import { bytesIn, unreadable, walk } from '../../sample/main/src/files/walk.js';
import { temporaryFolder } from './support/folder.js';
import { growTree, sha256sums } from './support/tree.js';

const HEX = 'ab'.repeat(32);

it('walks regular files in byte order of their paths, and goes on after any of them', async () => {
  const folder = temporaryFolder();
  growTree(folder);
  const all = await paths(walk(folder));
  const found = execFileSync('sh', ['-c', 'find . -type f -print0 | LC_ALL=C sort -z'], {
    cwd: folder,
  });
  expect(all.map((file) => `${file.toString('latin1')}\0`).join('')).toBe(found.toString('latin1'));
  for (let i = 0; i < all.length; i += 13) {
    const rest = await paths(walk(folder, { after: all[i] }));
    expect(rest).toEqual(all.slice(i + 1));
  }
});

it('goes on after a file that is gone', async () => {
  const folder = temporaryFolder();
  for (const name of ['a/1', 'a/3', 'b/1']) {
    mkdirSync(path.join(folder, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(folder, name), '');
  }
  const rest = await paths(walk(folder, { after: Buffer.from('./a/2') }));
  expect(rest.map(String)).toEqual(['./a/3', './b/1']);
});

it('writes what sha256sum prints', async () => {
  const folder = temporaryFolder();
  growTree(folder);
  const target = path.join(temporaryFolder(), 'manifest');
  const manifest = await Manifest.open(target, null);
  for await (const file of digests(folder, { onBytes: () => undefined })) {
    await manifest.append(file);
  }
  await manifest.finish();
  await manifest.close();
  expect(readFileSync(target).equals(sha256sums(folder))).toBe(true);
});

it('cuts off what was written after the checkpoint', async () => {
  const target = path.join(temporaryFolder(), 'manifest');
  const killed = await Manifest.open(target, null);
  await killed.append(file('./a', 5));
  const checkpoint: unknown = JSON.parse(JSON.stringify(killed.state));
  await killed.append(file('./b', 7));
  await killed.close();

  const next = await Manifest.open(target, checkpoint);
  expect(next.state).toEqual({ files: 1, bytes: 5, length: 70, last: './a' });
  await next.append(file('./c', 1));
  await next.finish();
  await next.close();
  expect(readFileSync(target, 'utf8')).toBe(`${HEX}  ./a\n${HEX}  ./c\n`);
});

it('starts afresh when the manifest is shorter than the checkpoint says', async () => {
  const target = path.join(temporaryFolder(), 'manifest');
  const manifest = await Manifest.open(target, { files: 9, bytes: 9, length: 630, last: './x' });
  expect(manifest.state.files).toBe(0);
  expect(manifest.restOf('/').after).toBeUndefined();
  await manifest.close();
});

it('keeps a checkpoint small and JSON, whatever the name of the file', async () => {
  const name = Buffer.from([0x2e, 0x2f, 0xff, 0xed, 0xa0, 0x80, 0x0a]);
  const manifest = await Manifest.open(path.join(temporaryFolder(), 'manifest'), null);
  await manifest.append({ path: name, bytes: 1, sha256: HEX });
  expect(JSON.stringify(manifest.state).isWellFormed()).toBe(true);
  expect(manifest.restOf('/').after).toEqual(name);
  await manifest.close();
});

it('names a file or folder that cannot be read', async () => {
  const folder = temporaryFolder();
  const gone = fileHasher()(path.join(folder, 'gone')).catch(unreadable(Buffer.from('./gone')));
  await expect(gone).rejects.toThrow('Cannot read ./gone: ENOENT');
  await expect(bytesIn(path.join(folder, 'nowhere'))).rejects.toThrow('Cannot read ./: ENOENT');
});

it('stops hashing at an abort, and reports the abort itself', async () => {
  const file = path.join(temporaryFolder(), 'file');
  writeFileSync(file, Buffer.alloc(1024 * 1024));
  const stop = new AbortController();
  const reason = new DOMException('enough', 'AbortError');
  const hash = fileHasher({ signal: stop.signal, onBytes: () => stop.abort(reason) });
  const stopped = hash(file).catch(unreadable(Buffer.from('./file')));
  await expect(stopped).rejects.toBe(reason);
});

function file(name: string, bytes: number) {
  return { path: Buffer.from(name), bytes, sha256: HEX };
}

async function paths(walked: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const file of walked) all.push(file);
  return all;
}
