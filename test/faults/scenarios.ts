import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import type { Cluster, Count, WrongClock } from './support/cluster.js';
import type { FaultDatabase, Kind } from './support/fault-database.js';
import type { FaultProxy } from './support/fault-proxy.js';
import type { Item } from './support/producer.js';

/** `.ci/run --full` runs scenarios at their full length. */
export const isFull = process.env['JOBS_TEST_FULL'] === '1';

/** What a nemesis may lay its hands on. */
export interface Victims {
  readonly cluster: Cluster;
  readonly database: FaultDatabase;
  /** Only where the scenario asks for one. */
  readonly proxy: FaultProxy | undefined;
  readonly random: () => number;
  /** How often it has struck before. */
  readonly strikes: number;
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
  readonly clocks?: readonly WrongClock[];
  readonly behindProxy?: true;
  /** Not left to the full length anywhere. */
  readonly isShort?: true;
  readonly cancels?: true;
  /** Of the queue, over the whole cluster. */
  readonly limits?: {
    readonly concurrency: { readonly limit: number; readonly by: 'tenant' };
    readonly rate: { readonly max: number; readonly per: number };
  };
  /** Some jobs have a unique key, and some depend on earlier ones. */
  readonly relates?: true;
  /** Jobs are those of so many tenants in turn. */
  readonly tenants?: number;
  /** How often a job may be lost; else as often as you like. */
  readonly maxLost?: number;
  readonly refusesNothing?: true;
  /** The code by which handlers end their process. */
  readonly endsWith?: number;
  /** What has been done at least when it is over; of a file no server is restarted. */
  readonly atLeast?: Partial<Record<Count, number>>;
  item?(n: number, random: () => number): Partial<Item['params']>;
  /** What happens, again and again. */
  strike(victims: Victims): Promise<void>;
}

const ALL: readonly Kind[] = ['sqlite', 'postgres', 'mariadb'];
const SERVERS: readonly Kind[] = ['postgres', 'mariadb'];
const DAY_MS = 86_400_000;
const LEASE_MS = 2000;
const LARGEST_WAL = 64 * 1024 ** 2;
/** A reader goes when the log is so long, or after so much time. */
const LONG_WAL = 40 * 1024 ** 2;
const READ_MS = isFull ? 5000 : 700;
const ALL_PAGES = 0x7fffffff;
/** By then all are at work again when the server is back. */
const REVIVED_MS = 15_000;

/** What a loop of so many milliseconds does at least in so many seconds, on a machine that is busy. */
const least = (seconds: number, everyMs: number): number => Math.floor((seconds * 500) / everyMs);

/** Every so many jobs one blocks the event loop, for one to five leases of a second. */
const BLOCKED_EVERY = isFull ? 5 : 12;

