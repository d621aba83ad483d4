import { describe, expect, it } from 'vitest';
import { JobEntity, JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { fences, readPage } from '../docs/support/pages.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';

@JobType({ group: 'compute', name: 'plain', timeout: '1m', maxRetries: 2 })
class Plain implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

const asProducer = (): Promise<BootedJobs> =>
  bootJobs({ types: [Plain], options: { role: 'producer' } });

describe('the view `jobs` of SQLite', () => {
  it('is changed and deleted from by hand, as a table is', async () => {
    const app = await asProducer();
    const { id } = await app.jobs.enqueue(Plain);
    await app.sql(
      `UPDATE jobs SET priority = 4, channel = 'gpu', tenant_id = 't', timeout_sec = 0.5,
         updated_at_ms = scheduled_at_ms + 1 WHERE job_id = '${id}'`,
    );
    const job = await app.jobs.get(id);
    expect(job).toMatchObject({ priority: 4, channel: 'gpu', tenantId: 't', timeout: 500 });
    expect(job).toMatchObject({ type: 'compute:plain', queue: 'compute', maxRetries: 2 });
    expect(job.updatedAt.getTime()).toBe(job.scheduledAt.getTime() + 1);
    expect((await app.jobs.list({ tenantId: 't' })).total).toBe(1);
    await app.sql(`UPDATE jobs SET timeout_sec = NULL WHERE job_id = '${id}'`);
    expect((await app.jobs.get(id)).timeout).toBe(60_000);
    await app.sql(`DELETE FROM jobs WHERE channel = 'gpu'`);
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('is read and written by the repository of JobEntity', async () => {
    const app = await asProducer();
    const [first, second] = await app.jobs.enqueueMany([{ type: Plain }, { type: Plain }]);
    const jobs = app.dataSource.getRepository(JobEntity);
    const stored = await jobs.findOneByOrFail({ id: first?.job?.id ?? '' });
    expect(stored).toMatchObject({ type: 'compute:plain', queue: 'compute', timeoutSec: 60 });
    await jobs.save(Object.assign(stored, { priority: 9 }));
    await jobs.update({ seq: stored.seq }, { ...stored, details: 'mended' });
    expect(await app.jobs.get(stored.id)).toMatchObject({ priority: 9, details: 'mended' });
    await jobs.remove(stored);
    expect(await jobs.findBy({ queue: 'compute' })).toMatchObject([{ id: second?.job?.id }]);
    await jobs.clear();
    expect(await jobs.count()).toBe(0);
  });

  it.each([
    `type = 'compute:other'`,
    `queue = 'download', priority = 4`,
    `job_id = '01a205f8-af76-7000-b1a9-63ba4051c4cb'`,
    'scheduled_at_ms = 1, run_at_ms = 1',
    'seq = 1',
    'declaration = 7',
  ])('refuses %s, rather than leaving it out', async (change) => {
    const app = await asProducer();
    const job = await app.jobs.enqueue(Plain);
    await expect(app.sql(`UPDATE jobs SET ${change}`)).rejects.toThrow(/cannot be changed/);
    expect(await app.jobs.get(job.id)).toMatchObject({ priority: 0, queue: 'compute' });
  });
});

describe('the page about SQLite', () => {
  it('has statements that work, by an index where it says so', async () => {
    const app = await asProducer();
    await app.jobs.enqueue(Plain, undefined, { userId: 'u1' });
    const blocks = fences(readPage('docs/operations/sqlite.md'), 'sql').map((block) =>
      block.split(';').filter((statement) => statement.trim() !== ''),
    );
    const [all, indexed, changing] = blocks as [string[], string[], string[]];
    expect(Object.values((await app.sql(all[0] ?? ''))[0] ?? {})).toEqual([
      'compute',
      'compute:plain',
      'waiting',
      1,
    ]);
    const found: number[] = [];
    for (const statement of indexed) {
      const plan = await app.sql<{ detail: string }>(`EXPLAIN QUERY PLAN ${statement}`);
      expect(plan[0]?.detail).toMatch(/USING (INDEX ix_jobs_|INTEGER PRIMARY KEY)/);
      found.push((await app.sql(statement)).length);
    }
    expect(found).toEqual([0, 0, 1]);
    expect(await app.sql(changing[0] ?? '')).toHaveLength(1);
    expect((await app.jobs.list({ userId: 'u2' })).total).toBe(1);
  });
});

describe('declarations', () => {
  it('stay when all tables are emptied, for processes know them by number', async () => {
    const app = await bootJobs({ types: [Plain] });
    await app.run(Plain);
    const tables = await app.sql<{ name: string }>(
      `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`,
    );
    for (const { name } of tables) {
      await app.sql(`DELETE FROM ${name}`);
    }
    expect((await app.jobs.list()).total).toBe(0);
    expect(await app.run(Plain, { n: 1 })).toMatchObject({
      type: 'compute:plain',
      result: { n: 1 },
    });
  });
});
