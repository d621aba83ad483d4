// Tries the samples as a new user does: `npm start`, the lines that it says to try, Ctrl-C, and the
// commands of their pages. What the handlers do is tested in test/samples.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { check, finish, run } from './checks.mjs';

const root = path.resolve(import.meta.dirname, '..');
const scratch = mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-samples-'));
const digested = path.join(scratch, 'digested');
mkdirSync(path.join(digested, 'sub'), { recursive: true });
writeFileSync(path.join(digested, 'a.txt'), 'alpha\n');
writeFileSync(path.join(digested, 'sub', 'b.bin'), Buffer.alloc(300_000, 7));

const main = startMain();
try {
  await check('main: says where it listens, and finishes its first digest', async () => {
    await main.until(/Listening on http:\/\/\S+/);
    await main.until(/files:digest completed/);
  });
  await check('main: the manifest is what the files are', () => {
    const { manifest, sha256 } = JSON.parse(/files:digest completed: (.*)/.exec(main.output)[1]);
    const text = readFileSync(manifest, 'utf8');
    const lines = ['a.txt', 'sub/b.bin'].map((name) => {
      const hex = digestOf(readFileSync(path.join(digested, name)));
      return new RegExp(`^${hex}  (\\./)?${name}$`, 'm');
    });
    for (const line of lines) expect(line.test(text), `${line} is not in\n${text}`);
    expect(digestOf(text) === sha256, 'the digest of the manifest itself is another one');
  });
  const curls = () => main.output.match(/^ +curl .*$/gm) ?? [];
  await check('main: prints three lines to try', () => {
    expect(curls().length === 3, `it printed ${curls().length}:\n${main.output}`);
  });
  for (const line of curls()) {
    await check(`main: ${line.trim().slice(0, 60)} …`, async () => {
      const command = line.trim().replace(/^curl/, 'curl -sS --fail-with-body --max-time 20');
      const answer = await run('bash', ['-c', command]);
      expect(/"?(jobs|id|status)"?/.test(answer), answer);
    });
  }
  await check('main: ends by itself after Ctrl-C', () => main.end('SIGINT'));
} finally {
  main.kill();
}

await check('01-hello: prints the result and exits', async () => {
  const output = await run('npm', ['start', '--silent', '--', '01-hello'], { cwd: root });
  expect(/^Hello, world! I am job [0-9a-f-]{36}\.$/m.test(output), output);
});
await check('01-hello: runs with the Nest CLI, as its page says', async () => {
  const output = await run('npx', ['--no-install', 'nest', 'start', '01-hello'], { cwd: root });
  expect(/^Hello, world!/m.test(output), output);
});
await check('02-progress: shows progress to both readers and exits', async () => {
  const output = await run('npm', ['start', '--silent', '--', '02-progress'], { cwd: root });
  expect(/^progress\$ .*default:scan/m.test(output), output);
  expect(/^SSE .*event: progress/m.test(output), output);
});
await check('04-schedules: runs each slot once, and exits', async () => {
  const output = await run('npm', ['start', '--silent', '--', '04-schedules'], { cwd: root });
  expect(/^nightly +20\d\d-/m.test(output), output);
  expect(/^report +of the day$/m.test(output), output);
  expect(/^report +of the hour$/m.test(output), output);
  expect(/^heartbeat +job [0-9a-f-]{13} of process \d+$/m.test(output), output);
  expect(/^in all +[1-9]\d* heartbeats, one a slot$/m.test(output), output);
});
await check('05-dependencies: runs a flow, and says why another one failed', async () => {
  const output = await run('npm', ['start', '--silent', '--', '05-dependencies'], { cwd: root });
  expect(/^Berlin and Oslo: completed billed 100$/m.test(output), output);
  expect(/^ {2}because default:sum failed, because default:orders failed$/m.test(output), output);
});
await check('06-many-machines: goes on when a worker is killed, and exits', async () => {
  const output = await run('npm', ['start', '--silent', '--', '06-many-machines'], { cwd: root });
  expect(/^GET \/workers .* [1-3] running$/m.test(output), output);
  expect(/^film \d .* running {2}frame \d+ by process \d+$/m.test(output), output);
  expect(/^6 of 6 films are complete; [1-9]\d* runs were taken over$/m.test(output), output);
});
rmSync(scratch, { recursive: true, force: true });
finish();

/** Node itself rather than npm, so that the signal goes to the sample and to nothing in between. */
function startMain() {
  const child = spawn(process.execPath, ['scripts/start.mjs'], {
    cwd: root,
    env: {
      ...process.env,
      NO_COLOR: '1',
      PORT: '0',
      JOBS_DB: path.join(scratch, 'jobs.sqlite'),
      JOBS_FOLDER: digested,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const sample = {
    output: '',
    until: (pattern) => reached(() => pattern.test(sample.output), 60, `no ${pattern}`),
    end: async (signal) => {
      child.kill(signal);
      await reached(hasEnded, 15, `still there after ${signal}`);
    },
    kill: () => child.kill('SIGKILL'),
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => (sample.output += chunk));
  }
  return sample;

  function hasEnded() {
    return child.exitCode !== null || child.signalCode !== null;
  }

  async function reached(condition, seconds, complaint) {
    const deadline = Date.now() + seconds * 1000;
    while (!condition()) {
      const isOver = Date.now() > deadline || hasEnded();
      if (isOver) throw new Error(`${complaint}, exit code ${child.exitCode}\n${sample.output}`);
      await delay(50);
    }
  }
}

function digestOf(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

function expect(condition, complaint) {
  if (!condition) throw new Error(complaint);
}
