import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler, type JobsService } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { until } from '../support/waiting.js';

let order: string[] = [];

@JobType({ group: 'lane', name: 'first' })
class First implements JobHandler {
  execute(ctx: JobContext<{ name: string }>): void {
    order.push(ctx.params.name);
  }
}

@JobType({ group: 'lane', name: 'second' })
class Second implements JobHandler {
  execute(ctx: JobContext<{ name: string }>): void {
    order.push(ctx.params.name);
  }
}

const types = [First, Second];
const queues = { lane: 1 };
const groups = [{ name: 'lane', queue: 'lane' }];

/** Enqueues in an application that runs nothing, then lets one with those channels run. */
async function run(
  channels: readonly string[] | '*',
  enqueue: (jobs: JobsService) => Promise<unknown>,
  expected: number,
): Promise<string[]> {
  order = [];
  const database = createDatabase();
  const producer = await bootJobs({
    types,
    database,
    options: { queues, groups, role: 'producer' },
  });
  await enqueue(producer.jobs);
  await producer.close();
  await bootJobs({ types, database, options: { queues, groups, channels } });
  await until(() => order.length >= expected, `${expected} jobs to run`);
  return order;
}

function job(type: typeof First, name: string, options: object = {}) {
  return { type, params: { name }, ...options };
}

describe('channels', () => {
  it('are served by name, and all else waits', async () => {
    const served = await run(
      ['gpu', 'eu'],
      (jobs) =>
        jobs.enqueueMany([
          job(First, 'plain'),
          job(First, 'gpu', { channel: 'gpu' }),
          job(Second, 'eu', { channel: 'eu' }),
          job(Second, 'us', { channel: 'us' }),
        ]),
      2,
    );
    expect(served).toEqual(['gpu', 'eu']);
  });

  it.each([
    ['by name', ['', 'a', 'b']],
    ['all of them', '*'],
  ] as const)('share one order of priority and age, served %s', async (_, channels) => {
    const served = await run(
      channels,
      async (jobs) => {
        await jobs.enqueueMany([
          job(First, 'third', { channel: 'b' }),
          job(Second, 'fourth', { channel: 'a' }),
          job(First, 'second', { channel: 'a', priority: 1 }),
          job(Second, 'first', { priority: 2 }),
        ]);
        await jobs.enqueue(First, { name: 'last' }, { priority: -1 });
      },
      5,
    );
    expect(served).toEqual(['first', 'second', 'third', 'fourth', 'last']);
  });

  it('of any number are served together, in one order of priority and age', async () => {
    const names = Array.from({ length: 120 }, (_, at) => `tenant-${at}`);
    const served = await run(
      '*',
      (jobs) =>
        jobs.enqueueMany(
          names.flatMap((name, at) => [
            job(at % 2 === 0 ? First : Second, name, { channel: name, priority: 7 }),
            job(First, `${name} later`, { channel: name }),
          ]),
        ),
      240,
    );
    expect(served).toEqual([...names, ...names.map((name) => `${name} later`)]);
  });
});
