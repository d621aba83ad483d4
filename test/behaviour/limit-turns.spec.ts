import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { until } from '../support/waiting.js';

const begun: string[] = [];

@JobType({ group: 'shop', name: 'work', concurrency: { limit: 50, by: 'tenant' } })
class Work implements JobHandler<{ n?: number }> {
  execute(ctx: JobContext<{ n?: number }>): void {
    begun.push(`${ctx.job.tenantId} ${ctx.job.priority}`);
  }
}

@JobType({ group: 'shop', name: 'plain' })
class Plain implements JobHandler {
  execute(): void {
    begun.push('plain');
  }
}

const options = {
  groups: [{ name: 'shop', queue: 'shop' }],
  queues: { shop: { capacity: 1 } },
};

/** With nobody at work meanwhile. */
async function backlog(
  fill: (app: BootedJobs) => Promise<unknown>,
  lifetimeOptions: object = options,
): Promise<BootedJobs> {
  const app = await bootJobs({ types: [Work, Plain], options: lifetimeOptions });
  await app.queues.pause('shop');
  begun.length = 0;
  await fill(app);
  return app;
}

async function worked(app: BootedJobs, count: number): Promise<readonly string[]> {
  await app.queues.resume('shop');
  await until(() => begun.length >= count, `${count} handlers`, 20_000);
  return begun.slice(0, count);
}

function many(type: typeof Work | typeof Plain, tenantId: string, count: number): object[] {
  return Array.from({ length: count }, () => ({ type, params: {}, tenantId }));
}

describe('keys of a limit take turns', () => {
  it('so that one with a long line holds up nobody', { timeout: 30_000 }, async () => {
    const app = await backlog(async ({ jobs }) => {
      await jobs.enqueueMany(many(Work, 'noisy', 5000) as never);
      await jobs.enqueueMany(many(Work, 'quiet', 1) as never);
      await jobs.enqueueMany(many(Work, 'calm', 3) as never);
    });
    const first = await worked(app, 12);
    expect(first.filter((each) => each === 'quiet 0')).toHaveLength(1);
    expect(first.filter((each) => each === 'calm 0')).toHaveLength(3);
  });

  it('one job each, and the best of each first', async () => {
    const app = await backlog(async ({ jobs }) => {
      for (const tenantId of ['a', 'b']) {
        for (const priority of [0, 5, 1]) {
          await jobs.enqueue(Work, {}, { tenantId, priority });
        }
      }
    });
    const order = await worked(app, 6);
    for (const tenant of ['a', 'b']) {
      expect(order.filter((each) => each.startsWith(tenant))).toEqual([
        `${tenant} 5`,
        `${tenant} 1`,
        `${tenant} 0`,
      ]);
    }
    expect(order.slice(0, 2).sort()).toEqual(['a 5', 'b 5']);
  });

  it('round and round: each of many has its share', { timeout: 30_000 }, async () => {
    const tenants = Array.from({ length: 150 }, (_, n) => `t${n}`);
    const app = await backlog(({ jobs }) =>
      jobs.enqueueMany(tenants.flatMap((tenant) => many(Work, tenant, 20)) as never),
    );
    const order = await worked(app, 1500);
    const counts = tenants.map((tenant) => order.filter((each) => each === `${tenant} 0`).length);
    expect(Math.min(...counts)).toBeGreaterThan(0);
    expect(counts.reduce((sum, each) => sum + each, 0)).toBe(1500);
  });

  it('beside jobs of types without a limit, which keep their order of priority and age', async () => {
    const app = await backlog(async ({ jobs }) => {
      await jobs.enqueue(Work, {}, { tenantId: 'a', priority: 1 });
      await jobs.enqueue(Plain, undefined, { priority: 2 });
      await jobs.enqueue(Work, {}, { tenantId: 'b', priority: 3 });
      await jobs.enqueue(Plain, undefined, { priority: 0 });
    });
    const order = await worked(app, 4);
    expect(order.indexOf('plain')).toBeLessThan(order.indexOf('a 1'));
    expect(order.at(-1)).toBe('plain');
  });

  it('over several types and channels of a queue', { timeout: 30_000 }, async () => {
    const app = await backlog(
      async ({ jobs }) => {
        await jobs.enqueueMany([
          ...many(Work, 'noisy', 300),
          ...many(Plain, 'noisy', 300),
          ...many(Plain, 'quiet', 2),
          ...many(Work, 'quiet', 2).map((item) => ({ ...item, channel: 'x' })),
        ] as never);
      },
      {
        ...options,
        channels: '*',
        queues: { shop: { capacity: 1, concurrency: { limit: 3, by: 'tenant' } } },
      },
    );
    await worked(app, 604);
    expect(begun).toHaveLength(604);
  });
});
