import { setTimeout as pause } from 'node:timers/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ChildApplication } from '../support/children.js';
import { until } from '../support/waiting.js';
import {
  createFaultDatabase,
  kindsHere,
  rowsOf,
  type FaultDatabase,
} from './support/fault-database.js';

const RUNNING = 50;
const GRACE = { shutdown: '300ms', signal: '300ms' };
const BOOT_MS = 90_000;
/** Far more than the graces; a busy machine is slow to boot and to end. */
const END_MS = 30_000;

const options = { queues: { default: RUNNING }, grace: GRACE, lease: { duration: '30s' } };

interface Scene {
  readonly database: FaultDatabase;
  readonly app: ChildApplication;
}

/** What happens to a process with fifty handlers at work: quick ones, long ones, some that do not stop. */
const ENDS: readonly (readonly [string, (scene: Scene) => Promise<void>])[] = [
  ['TERM', ({ app }) => app.kill('SIGTERM')],
  [
    'TERM twice',
    async ({ app }) => {
      const ended = app.kill('SIGTERM');
      await pause(50);
      await Promise.all([ended, app.kill('SIGTERM')]);
    },
  ],
  ['INT', ({ app }) => app.kill('SIGINT')],
  [
    'TERM while it enqueues',
    async ({ app }) => {
      const many = Array.from({ length: 500 }, (_, n) => item(1000 + n));
      void app.call('process', 'produce', many).catch(() => undefined);
      await pause(20);
      await app.kill('SIGTERM');
    },
  ],
];

function item(n: number): object {
  const kinds = [{ ms: 100 }, { ms: 60_000 }, { how: 'never returns' }];
  return { token: `t${n}`, keyed: false, params: kinds[n % kinds.length] };
}

function spawn(database: FaultDatabase): ChildApplication {
  const history = path.join(database.folder, 'history.jsonl');
  return ChildApplication.spawn({ database, options, fixture: { history, epochMs: 0 } });
}

async function count(database: FaultDatabase, status: string): Promise<number> {
  const [row] = await database.ask(`SELECT count(*) AS n FROM jobs WHERE status = '${status}'`);
  return Number(row?.['n']);
}

async function busy(database: FaultDatabase): Promise<ChildApplication> {
  const app = spawn(database);
  await app.booted(BOOT_MS);
  const items = Array.from({ length: RUNNING }, (_, n) => item(n));
  await app.call('process', 'produce', items);
  const long = RUNNING - Math.ceil(RUNNING / 3);
  await until(async () => (await count(database, 'running')) === long, 'them to run', BOOT_MS);
  return app;
}

describe.each(kindsHere)('a process that is told to end, on %s', (kind) => {
  it.each(ENDS)(
    'by %s ends in time and gives back what it held, at no cost',
    async (_name, end) => {
      const database = await createFaultDatabase(kind);
      const app = await busy(database);
      const asked = performance.now();
      await end({ database, app });
      expect(performance.now() - asked).toBeLessThan(END_MS);
      const { jobs } = await rowsOf(database);
      expect(new Set(jobs.map(({ status }) => status))).toEqual(new Set(['completed', 'waiting']));
      for (const job of jobs) {
        expect(job).toMatchObject({ retries: 0, lost: 0, lease_until_ms: null });
      }
    },
    4 * BOOT_MS,
  );

  it(
    'by TERM while it boots ends, and the next one boots',
    async () => {
      const database = await createFaultDatabase(kind);
      for (const afterMs of [100, 400, 800]) {
        const app = spawn(database);
        await pause(afterMs);
        await app.kill('SIGTERM');
      }
      await spawn(database).booted(BOOT_MS);
      expect(await until(() => count(database, 'running').then(String, () => undefined))).toBe('0');
    },
    4 * BOOT_MS,
  );

  // A file is never away.
  if (kind !== 'sqlite') {
    it(
      'by TERM while the database is away ends in time',
      async () => {
        const database = await createFaultDatabase(kind);
        const app = await busy(database);
        await database.server.end('SIGKILL');
        const asked = performance.now();
        await app.kill('SIGTERM');
        expect(performance.now() - asked).toBeLessThan(END_MS);
        await database.server.start();
      },
      4 * BOOT_MS,
    );
  }
});
