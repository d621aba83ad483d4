import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'step' })
class Step implements JobHandler {
  execute(): void {}
}

const types = [Held, Step];

async function enqueueBehind(app: BootedJobs, parent: string, count: number): Promise<void> {
  await app.jobs.enqueueMany(
    Array.from({ length: count }, () => ({ type: Step, dependsOn: [parent] })),
  );
}

async function countOf(app: BootedJobs, status: 'failed' | 'completed'): Promise<number> {
  return (await app.jobs.list({ status: [status], limit: 1 })).total;
}

describe('more jobs than one transaction tells', () => {
  it('are told by another process when the one that began to tell them is gone', async () => {
    const database = createDatabase();
    const first = await bootJobs({ types, database, options: { role: 'producer' } });
    const parent = await first.jobs.enqueue(Held);
    await enqueueBehind(first, parent.id, 500);
    await first.jobs.fail(parent.id, { reason: 'not today' });
    const told = await countOf(first, 'failed');
    expect(told).toBeGreaterThan(1);
    expect(told).toBeLessThan(501);
    expect(await first.sql('SELECT seq FROM job_untold')).toHaveLength(1);
    await first.close();

    const second = await bootJobs({ types, database });
    await until(async () => (await countOf(second, 'failed')) === 501, 'all of them to be told');
    expect(await second.sql('SELECT seq FROM job_untold')).toEqual([]);
  });

  it('run when the one that they wait for has completed', async () => {
    const app = await bootJobs({ types, options: { queues: { default: 50 } } });
    const parent = await app.jobs.enqueue(Held);
    await enqueueBehind(app, parent.id, 5001);
    (await gate.entry(parent.id)).release();
    await waitForEnd(app.jobs, parent.id);
    await until(
      async () => (await countOf(app, 'completed')) === 5002,
      'all of them to complete',
      50_000,
    );
  }, 90_000);
});
