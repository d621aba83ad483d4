import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { createDatabase } from '../support/databases.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

interface Work {
  readonly host?: string;
  readonly ms?: number;
  readonly fails?: boolean;
}

/** How many handlers are at work at once, in all applications of this process. */
class Meter {
  readonly most = new Map<string, number>();
  readonly order: string[] = [];
  readonly #now = new Map<string, number>();

  begin(key: string): void {
    const now = (this.#now.get(key) ?? 0) + 1;
    this.#now.set(key, now);
    this.most.set(key, Math.max(now, this.most.get(key) ?? 0));
    this.order.push(key);
  }

  end(key: string): void {
    this.#now.set(key, (this.#now.get(key) ?? 0) - 1);
  }

  clear(): void {
    this.most.clear();
    this.order.length = 0;
  }
}

const meter = new Meter();
afterEach(() => meter.clear());

async function measured(ctx: JobContext<Work>, ...keys: string[]): Promise<void> {
  keys.forEach((key) => meter.begin(key));
  try {
    await pause(ctx.params.ms ?? 3);
    if (ctx.params.fails === true) {
      throw new Error('as asked');
    }
  } finally {
    keys.forEach((key) => meter.end(key));
  }
}

@JobType({ group: 'counted', name: 'plain', maxRetries: 1, retryDelay: 1 })
class Plain implements JobHandler<Work> {
  execute(ctx: JobContext<Work>): Promise<void> {
    return measured(ctx, 'queue', `queue of ${ctx.job.tenantId}`);
  }
}

@JobType({ group: 'counted', name: 'two', concurrency: { limit: 2 } })
class Two implements JobHandler<Work> {
  execute(ctx: JobContext<Work>): Promise<void> {
    return measured(ctx, 'queue', 'type', `queue of ${ctx.job.tenantId}`);
  }
}

@JobType({ group: 'free', name: 'tenant', concurrency: { limit: 2, by: 'tenant' } })
class OfTenant implements JobHandler<Work> {
  execute(ctx: JobContext<Work>): Promise<void> {
    return measured(ctx, ctx.job.tenantId);
  }
}

@JobType({
  group: 'free',
  name: 'host',
  concurrency: { limit: 3, by: (job) => (job.params as Work).host ?? 'none' },
})
class OfHost implements JobHandler<Work> {
  execute(ctx: JobContext<Work>): Promise<void> {
    return measured(ctx, ctx.params.host ?? 'none');
  }
}

const gate = handlerGate();

@JobType({ group: 'free', name: 'one', concurrency: { limit: 1 }, suspendable: true })
class One implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const groups = [
  { name: 'counted', queue: 'counted' },
  { name: 'free', queue: 'free' },
];
const types = [Plain, Two, OfTenant, OfHost, One];

function options(queue: object = {}): object {
  return { groups, queues: { counted: { capacity: 20, ...queue }, free: 20 } };
}

/** Several applications on one database. */
async function cluster(count: number, own: object = options()): Promise<readonly BootedJobs[]> {
  const database = createDatabase();
  const apps: BootedJobs[] = [];
  for (let n = 0; n < count; n += 1) {
    apps.push(await bootJobs({ types, options: own, database }));
  }
  return apps;
}

function first(apps: readonly BootedJobs[]): BootedJobs {
  // There is at least one.
  return apps[0] as BootedJobs;
}

async function allEnded(app: BootedJobs): Promise<void> {
  await until(
    async () => (await app.jobs.list({ status: ['waiting', 'running'], limit: 1 })).total === 0,
    'the end of all jobs',
    30_000,
  );
}

describe('a limit over the cluster', () => {
  it('of a queue holds over its types and all processes', { timeout: 40_000 }, async () => {
    const apps = await cluster(3, options({ concurrency: { limit: 4 } }));
    await first(apps).jobs.enqueueMany(
      Array.from({ length: 120 }, (_, n) => ({ type: n % 3 === 0 ? Two : Plain, params: {} })),
    );
    await allEnded(first(apps));
    expect(meter.order).toHaveLength(120 + 40 + 120);
    expect(meter.most.get('queue')).toBe(4);
    expect(meter.most.get('type')).toBeLessThanOrEqual(2);
  });

  it('of a type holds for it alone', { timeout: 40_000 }, async () => {
    const apps = await cluster(2);
    await first(apps).jobs.enqueueMany([
      ...Array.from({ length: 30 }, () => ({ type: Two, params: { ms: 10 } })),
      ...Array.from({ length: 60 }, () => ({ type: Plain, params: { ms: 10 } })),
    ]);
    await allEnded(first(apps));
    expect(meter.most.get('type')).toBe(2);
    expect(meter.most.get('queue')).toBeGreaterThan(2);
  });

  it('of each tenant holds for each by itself', { timeout: 40_000 }, async () => {
    const apps = await cluster(2);
    await first(apps).jobs.enqueueMany(
      Array.from({ length: 90 }, (_, n) => ({
        type: OfTenant,
        params: { ms: 5 },
        tenantId: `t${n % 3}`,
      })),
    );
    await allEnded(first(apps));
    expect(Object.fromEntries(meter.most)).toEqual({ t0: 2, t1: 2, t2: 2 });
  });

  it('by a key function holds for each key', { timeout: 40_000 }, async () => {
    const apps = await cluster(2);
    const hosts = ['a.example', 'b.example', 'ü', '\\', '😀'];
    await first(apps).jobs.enqueueMany(
      Array.from({ length: 100 }, (_, n) => ({
        type: OfHost,
        params: { host: hosts[n % 5], ms: 5 },
      })),
    );
    await allEnded(first(apps));
    expect([...meter.most.keys()].sort()).toEqual([...hosts].sort());
    expect(Math.max(...meter.most.values())).toBe(3);
  });

  it('gives the place back however a run ends', { timeout: 40_000 }, async () => {
    const [app] = (await cluster(1)) as [BootedJobs];
    const ends: ((id: string) => Promise<unknown>)[] = [
      async (id) => (await gate.entry(id)).release(),
      async (id) => (await gate.entry(id)).fail(new Error('no')),
      (id) => gate.entry(id).then(() => app.jobs.cancel(id)),
      (id) => gate.entry(id).then(() => app.jobs.suspend(id)),
    ];
    const ids: string[] = [];
    for (let n = 0; n <= ends.length; n += 1) {
      ids.push((await app.jobs.enqueue(One)).id);
    }
    for (const [n, end] of ends.entries()) {
      await end(ids[n] ?? '');
    }
    (await gate.entry(ids.at(-1) ?? '')).release();
    expect((await waitForEnd(app.jobs, ids.at(-1) ?? '')).status).toBe('completed');
    expect(gate.entries).toHaveLength(ids.length);
    await waitForStatus(app.jobs, ids[3] ?? '', 'suspended');
    await app.jobs.resume(ids[3] ?? '');
    (await gate.entry(ids[3] ?? '', 2)).release();
    expect((await waitForEnd(app.jobs, ids[3] ?? '')).status).toBe('completed');
  });
});
