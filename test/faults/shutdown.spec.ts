import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ChildApplication } from '../support/children.js';
import { until } from '../support/waiting.js';
import type { Note } from './history.js';
import {
  createFaultDatabase,
  kindsHere,
  rowsOf,
  type FaultDatabase,
} from './support/fault-database.js';

const RUNNING = 50;
/** So long quick ones take: all of them are at work meanwhile, and end within the grace. */
const QUICK_MS = 2000;
const GRACE_MS = { shutdown: 3000, signal: 300 };
const LEASE_MS = 30_000;
const BOOT_MS = 90_000;
/** Both graces, and some time for a busy machine. */
const END_MS = GRACE_MS.shutdown + GRACE_MS.signal + 2000;
/** By the library: so long a database may take for what is left, and connections for their end. */
const AWAY_MS = 5000 + 2000;

interface Scene {
  readonly database: FaultDatabase;
  readonly app: ChildApplication;
}

/** What happens to a process with fifty handlers at work: quick ones, long ones, some that do not stop. */
const ENDS: readonly (readonly [string, NodeJS.Signals, (scene: Scene) => Promise<void>])[] = [
  ['TERM', 'SIGTERM', ({ app }) => app.kill('SIGTERM')],
  [
    'TERM twice',
    'SIGTERM',
    async ({ app }) => {
      const ended = app.kill('SIGTERM');
      await pause(50);
      await Promise.all([ended, app.kill('SIGTERM')]);
    },
  ],
  ['INT', 'SIGINT', ({ app }) => app.kill('SIGINT')],
  [
    'TERM while it enqueues',
    'SIGTERM',
    async ({ database, app }) => {
      const many = Array.from({ length: 500 }, (_, n) => item(1000 + n));
      void app.call('process', 'produce', many).catch(() => undefined);
      await until(() => acknowledged(database).length > RUNNING, 'the first of them');
      await app.kill('SIGTERM');
    },
  ],
];

const KINDS = [{ ms: 60_000 }, { how: 'never returns' }, { ms: QUICK_MS }];

function item(n: number): object {
  return { token: `t${n}`, keyed: false, params: KINDS[n % KINDS.length] };
}

function spawn(database: FaultDatabase, leaseMs = LEASE_MS): ChildApplication {
  const options = {
    queues: { default: RUNNING },
    grace: GRACE_MS,
    lease: { duration: leaseMs, sweep: '200ms' },
  };
  const fixture = { history: historyOf(database), epochMs: 0 };
  return ChildApplication.spawn({ database, options, fixture });
}

const historyOf = ({ folder }: FaultDatabase): string => path.join(folder, 'history.jsonl');

/** Jobs whose enqueue was answered. */
function acknowledged(database: FaultDatabase): readonly string[] {
  return readFileSync(historyOf(database), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Note)
    .flatMap((note) => (note.what === 'acked' ? [note.id] : []));
}

async function count(database: FaultDatabase, where: string): Promise<number> {
  const [row] = await database.ask(`SELECT count(*) AS n FROM jobs WHERE ${where}`);
  return Number(row?.['n']);
}

/** With all fifty at work; the quick ones came last. */
async function busy(database: FaultDatabase, leaseMs?: number): Promise<ChildApplication> {
  const app = spawn(database, leaseMs);
  await app.booted(BOOT_MS);
  const items = Array.from({ length: RUNNING }, (_, n) => item(n));
  const isQuick = (_: object, n: number): boolean => n % KINDS.length === KINDS.length - 1;
  const slow = items.filter((each, n) => !isQuick(each, n));
  await app.call('process', 'produce', slow);
  const atWork = (n: number) => async () => (await count(database, `status = 'running'`)) === n;
  await until(atWork(slow.length), 'the slow ones to run', BOOT_MS);
  await app.call('process', 'produce', items.filter(isQuick));
  await until(atWork(RUNNING), 'all to run');
  return app;
}

