import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler, type JobPage } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { waitForEnd } from '../support/waiting.js';

/** Goes to and fro between waiting and running. */
@JobType({ name: 'restless', maxRetries: 150, retryDelay: 0 })
class Restless implements JobHandler {
  execute(): void {
    throw new Error('again');
  }
}

describe('a list by status', () => {
  it('never misses a job that changes between the statuses asked for', async () => {
    const app = await bootJobs({ types: [Restless], options: { queues: { default: 4 } } });
    const jobs = await Promise.all(Array.from({ length: 4 }, () => app.jobs.enqueue(Restless)));
    const ends = Promise.all(jobs.map(({ id }) => waitForEnd(app.jobs, id, 60_000)));
    let isOver = false;
    void ends.finally(() => (isOver = true));
    const pages: JobPage[] = [];
    while (!isOver) {
      pages.push(await app.jobs.list({ status: ['waiting', 'running', 'failed'] }));
    }
    expect((await ends).map(({ retries }) => retries)).toEqual([150, 150, 150, 150]);
    expect(new Set(pages.map(({ jobs: listed }) => listed.length))).toEqual(new Set([4]));
  }, 70_000);
});
