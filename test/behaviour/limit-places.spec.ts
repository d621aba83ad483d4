import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'one', concurrency: { limit: 1 }, suspendable: true })
class One implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

/** The same type in a process that knows no limit. */
@JobType({ name: 'one', suspendable: true })
class OneUnlimited implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'retried', concurrency: { limit: 1 }, maxRetries: 1, retryDelay: 1 })
class Retried implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'slow', concurrency: { limit: 1 }, timeout: 50 })
class Slow implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

/** Waits for a job of its own type, under the same limit. */
@JobType({ name: 'parent', concurrency: { limit: 1, by: 'tenant' } })
class Parent implements JobHandler<{ child?: string }> {
  async execute(ctx: JobContext<{ child?: string }>): Promise<unknown> {
    if (ctx.params.child === undefined) {
      return gate.obey(ctx);
    }
    await ctx.lockOn(ctx.params.child);
    return gate.obey(ctx);
  }
}

const types = [One, Retried, Slow, Parent];
const quick = { lease: { duration: '1s', sweep: '200ms' } };

async function waiting(app: BootedJobs, id: string): Promise<void> {
  expect((await app.jobs.get(id)).status).toBe('waiting');
}

describe('a place under a limit', () => {
  it('comes back with the lease of a worker that is lost', async () => {
    const database = createDatabase();
    const app = await bootJobs({ types, options: quick, database });
    const [first, second] = [await app.jobs.enqueue(One), await app.jobs.enqueue(One)];
    await gate.entry(first.id);
    await waiting(app, second.id);
    // As if another process held it, and were not heard any more.
    await app.sql(
      `UPDATE jobs SET worker_id = '00000000-0000-7000-8000-000000000000', lease_until_ms = 1 WHERE job_id = '${first.id}'`,
    );
    // Taken back, the job is first in line again.
    await gate.entry(first.id, 2);
    await waiting(app, second.id);
    gate.entries.at(-1)?.release();
    await gate.entry(second.id);
  });

  it('is free while a job waits for its retry, and after a timeout', async () => {
    const app = await bootJobs({ types });
    const [first, second] = [await app.jobs.enqueue(Retried), await app.jobs.enqueue(Retried)];
    (await gate.entry(first.id)).fail(new Error('as asked'));
    (await gate.entry(second.id)).release();
    (await gate.entry(first.id, 2)).release();
    expect((await waitForEnd(app.jobs, first.id)).status).toBe('completed');
    const slow = [await app.jobs.enqueue(Slow), await app.jobs.enqueue(Slow)];
    for (const { id } of slow) {
      expect((await waitForEnd(app.jobs, id)).status).toBe('timeout');
    }
  });

  it('is given up while a job is locked, and next for it once it wants to go on', async () => {
    const app = await bootJobs({ types });
    const child = await app.jobs.enqueue(Parent, {}, { delay: '1h' });
    const parent = await app.jobs.enqueue(Parent, { child: child.id });
    await waitForStatus(app.jobs, parent.id, 'locked');
    await app.jobs.update(child.id, { runAt: new Date() });
    const held = await gate.entry(child.id);
    const others = [await app.jobs.enqueue(Parent, {}), await app.jobs.enqueue(Parent, {})];
    held.release();
    // One of them may be quicker than the parent, which has to see first that its child has ended.
    const order: string[] = [];
    for (const nth of [1, 2, 3]) {
      const { ctx, release } = await until(() => gate.entries[nth], `handler ${nth}`);
      order.push(ctx.job.id);
      expect(gate.entries).toHaveLength(nth + 1);
      if (ctx.job.id !== parent.id) {
        await until(
          async () =>
            order.includes(parent.id) ||
            (
              await app.sql(
                `SELECT 1 FROM jobs WHERE job_id = '${parent.id}' AND locked_by IS NULL`,
              )
            ).length > 0,
          'the parent to want its place back',
        );
      }
      release();
    }
    expect(order.indexOf(parent.id)).toBeLessThan(2);
    expect(new Set(order)).toEqual(new Set([parent.id, ...others.map(({ id }) => id)]));
    expect((await waitForEnd(app.jobs, parent.id)).status).toBe('completed');
  });

  it('is counted for jobs from before there was a limit, and by who knows none not at all', async () => {
    const database = createDatabase();
    const old = await bootJobs({ types: [OneUnlimited], database, options: { role: 'producer' } });
    const before = await old.jobs.enqueueMany(
      Array.from({ length: 3 }, () => ({ type: OneUnlimited })),
    );
    const app = await bootJobs({ types, database });
    await until(() => gate.entries.length === 1, 'the first');
    const [late] = [await app.jobs.enqueue(One)];
    gate.entries[0]?.release();
    await until(() => gate.entries.length === 2, 'the second');
    await waiting(app, late.id);
    await app.close();
    expect(before).toHaveLength(3);
    // Whoever runs on without the limit takes what has keys as well.
    const free = await bootJobs({ types: [OneUnlimited], database });
    await until(() => gate.entries.length >= 5, 'all that is left, at once');
    await gate.entry(late.id);
    gate.open();
    expect((await waitForEnd(free.jobs, late.id)).status).toBe('completed');
  });

  it('is not taken by a job of a paused queue, or one that has expired', async () => {
    const app = await bootJobs({ types });
    await app.queues.pause('default');
    const gone = await app.jobs.enqueue(One, undefined, { expiresAt: new Date(Date.now() + 50) });
    const next = await app.jobs.enqueue(One);
    await until(async () => (await app.jobs.get(gone.id)).status === 'skipped', 'the expiry');
    await waiting(app, next.id);
    await app.queues.resume('default');
    (await gate.entry(next.id)).release();
    expect((await waitForEnd(app.jobs, next.id)).status).toBe('completed');
    expect(gate.entries).toHaveLength(1);
  });
});
