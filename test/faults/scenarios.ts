import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import type { Cluster, Item } from './support/cluster.js';
import type { FaultDatabase, Kind } from './support/fault-database.js';
import type { FaultProxy } from './support/fault-proxy.js';

/** `.ci/run --full` runs scenarios at their full length. */
export const isFull = process.env['JOBS_TEST_FULL'] === '1';

/** What a nemesis may lay its hands on. */
export interface Victims {
  readonly cluster: Cluster;
  readonly database: FaultDatabase;
  /** Only where the scenario asks for one. */
  readonly proxy: FaultProxy | undefined;
  readonly random: () => number;
}

/** A workload, and what happens to the cluster meanwhile. */
export interface Scenario {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly jobs: number;
  readonly workers: number;
  /** How long the nemesis is at work; jobs are enqueued for the most of it. */
  readonly seconds: number;
  readonly leaseMs: number;
  readonly clockShiftsMs?: readonly number[];
  readonly behindProxy?: true;
  /** Not left to the full length anywhere. */
  readonly isShort?: true;
  readonly cancels?: true;
  /** Of the queue, over the whole cluster. */
  readonly limits?: {
    readonly concurrency: { readonly limit: number; readonly by: 'tenant' };
    readonly rate: { readonly max: number; readonly per: number };
  };
  /** Jobs are those of so many tenants in turn. */
  readonly tenants?: number;
  /** How often a job may be lost; else as often as you like. */
  readonly maxLost?: number;
  readonly refusesNothing?: true;
  item?(n: number, random: () => number): Partial<Item['params']>;
  /** What happens, again and again. */
  strike(victims: Victims): Promise<void>;
}

const ALL: readonly Kind[] = ['sqlite', 'postgres', 'mariadb'];
const SERVERS: readonly Kind[] = ['postgres', 'mariadb'];
const DAY_MS = 86_400_000;
const LEASE_MS = 2000;
const LARGEST_WAL = 64 * 1024 ** 2;

const usual = { leaseMs: LEASE_MS, workers: 3 };

export const SCENARIOS: readonly Scenario[] = [
  {
    ...usual,
    name: 'workers are killed',
    kinds: ALL,
    isShort: true,
    jobs: isFull ? 5000 : 300,
    workers: isFull ? 4 : 3,
    seconds: isFull ? 60 : 6,
    cancels: true,
    async strike({ cluster }) {
      await pause(500);
      await cluster.kill();
    },
  },
  {
    ...usual,
    name: 'workers are killed, servers restart and their queue has limits',
    kinds: ALL,
    jobs: isFull ? 900 : 70,
    seconds: isFull ? 60 : 6,
    cancels: true,
    tenants: 3,
    limits: {
      concurrency: { limit: 3, by: 'tenant' },
      rate: { max: 25, per: 1000 },
    },
    async strike({ cluster, database, random }) {
      await pause(800);
      await cluster.kill();
      if (database.kind !== 'sqlite' && random() < (isFull ? 0.2 : 0.4)) {
        await restart(database, random);
      }
    },
  },
  {
    ...usual,
    name: 'the server restarts',
    kinds: SERVERS,
    jobs: isFull ? 3000 : 200,
    seconds: isFull ? 60 : 6,
    async strike({ database, random }) {
      await pause(1000 + random() * (isFull ? 6000 : 500));
      await restart(database, random);
    },
  },
  {
    ...usual,
    name: 'sessions are terminated',
    kinds: SERVERS,
    jobs: isFull ? 3000 : 200,
    seconds: isFull ? 60 : 4,
    cancels: true,
    async strike({ database, random }) {
      await pause(isFull ? 1000 : 200);
      await terminateSome(database, random);
    },
  },
  {
    ...usual,
    name: 'the network breaks and lags',
    kinds: SERVERS,
    jobs: isFull ? 3000 : 150,
    seconds: isFull ? 300 : 8,
    leaseMs: isFull ? 10_000 : 5000,
    behindProxy: true,
    cancels: true,
    async strike({ proxy, random }) {
      await pause(300 + random() * 700);
      const what = random();
      if (proxy === undefined || what < 0.4) {
        proxy?.cutAfterNext(0.3, random);
      } else if (what < 0.6) {
        proxy.reset(0.2, random);
      } else if (what < 0.8) {
        proxy.freeze(0.1, random);
      } else {
        proxy.delayMs = (isFull ? 2000 : 500) * random();
        await pause(isFull ? 3000 : 1000);
        proxy.delayMs = 0;
      }
    },
  },
  {
    ...usual,
    name: 'clocks of processes are a day apart',
    kinds: ALL,
    jobs: isFull ? 1000 : 150,
    workers: 4,
    seconds: isFull ? 20 : 4,
    clockShiftsMs: [DAY_MS, -DAY_MS, 0, DAY_MS / 24],
    async strike({ cluster }) {
      await pause(1000);
      await cluster.kill();
    },
  },
  {
    ...usual,
    name: 'event loops are blocked for one to five leases',
    kinds: ALL,
    jobs: isFull ? 300 : 60,
    seconds: isFull ? 30 : 3,
    leaseMs: 1000,
    item: (n) => (n % BLOCKED_EVERY === 0 ? blocks(1 + ((n / BLOCKED_EVERY) % 5)) : {}),
    strike: () => pause(100),
  },
  {
    ...usual,
    name: 'handlers do what they should not',
    kinds: isFull ? ALL : ['sqlite'],
    jobs: isFull ? 840 : 84,
    seconds: isFull ? 30 : 3,
    // Whoever is at work beside one that ends the process is lost with it, but seldom so often.
    maxLost: isFull ? 6 : 3,
    item: misbehaves,
    strike: () => pause(100),
  },
  {
    ...usual,
    name: 'eight processes work and others read and copy the file',
    kinds: ['sqlite'],
    jobs: isFull ? 20_000 : 400,
    workers: isFull ? 8 : 4,
    seconds: isFull ? 90 : 4,
    // So that nobody is lost only because all want the processor.
    leaseMs: 30_000,
    refusesNothing: true,
    strike: ({ database }) => readOn(database),
  },
];

