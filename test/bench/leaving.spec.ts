import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { dropLater } from '../support/cleanup.js';
import { until, within } from '../support/waiting.js';

const harness = path.resolve(import.meta.dirname, '../../bench/harness');

/** What `bench/run.mjs` does about a server and signals, without anything to measure. */
const RUN = `
  import { leaveOnSignals } from '${harness}/leaving.mjs';
  import { server } from '${harness}/servers.mjs';
  leaveOnSignals();
  const { url } = await (await server('postgres')).create();
  console.log(url);
`;

it('a benchmark that is ended by a signal leaves neither its server nor the folder of that', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-bench-'));
  // The server runs as an ordinary user.
  chmodSync(folder, 0o755);
  dropLater(() => rmSync(folder, { recursive: true, force: true }), 'test');
  const env = { ...process.env, TMPDIR: folder };
  const run = spawn(process.execPath, ['--input-type=module', '-e', RUN], { env });
  const exit = once(run, 'exit');
  let said = '';
  const hear = (text: string): void => void (said += text);
  run.stdout.setEncoding('utf8').on('data', hear);
  run.stderr.setEncoding('utf8').on('data', hear);
  await until(() => said.includes('postgres://') || run.exitCode !== null, 'the server', 60_000);
  expect(said).toMatch(/^postgres:/);
  expect(readdirSync(folder)).toHaveLength(1);
  run.kill('SIGTERM');
  expect(await within(exit, 'the end of the run', 30_000)).toEqual([143, null]);
  expect(readdirSync(folder)).toEqual([]);
}, 100_000);
