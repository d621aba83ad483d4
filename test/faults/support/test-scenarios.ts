import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { chance, seedOfRun } from '../../support/chance.js';
import { closeLater } from '../../support/cleanup.js';
import { SCENARIOS, type Scenario } from '../scenarios.js';
import { Cluster, type Item } from './cluster.js';
import { createFaultDatabase, kindsHere, type Kind } from './fault-database.js';
import { FaultProxy } from './fault-proxy.js';

/** Beside the nemesis's own time: boots, and the rest of the work on a slow machine. */
const PATIENCE_MS = 280_000;

const CAPACITY = 8;

/** The scenarios of one kind of database, a test each. */
export function testScenarios(kind: Kind): void {
  const own = kindsHere.includes(kind)
    ? SCENARIOS.filter(({ kinds }) => kinds.includes(kind)).map(
        (scenario) => [`${scenario.name}, on ${kind}`, scenario] as const,
      )
    : [];
  describe.runIf(own.length > 0)('a cluster keeps its promises while', () => {
    it.each(own)(
      '%s',
      async (name, scenario) => {
        const seed = seedOfRun();
        console.log(`${name}: JOBS_TEST_SEED=${seed}`);
        await run(scenario, kind, seed);
      },
      PATIENCE_MS + Math.max(...SCENARIOS.map(({ seconds }) => seconds)) * 1000,
    );
  });
}

async function run(scenario: Scenario, kind: Kind, seed: number): Promise<void> {
  const random = chance(seed);
  const database = await createFaultDatabase(kind);
  const proxy = scenario.behindProxy === true ? await FaultProxy.start(database.port) : undefined;
  if (proxy !== undefined) {
    closeLater(() => proxy.close(), 'test');
  }
  const cluster = new Cluster({
    database,
    random,
    workers: scenario.workers,
    options: {
      lease: { duration: scenario.leaseMs, sweep: '200ms', maxLost: 1000 },
      queues: {
        default: {
          capacity: CAPACITY,
          ...(scenario.limit === undefined ? {} : { concurrency: { limit: scenario.limit } }),
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
    const { keepsLeases, leaseMs, clockErrorMs, limit } = scenario;
    const violations = await cluster.judge({
      clockErrorMs,
      ...(keepsLeases ? { leaseMs } : {}),
      ...(limit === undefined
        ? {}
        : { limits: [{ name: 'the queue', most: limit, keyOf: ({ queue }) => queue }] }),
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

/** Work for as long as the nemesis is there. */
function itemsOf(
  { jobs, item, seconds, workers, limit = workers * CAPACITY }: Scenario,
  random: () => number,
): readonly Item[] {
  const meanMs = (seconds * 1000 * limit * 0.6) / jobs;
  return Array.from({ length: jobs }, (_, n) => ({
    token: `t${n}`,
    keyed: random() < 0.5,
    params: {
      ms: Math.floor(random() * 2 * meanMs),
      ...(random() < 0.1 ? { fails: 1 + Math.floor(random() * 2) } : {}),
      ...item?.(n, random),
    },
  }));
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