/** Every so many jobs one blocks the event loop, for one to five leases of a second. */
const BLOCKED_EVERY = isFull ? 5 : 12;

/** When the loop is free again, and the run has been lost, the next one is still at work. */
function blocks(leases: number): Partial<Item['params']> {
  return { blockMs: leases * 1000, ms: leases * 1000 };
}

/** Every so many jobs one misbehaves. */
const BAD_EVERY = isFull ? 20 : 12;

/** What handlers do that should not, and what becomes of their jobs: see the fixture. */
const MISBEHAVIOURS: readonly (readonly [how: string, ends: string])[] = [
  ['ends the process', 'failed'],
  ['never returns', 'timeout'],
  ['throws nothing', 'failed'],
  ['throws a circle', 'failed'],
  ['forgets a rejection', 'failed'],
  ['returns too much', 'failed'],
  ['returns what is no JSON', 'failed'],
];

function misbehaves(n: number): Partial<Item['params']> {
  const at = n / BAD_EVERY;
  const [how, ends] = MISBEHAVIOURS[at % MISBEHAVIOURS.length] ?? [];
  return how === undefined || ends === undefined ? { ends: 'completed', ms: 20 } : { how, ends };
}

/** Others read the file, and copy it, as long as they like. */
async function readOn({ folder, file }: Victims['database']): Promise<void> {
  const reader = new Sqlite(file ?? '', { readonly: true });
  try {
    const copy = path.join(folder, 'copy.db');
    await reader.backup(copy);
    rmSync(copy);
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM jobs').get();
    // What is written from here on cannot leave the log while this goes on.
    await pause(isFull ? 5000 : 700);
    reader.exec('COMMIT');
  } finally {
    reader.close();
  }
  const { size } = statSync(`${file}-wal`);
  if (size > LARGEST_WAL) {
    throw new Error(`The write-ahead log has ${size} bytes.`);
  }
}

async function restart({ server, kind }: Victims['database'], random: () => number): Promise<void> {
  const inOrder = kind === 'postgres' ? 'SIGINT' : 'SIGTERM';
  await server.end(random() < 0.5 ? 'SIGKILL' : inOrder);
  await pause(random() * (isFull ? 2000 : 500));
  await server.start();
}

async function terminateSome(database: FaultDatabase, random: () => number): Promise<void> {
  if (database.kind === 'postgres') {
    await database.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.2`,
    );
    return;
  }
  const sessions = await database.ask(
    `SELECT id AS id FROM information_schema.processlist WHERE db = 'faults' AND id <> CONNECTION_ID()`,
  );
  for (const { id } of sessions.filter(() => random() < 0.2)) {
    // It may have gone by itself.
    await database.ask(`KILL ${Number(id)}`).catch(() => undefined);
  }
}
