import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { chance, seedOfRun } from '../../support/chance.js';
import { closeLater } from '../../support/cleanup.js';
import type { Limit } from '../history.js';
import { isFull, SCENARIOS, type Scenario } from '../scenarios.js';
import { Cluster, type Item } from './cluster.js';
import { createFaultDatabase, kindsHere, type FaultDatabase, type Kind } from './fault-database.js';
import { FaultProxy } from './fault-proxy.js';

/** Beside the nemesis's own time: boots, and the rest of the work on a slow machine. */
const PATIENCE_MS = 280_000;

const CAPACITY = 8;
const TIMEOUT_MS = 300;

/**
 * The scenarios of one kind of database, a test each, but for those behind a network that breaks. With
 * sqlite3 the processes are those of the other line, and only kills are not left to the full length.
 */
export function testScenarios(kind: Kind, driver?: 'sqlite3'): void {
  test(
    kind,
    SCENARIOS.filter(({ behindProxy = false, isShort = false }) => {
      return !behindProxy && (isFull || isShort || driver === undefined);
    }),
    driver,
  );
}

/** Those behind a network that breaks, which wait more than they work: in a file of their own. */
export function testNetwork(kind: Kind): void {
  test(
    kind,
    SCENARIOS.filter(({ behindProxy = false }) => behindProxy),
  );
}

function test(kind: Kind, scenarios: readonly Scenario[], driver?: 'sqlite3'): void {
  const place = driver === undefined ? `on ${kind}` : `by the driver ${driver}`;
  const own = kindsHere.includes(kind)
    ? scenarios
        .filter(({ kinds }) => kinds.includes(kind))
        .map((scenario) => [`${scenario.name}, ${place}`, scenario] as const)
    : [];
  describe.runIf(own.length > 0)('a cluster keeps its promises while', () => {
    it.each(own)(
      '%s',
      async (name, scenario) => {
        const seed = seedOfRun();
        console.log(`${name}: JOBS_TEST_SEED=${seed}`);
        await run(scenario, await createFaultDatabase(kind, driver), seed);
      },
      PATIENCE_MS + Math.max(...SCENARIOS.map(({ seconds }) => seconds)) * 1000,
    );
  });
}

async function run(scenario: Scenario, database: FaultDatabase, seed: number): Promise<void> {
  const random = chance(seed);
  const proxy = scenario.behindProxy === true ? await FaultProxy.start(database.port) : undefined;
  if (proxy !== undefined) {
    closeLater(() => proxy.close(), 'test');
  }
  const { leaseMs, maxLost = 1000, refusesNothing = false } = scenario;
  const cluster = new Cluster({
    database,
    random,
    workers: scenario.workers,
    options: {
      lease: { duration: leaseMs, sweep: '200ms', maxLost },
      queues: {
        default: {
          capacity: CAPACITY,
          ...scenario.limits,
        },
      },
    },
    ...(proxy === undefined ? {} : { typeorm: { port: proxy.port } }),
    ...(scenario.clockShiftsMs === undefined ? {} : { clockShiftsMs: scenario.clockShiftsMs }),
  });
  try {
    await cluster.start();
    const over = performance.now() + scenario.seconds * 1000;
    await Promise.all([
      cluster.produce(itemsOf(scenario, random), scenario.seconds * 0.8),
      strikeUntil(over, () => scenario.strike({ cluster, database, proxy, random })),
      scenario.cancels === true && strikeUntil(over, () => cancel(cluster, random)),
    ]);
    await cluster.rest();
    const violations = await cluster.judge({
      leaseMs,
      maxLost,
      refusesNothing,
      limits: limitsOf(scenario),
    });
    expect(violations, violations.slice(0, 20).join('\n')).toEqual([]);
    expect(cluster.acknowledged.length).toBeGreaterThan(scenario.jobs / 3);
  } catch (error) {
    throw new Error(
      `JOBS_TEST_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}\n${cluster.story()}`,
      { cause: error },
    );
  }
}

function limitsOf({ limits }: Scenario): readonly Limit[] {
  if (limits === undefined) {
    return [];
  }
  const { concurrency, rate } = limits;
  return [
    { name: 'jobs of a tenant', most: concurrency.limit, keyOf: ({ tenant_id }) => tenant_id },
    { name: 'the rate', most: rate.max, perMs: rate.per, keyOf: ({ queue }) => queue },
  ];
}

/** Work for as long as the nemesis is there. */
function itemsOf(scenario: Scenario, random: () => number): readonly Item[] {
  const { jobs, item, seconds, workers, tenants = 0, limits } = scenario;
  const places = limits === undefined ? workers * CAPACITY : limits.concurrency.limit * tenants;
  const meanMs = (seconds * 1000 * places * 0.6) / jobs;
  return Array.from({ length: jobs }, (_, n) => {
    const own = item?.(n, random);
    return {
      token: `t${n}`,
      keyed: random() < 0.5,
      ...(tenants === 0 ? {} : { tenant: `tenant-${n % tenants}` }),
      ...(own?.ends === 'timeout' ? { timeout: TIMEOUT_MS } : {}),
      params: {
        ms: Math.floor(random() * 2 * meanMs),
        ...(random() < 0.1 ? { fails: 1 + Math.floor(random() * 2) } : {}),
        ...own,
      },
    };
  });
}

async function strikeUntil(over: number, strike: () => Promise<void>): Promise<void> {
  while (performance.now() < over) {
    await strike();
  }
}

async function cancel(cluster: Cluster, random: () => number): Promise<void> {
  await pause(100 + random() * 200);
  await cluster.cancelSome();
}
