import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { chance, seedOfRun } from '../../support/chance.js';
import { closeLater } from '../../support/cleanup.js';
import { SCENARIOS, type Scenario } from '../scenarios.js';
import { Cluster, type Count } from './cluster.js';
import { createFaultDatabase, kindsHere, type FaultDatabase, type Kind } from './fault-database.js';
import { FaultProxy } from './fault-proxy.js';
import { isFull } from './strikes.js';
import { CAPACITY, itemsOf, limitsOf } from './workload.js';

/** Beside the nemesis's own time: boots, and the rest of the work on a slow machine. */
const PATIENCE_MS = 280_000;

/** Where each may wait for as long as a connection is half-open. */
const MANY_CALLERS = 12;

/**
 * The scenarios of one kind of database, a test each, but for those behind a network that breaks. With
 * sqlite3 the processes are those of the other line, and only kills are not left to the full length.
 */
export function testScenarios(kind: Kind, driver?: 'sqlite3'): void {
  test(
    kind,
    SCENARIOS.filter(({ behindProxy = false, isShort = false, forOneDriver = false }) => {
      const isForBoth = isShort || (isFull && !forOneDriver);
      return !behindProxy && (driver === undefined || isForBoth);
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
        const done = await run(scenario, await createFaultDatabase(kind, driver), seed);
        console.log(`${name}: ${done}`);
      },
      PATIENCE_MS + Math.max(...SCENARIOS.map(({ seconds }) => seconds)) * 1000,
    );
  });
}

/** Gives what there was, in words. */
async function run(scenario: Scenario, database: FaultDatabase, seed: number): Promise<string> {
  const random = chance(seed);
  const proxy = scenario.behindProxy === true ? await FaultProxy.start(database.port) : undefined;
  if (proxy !== undefined) {
    closeLater(() => proxy.close(), 'test');
  }
  const { leaseMs, maxLost = 1000, refusesNothing = false, hearsAnswers = false } = scenario;
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
    ...(scenario.clocks === undefined ? {} : { clocks: scenario.clocks }),
    ...(scenario.hasProducer === undefined ? {} : { hasProducer: scenario.hasProducer }),
    ...(scenario.endsWith === undefined ? {} : { endsWith: scenario.endsWith }),
  });
  try {
    await cluster.start();
    const over = performance.now() + scenario.seconds * 1000;
    let late = 0;
    const strikes = strikeUntil(over, (count) =>
      scenario.strike({ cluster, database, proxy, random, strikes: count }),
    ).then(() => {
      late = Math.max(0, scenario.jobs - cluster.acknowledged.length);
    });
    await Promise.all([
      cluster.produce(itemsOf(scenario, random), scenario.seconds * 0.8, proxy && MANY_CALLERS),
      strikes,
      scenario.cancels === true && strikeUntil(over, () => cancel(cluster, random)),
    ]);
    await cluster.rest();
    const violations = await cluster.judge({
      leaseMs,
      maxLost,
      refusesNothing,
      hearsAnswers,
      limits: limitsOf(scenario),
    });
    expect(violations, violations.slice(0, 20).join('\n')).toEqual([]);
    expect(cluster.acknowledged.length).toBeGreaterThanOrEqual(scenario.jobs);
    const counts: Counts = { ...cluster.counts, 'jobs after the last fault': late };
    const story = storyOf(cluster, counts);
    checkCounts(scenario, counts, database.kind, story);
    return story;
  } catch (error) {
    throw new Error(
      `JOBS_TEST_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}\n${cluster.story()}`,
      { cause: error },
    );
  }
}

async function strikeUntil(
  over: number,
  strike: (strikes: number) => Promise<void>,
): Promise<void> {
  for (let count = 0; performance.now() < over; count += 1) {
    await strike(count);
  }
}

type Counts = Readonly<Partial<Record<Count, number>>>;

function checkCounts(
  { atLeast = {}, atMost = {} }: Scenario,
  counts: Counts,
  kind: Kind,
  story: string,
): void {
  for (const [what, least] of Object.entries(atLeast) as [Count, number][]) {
    if (kind !== 'sqlite' || what !== 'restarts') {
      expect(counts[what] ?? 0, `${what}; ${story}`).toBeGreaterThanOrEqual(least);
    }
  }
  for (const [what, most] of Object.entries(atMost) as [Count, number][]) {
    expect(counts[what], `${what}; ${story}`).toBeLessThanOrEqual(most);
  }
}

/** How large it was in fact. */
function storyOf({ acknowledged, revivalsMs }: Cluster, counts: Counts): string {
  const happened = Object.entries(counts).flatMap(([what, count]) =>
    count === 0 ? [] : [`${count} ${what}`],
  );
  return [
    `${acknowledged.length} jobs were acknowledged`,
    ...happened,
    ...(revivalsMs.length === 0 ? [] : [`at work again after ${revivalsMs.join(', ')} ms`]),
  ].join('; ');
}

async function cancel(cluster: Cluster, random: () => number): Promise<void> {
  await pause(100 + random() * 200);
  await cluster.cancelSome();
}