/** Of processes, each in a zone of its own; the first four are there in short runs too. */
const WRONG_CLOCKS: readonly WrongClock[] = [
  { shiftMs: DAY_MS, zone: 'Pacific/Kiritimati' },
  { shiftMs: -DAY_MS, rate: 0.95, zone: 'America/St_Johns' },
  { rate: 0, zone: 'Asia/Kathmandu' },
  { shiftMs: DAY_MS / 24, rate: 1.05, zone: 'Europe/London' },
  { shiftMs: -DAY_MS / 24, zone: 'Australia/Lord_Howe' },
  { zone: 'America/Sao_Paulo' },
];

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
    relates: true,
    atLeast: { kills: least(isFull ? 60 : 6, 500), 'kills of those at work': isFull ? 10 : 1 },
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
    atLeast: isFull ? { kills: 20, restarts: 4 } : { kills: 2, restarts: 1 },
    async strike({ cluster, database, random, strikes }) {
      await pause(800);
      await cluster.kill();
      if (database.kind !== 'sqlite' && strikes % (isFull ? 5 : 3) === 1) {
        await restart(database, cluster, random);
      }
    },
  },
  {
    ...usual,
    name: 'the server restarts',
    kinds: SERVERS,
    jobs: isFull ? 3000 : 200,
    seconds: isFull ? 60 : 6,
    atLeast: { restarts: isFull ? 6 : 1 },
    async strike({ cluster, database, random, strikes }) {
      await pause(1000 + random() * (isFull ? 2500 : 500));
      const backMs = await restart(database, cluster, random);
      // In between it also comes while they are still finding their way back.
      if (strikes % 2 === 0) {
        await cluster.revive(backMs, REVIVED_MS);
      }
    },
  },
  {
    ...usual,
    name: 'sessions are terminated',
    kinds: SERVERS,
    jobs: isFull ? 3000 : 200,
    seconds: isFull ? 60 : 4,
    cancels: true,
    atLeast: { 'terminated sessions': isFull ? 60 : 10 },
    async strike({ cluster, database, random }) {
      await pause(isFull ? 1000 : 200);
      cluster.toll['terminated sessions'] += await terminateSome(database, random);
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
    atLeast: { 'broken connections': isFull ? 300 : 4 },
    async strike({ cluster: { toll }, proxy, random }) {
      await pause(300 + random() * 700);
      const what = random();
      if (proxy === undefined || what < 0.4) {
        toll['broken connections'] += proxy?.cutAfterNext(0.3, random) ?? 0;
      } else if (what < 0.6) {
        toll['broken connections'] += proxy.reset(0.2, random);
      } else if (what < 0.8) {
        toll['broken connections'] += proxy.freeze(0.1, random);
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
    workers: isFull ? WRONG_CLOCKS.length : 4,
    seconds: isFull ? 20 : 4,
    clocks: WRONG_CLOCKS,
    atLeast: { kills: least(isFull ? 20 : 4, 1000) },
    async strike({ cluster }) {
      await pause(1000);
      await cluster.kill();
    },
  },
  {
    ...usual,
    name: 'event loops are blocked for one to five leases',
    kinds: ALL,
    // Of each length thirty at full length.
    jobs: isFull ? 150 * BLOCKED_EVERY : 60,
    workers: isFull ? 6 : 3,
    seconds: isFull ? 60 : 3,
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
    // Whoever is at work beside one that ends the process is lost with it, and comes back with it: seldom so often.
    maxLost: isFull ? 6 : 3,
    endsWith: 7,
    atLeast: { 'lost runs': isFull ? 42 : 4, 'jobs that timed out': isFull ? 3 : 1 },
    item: misbehaves,
    strike: () => pause(100),
  },
  {
    ...usual,
    name: 'eight processes work and others read and copy the file',
    kinds: ['sqlite'],
    jobs: isFull ? 20_000 : 400,
    workers: isFull ? 8 : 4,
    seconds: isFull ? 120 : 4,
    atLeast: { copies: isFull ? 10 : 2, readings: isFull ? 10 : 2 },
    // So that nobody is lost only because all want the processor.
    leaseMs: 30_000,
    refusesNothing: true,
    async strike({ cluster, database }) {
      await readOn(database, cluster);
    },
  },
];

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
async function readOn({ folder, file = '' }: Victims['database'], cluster: Cluster): Promise<void> {
  const logBytes = (): number => statSync(`${file}-wal`).size;
  const reader = new Sqlite(file, { readonly: true });
  try {
    const known = cluster.acknowledged.length;
    const copy = path.join(folder, 'copy.db');
    // In one step: SQLite begins anew between two of them whenever another process has written.
    await reader.backup(copy, { progress: () => ALL_PAGES });
    checkCopy(copy, known);
    cluster.toll.copies += 1;
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM jobs').get();
    // What is written from here on cannot leave the log while this goes on.
    const until = performance.now() + READ_MS;
    while (performance.now() < until && logBytes() < LONG_WAL) {
      await pause(50);
    }
    reader.exec('COMMIT');
    cluster.toll.readings += 1;
  } finally {
    reader.close();
  }
  if (logBytes() > LARGEST_WAL) {
    throw new Error(`The write-ahead log has ${logBytes()} bytes.`);
  }
}

/** It is whole, and has at least what was acknowledged before it was begun. */
function checkCopy(file: string, known: number): void {
  const copy = new Sqlite(file);
  try {
    const health: unknown = copy.pragma('integrity_check', { simple: true });
    const jobs = Number(copy.prepare('SELECT count(*) FROM jobs').pluck().get());
    if (health !== 'ok' || jobs < known) {
      throw new Error(
        `A copy has ${jobs} jobs of ${known} that were acknowledged before: ${String(health)}`,
      );
    }
  } finally {
    copy.close();
  }
  for (const end of ['', '-wal', '-shm']) {
    rmSync(`${file}${end}`, { force: true });
  }
}

/** Gives when the server was back. */
async function restart(
  { server, kind }: Victims['database'],
  { toll }: Cluster,
  random: () => number,
): Promise<number> {
  const inOrder = kind === 'postgres' ? 'SIGINT' : 'SIGTERM';
  await server.end(random() < 0.5 ? 'SIGKILL' : inOrder);
  await pause(random() * (isFull ? 2000 : 500));
  await server.start();
  toll.restarts += 1;
  return Date.now();
}

/** Gives how many. */
async function terminateSome(database: FaultDatabase, random: () => number): Promise<number> {
  if (database.kind === 'postgres') {
    const struck = await database.ask(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < 0.2`,
    );
    return struck.length;
  }
  const sessions = await database.ask(
    `SELECT id AS id FROM information_schema.processlist WHERE db = 'faults' AND id <> CONNECTION_ID()`,
  );
  let count = 0;
  for (const { id } of sessions.filter(() => random() < 0.2)) {
    // It may have gone by itself.
    await database.ask(`KILL ${Number(id)}`).then(
      () => (count += 1),
      () => undefined,
    );
  }
  return count;
}
