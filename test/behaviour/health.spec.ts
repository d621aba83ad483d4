import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { codeOf } from '../support/refusals.js';
import { until } from '../support/waiting.js';
import { lockForWriting } from '../support/write-lock.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): string {
    return 'done';
  }
}

describe('health', () => {
  it('is ok while all works', async () => {
    const app = await bootJobs({ types: [Plain] });
    await app.run(Plain);
    expect(await app.stats.health()).toEqual({
      status: 'ok',
      checks: {
        database: { status: 'up', message: 'answers' },
        writes: { status: 'up', message: 'go through' },
        duties: { status: 'up', message: 'all run' },
      },
    });
  });

  it('notices that nothing can be written, says so, and notices that it can again', async () => {
    const app = await bootJobs({
      types: [Plain],
      options: { lease: { duration: '2s', sweep: '300ms' } },
    });
    const unlock = await lockForWriting(app.dataSource);
    const enqueued = app.jobs.enqueue(Plain);
    const refused = codeOf(enqueued);
    const health = await until(
      async () => {
        const now = await app.stats.health();
        return now.status === 'down' && now;
      },
      'the trouble to be noticed',
      9000,
    );
    expect(health.checks['database']?.status).toBe('up');
    expect(health.checks['writes']).toMatchObject({
      status: 'down',
      message: expect.stringMatching(/nothing could be written for \d+ s/) as string,
    });
    expect(await refused).toBe('database_busy');
    // Duties that write are late as well: on some databases only the one that comes every ten seconds.
    const isLate = async (): Promise<boolean> =>
      (await app.stats.health()).checks['duties']?.status === 'down';
    await until(isLate, 'a late duty', 18_000);
    await unlock();
    await until(async () => (await app.stats.health()).status === 'ok', 'health again');
    expect((await app.run(Plain)).result).toBe('done');
  }, 45_000);
});
