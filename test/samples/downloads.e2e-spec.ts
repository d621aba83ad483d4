import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { until } from '../support/waiting.js';
import { temporaryFolder } from './support/folder.js';
import { loopback, send, status, type Answer } from './support/loopback.js';
import { sharedMain, startMain, type MainSample } from './support/main.js';
import { buildSample } from './support/sample.js';
import { bytes } from './support/tree.js';

// Whole applications start here, and a killed one's lease must end.
vi.setConfig({ testTimeout: 40_000 });

const CONTENT = bytes(3, 3_000_000);
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');
const SOON = { retry_delay_sec: 0.01 };

const main = buildSample('main');
const shared = sharedMain(main);

it('brings a file through errors, a cut, a stall and a server that forgets ranges', async () => {
  const { rest, download, file, requests } = await downloading([
    status(500),
    send(CONTENT, { cutAfter: 1_000_000 }),
    send(CONTENT, { stallAfter: 1_000_000 }),
    status(503, { 'retry-after': '0' }),
    send(CONTENT, { ignoreRange: true, cutAfter: 2_000_000 }),
    send(CONTENT),
  ]);
  const { id } = await download({ size: CONTENT.length, sha256: SHA256, stallSec: 0.3 });
  const job = await rest.end(id, 'completed');
  expect(job.result).toEqual({ path: file, bytes: CONTENT.length, sha256: SHA256 });
  expect(readFileSync(file).equals(CONTENT)).toBe(true);
  expect(existsSync(`${file}.part`)).toBe(false);
  // 500, cut, stall and cut each cost a retry; Retry-After none.
  expect(job).toMatchObject({ retries: 4, revision: 6, progress: 1, completed: CONTENT.length });
  expect(requests.map(({ range }) => range !== undefined)).toEqual([
    false,
    false,
    true,
    true,
    true,
    true,
  ]);
});

it('goes on by range when its process was killed', async () => {
  const data = temporaryFolder();
  const answers = [send(CONTENT, { stallAfter: 1_000_000 }), send(CONTENT)];
  const { rest, download, file, requests, running } = await downloading(
    answers,
    await startMain(main, data),
  );
  const { id } = await download({ sha256: SHA256 });
  await until(() => sizeOf(`${file}.part`) === 1_000_000, 'a part of the file');
  expect((await rest.job(id)).state).toMatchObject({ total: CONTENT.length });
  await running.end('SIGKILL');
  const next = await startMain(main, data);
  expect((await next.rest.end(id, 'completed')).lost).toBe(1);
  expect(requests[1]?.range).toBe('bytes=1000000-');
  expect(readFileSync(file).equals(CONTENT)).toBe(true);
});

it('fails at once, and leaves nothing, when the file is not the one that was meant', async () => {
  const { rest, download, file, requests } = await downloading([send(CONTENT)]);
  const size = await download({ size: 5 });
  expect((await rest.end(size.id, 'failed')).error).toContain('3000000 bytes instead of 5');
  const sum = await download({ sha256: '0'.repeat(64) });
  expect((await rest.end(sum.id, 'failed')).error).toContain(`${SHA256} instead of 000`);
  expect(requests).toHaveLength(2);
  expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false]);
});

it('gives up after its retries, at once at a 404, and at its timeout', async () => {
  const { rest, download } = await downloading([
    status(404),
    status(500),
    status(500),
    () => undefined,
  ]);
  const missing = await download();
  expect(await rest.end(missing.id, 'failed')).toMatchObject({ retries: 0, revision: 1 });
  const broken = await download({}, { max_retries: 1 });
  expect(await rest.end(broken.id, 'failed')).toMatchObject({ retries: 1, revision: 2 });
  const slow = await download({}, { timeout_sec: 0.3 });
  await rest.end(slow.id, 'timeout');
});

it('refuses other addresses, and a folder as a target', async () => {
  const { rest, download, file } = await downloading([send(CONTENT)]);
  for (const url of ['file:///etc/passwd', 'ftp://host/file', 'http://', 'nonsense']) {
    await expect(download({ url })).rejects.toThrow('params.url');
  }
  mkdirSync(file);
  const { id } = await download();
  expect((await rest.end(id, 'failed')).error).toContain('is not a file');
});

it('stops when it is canceled', async () => {
  const { rest, download, file } = await downloading([send(CONTENT, { stallAfter: 1000 })]);
  const { id } = await download();
  await until(() => sizeOf(`${file}.part`) === 1000, 'a part of the file');
  await rest.act(id, 'cancel');
  await rest.end(id, 'canceled');
});

/** A server that answers so, and a sample that downloads from it: the shared one if not given. */
async function downloading(answers: Answer[], sample: MainSample = shared()) {
  const file = path.join(temporaryFolder(), 'file');
  const server = await loopback(answers, `${file}.part`);
  onTestFinished(() => server.close());
  return {
    ...server,
    ...sample,
    file,
    download: (params: object = {}, options: object = {}) =>
      sample.rest.enqueue(
        'downloads:fetch',
        { url: server.url, path: file, ...params },
        { ...SOON, ...options },
      ),
  };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
