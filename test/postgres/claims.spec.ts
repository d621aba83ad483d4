import { expect, it } from 'vitest';
import { JobType, type Job, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';

const seen = new Map<string, Job>();

@JobType({ name: 'looks', maxRetries: 2, retryDelay: '1ms' })
class Looks implements JobHandler {
  execute(ctx: JobContext): void {
    seen.set(ctx.job.id, { ...ctx.job });
    if (ctx.attempt < ctx.job.maxRetries) {
      throw new Error('again');
    }
  }
}

@JobType({ name: 'versioned', group: 'compute', version: 3 })
class Versioned extends Looks {}

it('a handler sees its job as it is stored, however usual or not its values are', async () => {
  const app = await bootJobs({ types: [Looks, Versioned] });
  const jobs = [
    await app.run(Looks, { n: 'plain' }),
    await app.run(
      Looks,
      { text: 'quote " backslash \\ new\nline \u2028 \t {}' },
      { maxRetries: 0 },
    ),
    await app.run(
      Versioned,
      { all: 'else' },
      {
        tenantId: 'tenant',
        userId: 'user',
        idempotencyKey: 'a key',
        priority: -7,
        delay: 1,
        timeout: '1m',
        maxRetries: 3,
        retryDelay: '2ms',
        state: { at: 1 },
        tags: ['a', 'b'],
        meta: { trace: 'x' },
        expiresAt: new Date(Date.now() + 60_000),
      },
    ),
  ];
  for (const job of jobs) {
    expect(job.status).toBe('completed');
    expect(seen.get(job.id)).toMatchObject({
      ...omit(job, ['status', 'finishedAt', 'startedAt', 'updatedAt', 'progress', 'eta', 'error']),
      sequence: job.sequence - 1,
    });
  }
});

function omit(job: Job, keys: readonly string[]): object {
  return Object.fromEntries(Object.entries(job).filter(([key]) => !keys.includes(key)));
}
