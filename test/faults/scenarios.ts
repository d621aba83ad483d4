import { setTimeout as pause } from 'node:timers/promises';
import type { Count, WrongClock } from './support/cluster.js';
import type { Kind } from './support/fault-database.js';
import type { Item } from './support/producer.js';
import { isFull, readOn, restart, terminateSome, type Victims } from './support/strikes.js';
import type { Workload } from './support/workload.js';

export { isFull };

/** A workload, and what happens to the cluster for so long; jobs are enqueued for the most of it. */
export interface Scenario extends Workload {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly leaseMs: number;
  readonly clocks?: readonly WrongClock[];
  readonly behindProxy?: true;
  /** Not left to the full length anywhere. */
  readonly isShort?: true;
  /** The driver makes no difference to it. */
  readonly forOneDriver?: true;
  readonly cancels?: true;
  /** Jobs are enqueued also when no worker has booted. */
  readonly hasProducer?: true;
  /** How often a job may be lost; else as often as you like. */
  readonly maxLost?: number;
  readonly refusesNothing?: true;
  /** The code by which handlers end their process. */
  readonly endsWith?: number;
  /** Whoever lives hears what becomes of each claim: then nobody gives one back for want of an answer. */
  readonly hearsAnswers?: true;
  /** What has happened at least when it is over; of a file no server is restarted. */
  readonly atLeast?: Partial<Record<Count, number>>;
  readonly atMost?: Partial<Record<Count, number>>;
  /** What happens, again and again. */
  strike(victims: Victims): Promise<void>;
}

const ALL: readonly Kind[] = ['sqlite', 'postgres', 'mariadb'];
const SERVERS: readonly Kind[] = ['postgres', 'mariadb'];
const DAY_MS = 86_400_000;
const LEASE_MS = 2000;
/** By then all are at work again when the server is back. */
const REVIVED_MS = 15_000;

/** Every so many jobs one blocks the event loop, for one to five leases of a second. */
const BLOCKED_EVERY = isFull ? 5 : 12;

/** Of processes, each in a zone of its own; the first four are there in short runs too. */
const WRONG_CLOCKS: readonly WrongClock[] = [
  { shiftMs: DAY_MS, zone: 'Pacific/Kiritimati' },
  { shiftMs: -DAY_MS, rate: 0.95, zone: 'America/St_Johns' },
  { shiftMs: DAY_MS, rate: 0, zone: 'Asia/Kathmandu' },
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
    hasProducer: true,
    hearsAnswers: true,
    atLeast: {
      kills: isFull ? 10 : 2,
      ...(isFull
        ? {
            'cancels granted': 20,
            'cancels of jobs at work': 1,
            'jobs that depend on others': 400,
            'refusals of unique keys': 100,
          }
        : {}),
    },
    // Of short runs too few are lost, on cores that are busy.
    atMost: isFull ? { 'median recovery in ms': 5000 } : {},
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
    hasProducer: true,
    limits: {
      concurrency: { limit: 3, by: 'tenant' },
      rate: { max: 25, per: 1000 },
    },
    atLeast: isFull
      ? { kills: 10, restarts: 4, 'limits reached': 1, 'cancels granted': 20 }
      : { kills: 1, restarts: 1 },
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
    atLeast: isFull
      ? {
          'broken connections': 150,
          'cuts before an answer': 60,
          'cuts before the answer to a write': 5,
        }
      : { 'broken connections': 2 },
    async strike({ cluster: { toll }, proxy, random }) {
      await pause(300 + random() * 700);
      const what = random();
      if (proxy === undefined) {
        return;
      }
      toll['broken connections'] = proxy.breaks + proxy.cuts;
      toll['cuts before an answer'] = proxy.cuts;
      toll['cuts before the answer to a write'] = proxy.cutWrites;
      if (what < 0.4) {
        proxy.cutAfterNext(0.3, random);
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
    workers: isFull ? WRONG_CLOCKS.length : 4,
    seconds: isFull ? 20 : 4,
    clocks: WRONG_CLOCKS,
    hearsAnswers: true,
    atLeast: { kills: isFull ? 6 : 2 },
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
    atLeast: isFull
      ? { 'lost runs of handlers that block': 75, 'workers that warned of late renewals': 1 }
      : { 'lost runs of handlers that block': 1, 'workers that warned of late renewals': 1 },
    item: (n) => (n % BLOCKED_EVERY === 0 ? blocks(1 + ((n / BLOCKED_EVERY) % 5)) : {}),
    strike: () => pause(100),
  },
  {
    ...usual,
    name: 'handlers do what they should not',
    kinds: isFull ? ALL : ['sqlite'],
    forOneDriver: true,
    jobs: isFull ? 840 : 84,
    seconds: isFull ? 30 : 3,
    // Whoever is at work beside one that ends the process is lost with it, and comes back with it: seldom so often.
    maxLost: isFull ? 6 : 3,
    endsWith: 7,
    hearsAnswers: true,
    atLeast: { 'lost runs': isFull ? 42 : 4, 'jobs that timed out': isFull ? 3 : 1 },
    item: misbehaves,
    strike: () => pause(100),
  },
  {
    ...usual,
    name: 'eight processes work and others read and copy the file',
    kinds: ['sqlite'],
    forOneDriver: true,
    jobs: isFull ? 20_000 : 400,
    workers: isFull ? 8 : 4,
    seconds: isFull ? 120 : 4,
    atLeast: { copies: isFull ? 10 : 2, readings: isFull ? 10 : 2 },
    // So that nobody is lost only because all want the processor.
    leaseMs: 30_000,
    refusesNothing: true,
    hearsAnswers: true,
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
