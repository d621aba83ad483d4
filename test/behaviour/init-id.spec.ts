import { describe, expect, it } from 'vitest';
import {
  JobType,
  type InitializingJob,
  type JobHandler,
  type JobsService,
  type OnJobInit,
} from '../../lib/index.js';
import { seqOfId } from '../../lib/store/dialects/shared/row-numbers.js';
import { bootJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';

let seen: string[] = [];
let meanwhile: (id: string) => Promise<unknown> = () => Promise.resolve();

@JobType({ name: 'seen' })
class Seen implements JobHandler, OnJobInit {
  async onJobInit(job: InitializingJob): Promise<void> {
    seen.push(job.id);
    await meanwhile(job.id);
  }
  execute(): void {}
}

@JobType({ name: 'other' })
class Other implements JobHandler {
  execute(): void {}
}

describe('the id that onJobInit saw', () => {
  it('is the id of the job', async () => {
    seen = [];
    const app = await bootJobs({ types: [Seen, Other], options: { role: 'producer' } });
    const { id } = await app.jobs.enqueue(Seen);
    expect(seen).toEqual([id]);
    expect((await app.jobs.get(id)).id).toBe(id);
  });

  it.each<[string, (jobs: JobsService) => Promise<string | undefined>]>([
    ['enqueue', async (jobs) => (await jobs.enqueue(Seen)).id],
    [
      'enqueueMany',
      async (jobs) => (await jobs.enqueueMany([{ type: Other }, { type: Seen }]))[1]?.job?.id,
    ],
  ])(
    'is another one, seen by another call, when a process gave its place away: %s',
    async (_, enqueue) => {
      seen = [];
      const app = await bootJobs({ types: [Seen, Other], options: { role: 'producer' } });
      const { id: other } = await app.jobs.enqueue(Other);
      meanwhile = async (id) => {
        meanwhile = () => Promise.resolve();
        // On SQLite `jobs` is a view, which keeps its numbers.
        const table = isFile ? 'job_rows' : 'jobs';
        await app.sql(`UPDATE ${table} SET seq = ${seqOfId(id)} WHERE seq = ${seqOfId(other)}`);
      };
      const id = await enqueue(app.jobs);
      expect(seen).toHaveLength(2);
      expect(seen[1]).toBe(id);
      const { jobs, total } = await app.jobs.list({ type: 'default:seen' });
      expect(total).toBe(1);
      expect(jobs[0]?.id).toBe(id);
    },
  );

  it('keeps the order of a call whose other jobs nobody has seen', async () => {
    seen = [];
    const app = await bootJobs({ types: [Seen, Other], options: { role: 'producer' } });
    const outcomes = await app.jobs.enqueueMany(
      Array.from({ length: 40 }, (_, at) => ({ type: at % 3 === 0 ? Seen : Other })),
    );
    const ids = outcomes.map((each) => each.job?.id ?? '');
    expect(ids.every((id, at) => at === 0 || id > (ids[at - 1] ?? ''))).toBe(true);
    const { jobs } = await app.jobs.list({ order: 'scheduled_at', limit: 100 });
    expect(jobs.map((job) => job.id)).toEqual(ids);
    expect(seen).toHaveLength(14);
  });
});