/** How it ended, and after how long. */
async function endOf(app: ChildApplication, end: () => Promise<void>): Promise<object> {
  const asked = performance.now();
  await end();
  const { code, signal } = app.exit ?? {};
  return { code, signal, ms: performance.now() - asked };
}

const within = (signal: NodeJS.Signals, ms: number): object => ({
  code: null,
  signal,
  ms: expect.toSatisfy((taken: number) => taken < ms, `less than ${ms}`) as number,
});

describe.each(kindsHere)('a process that is told to end, on %s', (kind) => {
  it.each(ENDS)(
    'by %s ends in time and gives back what it held, at no cost',
    async (_name, signal, end) => {
      const database = await createFaultDatabase(kind);
      const app = await busy(database);
      expect(await endOf(app, () => end({ database, app }))).toEqual(within(signal, END_MS));
      const { jobs } = await rowsOf(database);
      expect(new Set(jobs.map(({ status }) => status))).toEqual(new Set(['completed', 'waiting']));
      for (const job of jobs) {
        expect(job).toMatchObject({ retries: 0, lost: 0, lease_until_ms: null });
      }
      const stored = new Set(jobs.map(({ job_id: id }) => id));
      expect(acknowledged(database).filter((id) => !stored.has(id))).toEqual([]);
    },
    4 * BOOT_MS,
  );

  it(
    'by TERM while it boots, and makes tables or finds jobs, ends, and the next one runs them',
    async () => {
      const [first, empty] = [await createFaultDatabase(kind), await createFaultDatabase(kind)];
      const begun = performance.now();
      const app = spawn(first);
      await app.booted(BOOT_MS);
      const bootMs = performance.now() - begun;
      const items = Array.from({ length: RUNNING }, (_, n) => item(n));
      await app.call('process', 'produce', items);
      await app.kill('SIGKILL');
      await first.ask(`UPDATE jobs SET lease_until_ms = 1 WHERE lease_until_ms IS NOT NULL`);
      for (const database of [first, empty]) {
        for (const share of [0.3, 0.6, 0.9]) {
          const next = spawn(database);
          await pause(share * bootMs);
          expect(await endOf(next, () => next.kill('SIGTERM'))).toEqual(within('SIGTERM', END_MS));
        }
      }
      const heirs = [spawn(first), spawn(empty)] as const;
      await Promise.all(heirs.map((heir) => heir.booted(BOOT_MS)));
      await heirs[1].call('process', 'produce', items);
      for (const database of [first, empty]) {
        // A third of them are quick, and the others go on.
        await until(
          async () => (await count(database, `status = 'completed'`)) === Math.floor(RUNNING / 3),
          'the quick ones to end',
          BOOT_MS,
        );
        expect(await count(database, `status = 'running'`)).toBe(RUNNING - Math.floor(RUNNING / 3));
        expect(await count(database, 'retries > 0')).toBe(0);
      }
    },
    4 * BOOT_MS,
  );

  // A file is never away.
  if (kind !== 'sqlite') {
    it(
      'by TERM while the database is away ends in time, and others go on when its leases are over',
      async () => {
        const database = await createFaultDatabase(kind);
        const app = await busy(database, 5000);
        await database.server.end('SIGKILL');
        expect(await endOf(app, () => app.kill('SIGTERM'))).toEqual(
          within('SIGTERM', END_MS + AWAY_MS),
        );
        await database.server.start();
        const heir = spawn(database);
        await heir.booted(BOOT_MS);
        await until(
          async () =>
            (await count(
              database,
              `status <> 'completed' AND (lost = 0 OR status <> 'running')`,
            )) === 0,
          'the others to run again',
          BOOT_MS,
        );
        const { jobs } = await rowsOf(database);
        expect(jobs).toHaveLength(RUNNING);
        for (const { status, revision, lost, retries } of jobs) {
          // Whether the end of a quick one was stored before is chance.
          expect([0, 1]).toContain(lost);
          expect({ revision, retries }).toEqual({ revision: lost + 1, retries: 0 });
          expect(lost === 1 || status === 'completed').toBe(true);
        }
      },
      4 * BOOT_MS,
    );
  }
});
