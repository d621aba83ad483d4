import type { EntityManager } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'transacting' })
class Transacting implements JobHandler {
  async execute(ctx: JobContext<unknown, EntityManager>): Promise<void> {
    await ctx.transaction(
      async () => {
        await ctx.checkIn('half way');
        return (await ctx.enqueue(Plain)).id;
      },
      { complete: true },
    );
  }
}

/** What came about a job, in the order in which it came. */
function toldOf(receiver: Receiver, id: string): readonly string[] {
  return receiver.of(id).map(({ event }) => event.type.replace('job.', ''));
}

describe('an endpoint', () => {
  async function boot(): Promise<{ app: BootedJobs; receiver: Receiver }> {
    const receiver = await Receiver.open();
    const app = await bootJobs({ types: [Plain, Transacting], options: { webhooks: LOOPBACK } });
    await app.webhooks.create({ url: receiver.url });
    return { app, receiver };
  }

  it('is told of the place in line of a job that is enqueued in a transaction of the host', async () => {
    const { app, receiver } = await boot();
    const one = await app.dataSource.transaction((manager) =>
      app.jobs.enqueue(Plain, {}, { manager }),
    );
    const [many] = await app.dataSource.transaction((manager) =>
      app.jobs.enqueueMany([{ type: Plain }], { manager }),
    );
    for (const id of [one.id, many?.job?.id ?? '']) {
      await receiver.told(id, 'job.completed');
      expect(toldOf(receiver, id)).toEqual(['waiting', 'running', 'completed']);
    }
  });

  it('is told of what a handler does in a transaction: its check-in, its end, and what it enqueues', async () => {
    const { app, receiver } = await boot();
    const { id } = await app.jobs.enqueue(Transacting);
    const { event } = await receiver.told(id, 'job.completed');
    expect(toldOf(receiver, id)).toEqual(['waiting', 'running', 'check_in', 'completed']);
    const child = String(event.data.job['result']);
    await receiver.told(child, 'job.completed');
    expect(toldOf(receiver, child)).toEqual(['waiting', 'running', 'completed']);
  });
});
