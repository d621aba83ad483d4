import type { QueryRunner } from 'typeorm';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isJobsError, JobType, SchedulesService, type JobHandler } from '../../lib/index.js';
import { seqOfId } from '../../lib/store/dialects/shared/row-numbers.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';
import { codeOf } from '../support/refusals.js';
import { until, within } from '../support/waiting.js';

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): void {}
}

const types = [Quick];
const HOUR = 3_600_000;
const unique = { key: 'the key', onConflict: 'replace' } as const;

/** What callers may be told while others write the same; that the database is busy is not among it. */
const ANSWERS = [
  'duplicate_job',
  'not_found',
  'illegal_transition',
  'already_ended',
  'try_later',
  'job_active',
];

/** Does something again and again for so long; what went wrong, but for {@link ANSWERS}. */
async function again(ms: number, work: () => Promise<unknown>): Promise<string[]> {
  const wrong: string[] = [];
  for (const end = performance.now() + ms; performance.now() < end;) {
    try {
      await work();
    } catch (error) {
      if (!isJobsError(error) || !ANSWERS.includes(error.code)) {
        wrong.push(isJobsError(error) ? `${error.code}: ${error.message}` : String(error));
      }
    }
  }
  return wrong;
}

describe('two processes that write the same', () => {
  it('schedules and unique keys at once, for seconds, tell no caller of each other', async () => {
    const a = await bootJobs({ types });
    const other = await bootJobs({ types, database: a.database });
    const [mine, theirs] = [a.get(SchedulesService), other.get(SchedulesService)];
    const rhythm = { name: 'it', type: Quick, overlap: 'allow' } as const;
    await mine.upsert({ ...rhythm, after: HOUR });
    let nth = 0;
    let latest = (await a.jobs.enqueue(Quick, undefined, { unique, delay: '1h' })).id;
    const claim = (app: BootedJobs) => async (): Promise<void> => {
      latest = (await app.jobs.enqueue(Quick, undefined, { unique, delay: '1h' })).id;
    };
    const steer = (app: BootedJobs) => async (): Promise<void> => {
      const id = latest;
      await app.jobs.cancel(id);
      nth += 1;
      await (nth % 2 === 0 ? app.jobs.retry(id) : app.jobs.delete(id));
    };
    const runAndEdit = (schedules: SchedulesService) => async (): Promise<void> => {
      await schedules.runNow('it');
      nth += 1;
      await schedules.upsert({
        ...rhythm,
        ...(nth % 3 === 0 ? { every: HOUR } : { after: HOUR }),
      });
    };
    const wrong = await Promise.all([
      ...[mine, theirs].map((each) => again(4000, runAndEdit(each))),
      ...[a, other].map((each) => again(4000, claim(each))),
      ...[a, other].map((each) => again(4000, steer(each))),
    ]);
    expect(wrong.flat().join('\n')).toBe('');
    expect([a, other].flatMap((each) => each.log.texts('error')).join('\n')).toBe('');
    await mine.upsert({ ...rhythm, after: HOUR });
    await mine.runNow('it');
    await until(async () => (await mine.get('it')).nextRunAt, 'the end of its runs', 20_000);
  }, 40_000);
});

if (!isFile) {
  describe('the order of locks', () => {
    /** Holds what the first statement locks, and takes what the second one does while the work waits. */
    async function hold(
      app: BootedJobs,
      first: string,
      second: string,
      work: () => Promise<unknown>,
    ): Promise<void> {
      const runner: QueryRunner = app.dataSource.createQueryRunner();
      await runner.startTransaction();
      try {
        await runner.query(first);
        const working = work();
        const begun = Date.now();
        await until(() => Date.now() > begun + 200, 'tries of the work');
        await within(runner.query(second), 'the second lock', 700);
        await runner.commitTransaction();
        await within(working, 'the work', 4000);
      } finally {
        if (runner.isTransactionActive) {
          await runner.rollbackTransaction();
        }
        await runner.release();
      }
    }

    it('who edits a schedule keeps nobody from it who ends one of its jobs', async () => {
      const app = await bootJobs({ types });
      await app.queues.pause('default');
      const schedules = app.get(SchedulesService);
      const rhythm = { name: 'it', type: Quick, overlap: 'allow' } as const;
      const { id } = await schedules.upsert({ ...rhythm, every: HOUR });
      const job = await schedules.runNow('it');
      await hold(
        app,
        `DELETE FROM job_schedule_jobs WHERE seq = ${seqOfId(job.id)}`,
        `UPDATE job_schedule_times SET revision = revision + 1 WHERE schedule_id = '${id}'`,
        () => schedules.upsert({ ...rhythm, after: HOUR }),
      );
      expect(await schedules.get('it')).toMatchObject({ nextRunAt: expect.any(Date) as Date });
    });

    it.each(['delete', 'retry'] as const)(
      'who waits for the key of a job to %s it does not have the job',
      async (operation) => {
        const app = await bootJobs({ types });
        const { id } = await app.jobs.enqueue(Quick, undefined, { unique, delay: '1h' });
        await app.jobs.cancel(id);
        await hold(
          app,
          `SELECT 1 FROM job_uniques WHERE unique_key = 'the key' FOR UPDATE`,
          `SELECT 1 FROM jobs WHERE seq = ${seqOfId(id)} FOR UPDATE`,
          () => app.jobs[operation](id),
        );
      },
    );

    it('retention waits for no key, and leaves its job for later', async () => {
      const app = await bootJobs({ types });
      const isGone = async (id: string): Promise<boolean> =>
        (await codeOf(app.jobs.get(id))) === 'not_found';
      /** Retention looks when a process starts, at the oldest first. */
      const retention = async (): Promise<void> => {
        const last = await app.run(Quick);
        const options = { retention: { completed: '1ms' } };
        const looking = await bootJobs({ types, database: app.database, options });
        await until(() => isGone(last.id), 'retention');
        await looking.close();
      };
      const { id } = await app.run(Quick, undefined, { unique });
      const runner: QueryRunner = app.dataSource.createQueryRunner();
      onTestFinished(() => runner.release());
      await runner.startTransaction();
      await runner.query(`SELECT 1 FROM job_uniques WHERE unique_key = 'the key' FOR UPDATE`);
      await retention();
      expect(await isGone(id)).toBe(false);
      await runner.commitTransaction();
      await retention();
      expect(await isGone(id)).toBe(true);
      expect(await app.sql('SELECT * FROM job_uniques')).toEqual([]);
    });
  });
}
