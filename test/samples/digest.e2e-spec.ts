import { createHash } from 'node:crypto';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { until } from '../support/waiting.js';
import { temporaryFolder } from './support/folder.js';
import { startMain } from './support/main.js';
import type { Rest } from './support/rest.js';
import { buildSample } from './support/sample.js';
import { growTree, sha256sums } from './support/tree.js';

// Whole applications start here, and a killed one's lease must end.
vi.setConfig({ testTimeout: 40_000 });

const MANY = 3000;
/** Bytes of a manifest of 1,000 of those files: a digest that has written so much is half way. */
const HALF_WAY = 1000 * 76;

const main = buildSample('main');

it('digests a folder on start, and its manifest is what sha256sum prints', async () => {
  const folder = temporaryFolder();
  growTree(folder);
  const { running, rest, firstId } = await startMain(main, temporaryFolder(), folder);
  const { result, progress, total } = await rest.end(firstId, 'completed');
  const manifest = readFileSync(String(result?.['manifest']));

  expect(manifest.equals(sha256sums(folder))).toBe(true);
  expect(result).toEqual({
    files: manifest.toString('latin1').split('\n').length - 1,
    bytes: total,
    manifest: expect.stringMatching(new RegExp(`${firstId}\\.sha256$`)),
    sha256: createHash('sha256').update(manifest).digest('hex'),
  });
  expect(progress).toBe(1);
  await running.line(/^\[█+\] 100 % completed/);
  await running.line(/info hashed \d+ files in this run/);
});

it('goes on at the checkpoint when its process was killed', async () => {
  const { folder, data, part } = temporaryPlaces();
  const killed = await startMain(main, data, folder);
  await until(() => sizeOf(part(killed.firstId)) > HALF_WAY, 'half of the manifest');
  await killed.running.end('SIGKILL');
  const written = linesOf(part(killed.firstId));

  const next = await startMain(main, data, folder);
  expect(next.firstId).toBe(killed.firstId);
  const job = await next.rest.end(next.firstId, 'completed');
  const [before, now] = await filesOfLastRun(next.rest, next.firstId);
  expect(before).toBeGreaterThan(900);
  expect(before).toBeLessThanOrEqual(written);
  expect(before + now).toBe(MANY);
  expect(job).toMatchObject({ lost: 1, retries: 0, revision: 2 });
  expect(readFileSync(String(job.result?.['manifest'])).equals(sha256sums(folder))).toBe(true);
});

it('goes on after Ctrl-C, which costs no retry', async () => {
  const { folder, data, part } = temporaryPlaces();
  const stopped = await startMain(main, data, folder);
  await until(() => sizeOf(part(stopped.firstId)) > HALF_WAY, 'half of the manifest');
  await stopped.running.end('SIGINT');

  const { rest, firstId } = await startMain(main, data, folder);
  const job = await rest.end(firstId, 'completed');
  const [before, now] = await filesOfLastRun(rest, firstId);
  expect(before).toBeGreaterThan(900);
  expect(before + now).toBe(MANY);
  expect(job).toMatchObject({ id: stopped.firstId, lost: 0, retries: 0, revision: 2 });
});

it('is suspended, resumed and canceled over HTTP', async () => {
  const { folder, data, part } = temporaryPlaces();
  const { rest } = await startMain(main, data);
  const { id } = await rest.enqueue('files:digest', { folder });
  await until(() => sizeOf(part(id)) > HALF_WAY, 'half of the manifest');
  await rest.act(id, 'suspend');
  const suspended = await rest.reached(id, 'suspended');
  expect(suspended.state?.['files']).toBe(linesOf(part(id)));

  await rest.act(id, 'resume');
  const job = await rest.end(id, 'completed');
  const [before, now] = await filesOfLastRun(rest, id);
  expect(before).toBe(suspended.state?.['files']);
  expect(before + now).toBe(MANY);
  expect(readFileSync(String(job.result?.['manifest'])).equals(sha256sums(folder))).toBe(true);

  const other = await rest.enqueue('files:digest', { folder });
  await until(() => sizeOf(part(other.id)) > HALF_WAY, 'half of the manifest');
  await rest.act(other.id, 'cancel');
  await rest.end(other.id, 'canceled');
});

it('fails with the name of what it cannot read, and leaves out its own manifest', async () => {
  const folder = temporaryFolder();
  writeFileSync(path.join(folder, 'a'), 'a');
  const { rest } = await startMain(main, temporaryFolder());
  const manifest = path.join(folder, 'manifest');
  const { id } = await rest.enqueue('files:digest', { folder, manifest });
  const { result } = await rest.end(id, 'completed');
  expect(result).toMatchObject({ files: 1, manifest });
  renameSync(manifest, `${manifest}.1`);
  expect(readFileSync(`${manifest}.1`, 'utf8')).toMatch(/^[0-9a-f]{64} {2}\.\/a\n$/);

  const nowhere = path.join(folder, 'nowhere');
  const missing = await rest.enqueue('files:digest', { folder: nowhere });
  expect((await rest.end(missing.id, 'failed')).error).toContain(nowhere);
  const file = path.join(folder, 'a');
  const none = await rest.enqueue('files:digest', { folder: file });
  expect((await rest.end(none.id, 'failed')).error).toContain(file);
  await expect(rest.enqueue('files:digest', { folder: 7 })).rejects.toThrow('params.folder');
});

/** A folder of many small files, and one for the data of the sample. */
function temporaryPlaces() {
  const folder = temporaryFolder();
  for (let i = 0; i < MANY; i++) {
    writeFileSync(path.join(folder, `file-${String(i).padStart(4, '0')}`), String(i));
  }
  const data = temporaryFolder();
  return { folder, data, part: (id: string) => path.join(data, `${id}.sha256.part`) };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function linesOf(file: string): number {
  return readFileSync(file, 'latin1').split('\n').length - 1;
}

/** How many files were done when the last run began, and how many it hashed. */
async function filesOfLastRun(rest: Rest, id: string): Promise<[number, number]> {
  const lines = await rest.log(id);
  const begins = lines.findLast(({ message }) => message.includes('files are done'));
  const ends = lines.at(-1)?.message ?? '';
  return [Number(begins?.fields?.['files']), Number(/hashed (\d+) files/.exec(ends)?.[1])];
}
