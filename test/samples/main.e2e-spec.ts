import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { temporaryFolder } from './support/folder.js';
import { startMain } from './support/main.js';
import { buildSample, start, untilTestEnds } from './support/sample.js';

// Whole applications start here.
vi.setConfig({ testTimeout: 40_000 });

const main = buildSample('main');

it('serves what it prints to try, and ends at Ctrl-C', async () => {
  const data = temporaryFolder();
  const { running, rest, firstId } = await startMain(main, data);
  await running.line(/^files:digest completed/);
  const [list, download, events] = running.lines.filter((line) => /^ {2}curl /.test(line));

  const listed = await fetch(urlIn(list));
  expect(await listed.json()).toMatchObject({ total: 1, jobs: [{ id: firstId }] });
  const body = /-d '(.*)'$/.exec(download ?? '')?.[1] ?? '';
  const headers = { 'content-type': 'application/json' };
  const posted = await fetch(urlIn(download), { method: 'POST', headers, body });
  const { id } = (await posted.json()) as { id: string };
  await rest.end(id, 'completed');
  const document = readFileSync(path.join(data, 'openapi.json'), 'utf8');
  expect(JSON.parse(document)).toHaveProperty('paths./jobs/{id}/wait');
  expect(await (await fetch(urlIn(events))).text()).toContain('"status":"completed"');

  await running.end('SIGINT');
  expect(running.child.signalCode ?? running.child.exitCode).toBe('SIGINT');
});

it('listens elsewhere when its port is taken, and refuses what is no port', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const data = temporaryFolder();
  const env = { JOBS_DB: path.join(data, 'jobs.sqlite'), JOBS_FOLDER: data };
  const running = untilTestEnds(start(main, { ...env, PORT: String(port) }));
  await running.line(new RegExp(`^Port ${port} is taken`));
  const listening = await running.line(/^Listening on http/);
  expect(listening).not.toContain(`:${port} `);

  const refused = untilTestEnds(start(main, { ...env, PORT: 'http' }));
  expect(await refused.ended()).toBe(1);
  expect(refused.lines.join('\n')).toContain('PORT is "http"');
});

it('serves on when its database cannot be used, and says what to look at', async () => {
  const data = temporaryFolder();
  const file = path.join(data, 'jobs.sqlite');
  writeFileSync(file, 'no database at all, and long enough to be taken for one. '.repeat(20));
  const running = untilTestEnds(start(main, { JOBS_DB: file, JOBS_FOLDER: data, PORT: '0' }));
  const line = await running.line(/^Listening on http.* without a first job/);
  expect(line).toContain('Check that the file exists, is a database, is writable');
  expect(running.lines.join('\n')).not.toMatch(/^\s+at /m);
  const answer = await fetch(`${urlIn(line).replace(/,$/, '')}/jobs`);
  expect([answer.status, await answer.json()]).toMatchObject([
    503,
    { code: 'database_unavailable' },
  ]);
});

function urlIn(line: string | undefined): string {
  return /(http:[^\s']+)/.exec(line ?? '')?.[1] ?? '';
}
