import { describe, expect, it } from 'vitest';
import {
  FINAL_STATUSES,
  JobType,
  type FinalStatus,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';
import { codeOf } from '../support/refusals.js';
import { until } from '../support/waiting.js';

@JobType({ name: 'plain', maxRetries: 1, retryDelay: 0 })
class Plain implements JobHandler {
  execute(ctx: JobContext): void {
    ctx.log.info('a line');
    if (ctx.attempt === 1) {
      throw new Error('a run for the history');
    }
  }
}

const quick = { duration: '1s', sweep: '200ms' };
const DAY = 86_400_000;

/** A job that ended with that status so long ago. */
async function ended(app: BootedJobs, status: FinalStatus, daysAgo: number): Promise<string> {
  const job = await app.run(Plain);
  await app.sql(
    `UPDATE jobs SET status = '${status}', finished_at_ms = finished_at_ms - ${daysAgo * DAY} WHERE job_id = '${job.id}'`,
  );
  return job.id;
}

async function whatIsLeft(app: BootedJobs, ids: readonly string[]): Promise<string[]> {
  const codes = await Promise.all(
    ids.map(async (id) => [id, await codeOf(app.jobs.get(id))] as const),
  );
  return codes.filter(([, code]) => code === 'ok').map(([id]) => id);
}

async function isGone(app: BootedJobs, id: string): Promise<boolean> {
  return (await whatIsLeft(app, [id])).length === 0;
}

describe('retention', () => {
  it('keeps each status as long as its default says', async () => {
    const app = await bootJobs({ types: [Plain], options: { lease: quick, retention: false } });
    const old: Record<FinalStatus, number> = {
      completed: 8,
      skipped: 8,
      canceled: 8,
      failed: 31,
      timeout: 31,
    };
    const young: Record<FinalStatus, number> = {
      completed: 6,
      skipped: 6,
      canceled: 6,
      failed: 29,
      timeout: 29,
    };
    const doomed: string[] = [];
    const kept: string[] = [];
    for (const status of FINAL_STATUSES) {
      doomed.push(await ended(app, status, old[status]));
      kept.push(await ended(app, status, young[status]));
    }
    const waiting = await app.jobs.enqueue(Plain, undefined, { delay: '1h' });
    await app.sql(`UPDATE jobs SET updated_at_ms = 1 WHERE job_id = '${waiting.id}'`);
    await app.close();

    const again = await bootJobs({
      types: [Plain],
      options: { lease: quick },
      database: app.database,
    });
    await until(async () => (await whatIsLeft(again, doomed)).length === 0, 'the old ones to go');
    expect(await whatIsLeft(again, kept)).toEqual(kept);
    expect(await whatIsLeft(again, [waiting.id])).toEqual([waiting.id]);

    const orphans = `NOT IN (SELECT job_id FROM jobs)`;
    expect(await again.sql(`SELECT * FROM job_logs WHERE job_id ${orphans}`)).toEqual([]);
    expect(await again.sql(`SELECT * FROM job_runs WHERE job_id ${orphans}`)).toEqual([]);
  });

  it('follows its options', async () => {
    const app = await bootJobs({ types: [Plain], options: { lease: quick, retention: false } });
    const canceled = await ended(app, 'canceled', 2);
    const completed = await ended(app, 'completed', 2);
    await app.close();
    const again = await bootJobs({
      types: [Plain],
      options: { lease: quick, retention: { canceled: '1d' } },
      database: app.database,
    });
    await until(async () => (await whatIsLeft(again, [canceled])).length === 0);
    expect(await whatIsLeft(again, [completed])).toEqual([completed]);
  });

  it('leaves a job that somebody has begun to wait for while it was about to go', async () => {
    const app = await bootJobs({ types: [Plain], options: { lease: quick, retention: false } });
    const other = await ended(app, 'completed', 2);
    const parent = await ended(app, 'completed', 2);
    const purging = (): Promise<BootedJobs> =>
      bootJobs({
        types: [Plain],
        options: { lease: quick, retention: { completed: '1d' } },
        database: app.database,
      });
    await app.dataSource.transaction(async (manager) => {
      const dependsOn = [parent];
      await app.jobs.enqueue(Plain, undefined, { delay: '1h', dependsOn, manager });
      if (!isFile) {
        await purging();
        await until(() => isGone(app, other), 'retention to pass by');
      }
    });
    if (isFile) {
      await purging();
    }
    await until(() => isGone(app, other));
    expect(await app.jobs.get(parent)).toMatchObject({ status: 'completed' });
    expect(await app.jobs.runs(parent)).toHaveLength(2);
  });

  it('deletes nothing when it is off', async () => {
    const app = await bootJobs({ types: [Plain], options: { lease: quick, retention: false } });
    const id = await ended(app, 'completed', 10_000);
    const before = Date.now();
    await until(() => Date.now() > before + 600, 'three sweeps');
    expect(await whatIsLeft(app, [id])).toEqual([id]);
  });

  it('takes thousands in batches that let others write in between', async () => {
    const app = await bootJobs({ types: [Plain], options: { lease: quick, retention: false } });
    const outcomes = await app.jobs.enqueueMany(
      Array.from({ length: 2000 }, () => ({ type: Plain, delay: '1h' as const })),
    );
    expect(outcomes).toHaveLength(2000);
    await app.sql(`UPDATE jobs SET status = 'canceled', ready = 0, finished_at_ms = 1`);
    await app.close();
    const again = await bootJobs({
      types: [Plain],
      options: { lease: quick },
      database: app.database,
    });
    let slowest = 0;
    await until(async () => {
      const start = performance.now();
      await again.jobs.enqueue(Plain, undefined, { delay: '1h' });
      slowest = Math.max(slowest, performance.now() - start);
      return (await again.jobs.list({ status: 'canceled', limit: 1 })).total === 0;
    }, 'all to go');
    expect(slowest).toBeLessThan(1000);
  });
});
