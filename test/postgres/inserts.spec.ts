import { describe, expect, it, vi } from 'vitest';
import {
  JobType,
  SchedulesService,
  type Job,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until } from '../support/waiting.js';
import { chooseAlike } from './support/clashes.js';
import { startProxy } from './support/proxy.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'seen' })
class Seen implements JobHandler {
  onJobInit(): void {}
  execute(_ctx: JobContext): void {}
}

const types = [Plain, Seen];
const options = { role: 'producer' as const };

async function stored(app: BootedJobs): Promise<string[]> {
  const rows = await app.sql<{ job_id: string }>('SELECT job_id FROM jobs ORDER BY seq');
  return rows.map((row) => row.job_id);
}

const later = (app: BootedJobs): Promise<Job> => app.jobs.enqueue(Plain, {}, { delay: '1h' });

async function waitingFor(app: BootedJobs, { id }: Job): Promise<string[]> {
  const { dependents } = await app.jobs.dependencies(id);
  return dependents.map((each) => each.id).toSorted();
}

const idsOf = (jobs: readonly Job[]): string[] => jobs.map((job) => job.id).toSorted();

describe('an answer that is lost after the server has committed', () => {
  it('does not make an enqueue fail, nor store its job twice', async () => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options, typeorm: proxy.options });
    await app.jobs.enqueue(Plain, { n: 'first' });
    const cut = proxy.cutAnswerTo('lost on the way');
    const jobs = await Promise.all([
      app.jobs.enqueue(Plain, { n: 'lost on the way' }),
      app.jobs.enqueue(Plain, { n: 'beside it' }),
      app.jobs.enqueue(Plain, { n: 'later' }, { delay: '1h' }),
    ]);
    await cut;
    expect((await stored(app)).slice(1)).toEqual(idsOf(jobs));
    expect(jobs.map((job) => job.outcome)).toEqual(['created', 'created', 'created']);
  });

  it('does not store twice what waits for others, and whom it waits for', async () => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options, typeorm: proxy.options });
    const [first, second] = [await later(app), await later(app)];
    const cut = proxy.cutAnswerTo('lost on the way');
    const jobs = await Promise.all(
      ['lost on the way', 'beside it'].map((n) =>
        app.jobs.enqueue(Plain, { n }, { dependsOn: [first.id, second.id] }),
      ),
    );
    await cut;
    expect((await stored(app)).slice(2)).toEqual(idsOf(jobs));
    expect(jobs.map((job) => [job.outcome, job.waitingFor])).toEqual([
      ['created', 'dependencies'],
      ['created', 'dependencies'],
    ]);
    expect(await waitingFor(app, first)).toEqual(idsOf(jobs));
    await app.jobs.skip(first.id);
    await app.jobs.skip(second.id);
    expect(await app.jobs.get(jobs[0]?.id ?? '')).toMatchObject({ waitingFor: 'worker' });
  });

  it('is no replay for the caller whose key it was', async () => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options, typeorm: proxy.options });
    const cut = proxy.cutAnswerTo('lost on the way');
    const job = await app.jobs.enqueue(Plain, { n: 'lost on the way' }, { idempotencyKey: 'mine' });
    await cut;
    expect(job.outcome).toBe('created');
    expect(await stored(app)).toEqual([job.id]);
  });

  it.each([
    ['plain ones', Plain],
    ['ones that a hook has seen', Seen],
  ])('stores what is enqueued in one call once: %s', async (_, type) => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options, typeorm: proxy.options });
    const cut = proxy.cutAnswerTo('COMMIT', 'lost on the way');
    const items = Array.from({ length: 20 }, (_item, n) => ({
      type,
      params: { n: 'lost on the way' },
      ...(n % 2 === 0 ? { idempotencyKey: `key ${n}` } : {}),
    }));
    const outcomes = await app.jobs.enqueueMany(items);
    await cut;
    expect(outcomes.map((each) => each.outcome)).toEqual(items.map(() => 'created'));
    expect(await stored(app)).toHaveLength(20);
  });

  it('makes one job of a schedule that is run now, which is told like any other', async () => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options, typeorm: proxy.options });
    const schedules = app.get(SchedulesService);
    const params = { n: 'lost on the way' };
    await schedules.upsert({ name: 's', type: Plain, every: '1h', overlap: 'allow', params });
    const cut = proxy.cutAnswerTo('COMMIT', 'lost on the way');
    const job = await schedules.runNow('s');
    await cut;
    expect(job).toMatchObject({ outcome: 'created', params });
    expect((await app.jobs.list({ kind: 'periodic' })).jobs.map(({ id }) => id)).toEqual([job.id]);
    expect(await schedules.get('s')).toMatchObject({ lastJobId: job.id });
  });
});

describe('an answer to a cancel that is lost', () => {
  it.each([
    ['after the server has committed', 'COMMIT', 'canceled', /not known whether it was/],
    ['before it was told to commit', undefined, 'waiting', /nothing was stored/],
  ] as const)('%s: the caller is told what is known', async (_, marker, status, message) => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options: { role: 'producer' }, typeorm: proxy.options });
    const { id } = await app.jobs.enqueue(Plain);
    const cut =
      marker === undefined
        ? proxy.cutAnswerTo('lost on the way')
        : proxy.cutAnswerTo(marker, 'lost on the way');
    const error = await refusal(app.jobs.cancel(id, { reason: 'lost on the way' }));
    await cut;
    expect(error).toMatchObject({ code: 'database_unavailable', retryAfterSec: 5 });
    expect(error.message).toMatch(message);
    expect(await app.jobs.get(id)).toMatchObject({ status });
  });
});

/** Resolves when somebody has waited for a lock, and waits for it no longer. */
async function gaveUpWaiting(app: BootedJobs): Promise<void> {
  const waits = async (): Promise<string[]> => {
    const rows = await app.sql<{ since: string }>(
      `SELECT waitstart::text AS since FROM pg_locks WHERE NOT granted AND waitstart IS NOT NULL
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    return rows.map((row) => row.since);
  };
  const [first] = await until(async () => {
    const found = await waits();
    return found.length > 0 && found;
  }, 'somebody to wait for the lock');
  await until(async () => !(await waits()).includes(first ?? ''), 'the wait to be given up');
}

describe('a number that two processes have chosen', () => {
  it('is chosen again once, also when the second try meets a lock', async () => {
    const database = createDatabase();
    const proxy = await startProxy();
    const chooseFreely = chooseAlike();
    try {
      const one = await bootJobs({ types, database, options });
      const other = await bootJobs({ types, database, options, typeorm: proxy.options });
      const runner = one.dataSource.createQueryRunner();
      let released: Promise<void> | undefined;
      const held = proxy.holdUp('SELECT job_id FROM', async () => {
        await runner.startTransaction();
        await runner.query('LOCK TABLE jobs IN SHARE MODE');
        released = gaveUpWaiting(one).then(() => runner.rollbackTransaction());
      });
      let isHeld = false;
      void held.then(() => (isHeld = true));
      const jobs: Job[] = [];
      while (!isHeld) {
        // Some of the other's are stored by the first try, which is what must not be done again.
        const few = Array.from({ length: 5 }, () => one.jobs.enqueue(Plain));
        const more = Array.from({ length: 10 }, () => other.jobs.enqueue(Plain));
        jobs.push(...(await Promise.all([...few, ...more])));
      }
      await released;
      await runner.release();
      expect(await stored(one)).toEqual(idsOf(jobs));
    } finally {
      chooseFreely();
    }
  });
});

describe('numbers of jobs that wait for others', () => {
  it('that two processes have chosen are chosen again, and each waits for its own', async () => {
    const database = createDatabase();
    const chooseFreely = chooseAlike();
    try {
      const one = await bootJobs({ types, database, options });
      const other = await bootJobs({ types, database, options });
      const parents = [await later(one), await later(one)];
      const enqueue = (app: BootedJobs, at: number): Promise<Job> =>
        app.jobs.enqueue(Plain, {}, { dependsOn: [parents[at]?.id ?? ''] });
      const jobs: (readonly [Job, Job])[] = [];
      for (let round = 0; round < 20; round += 1) {
        const pairs = Array.from({ length: 5 }, async () =>
          Promise.all([enqueue(one, 0), enqueue(other, 1)] as const),
        );
        jobs.push(...(await Promise.all(pairs)));
      }
      expect((await stored(one)).slice(2)).toEqual(idsOf(jobs.flat()));
      for (const at of [0, 1] as const) {
        expect(await waitingFor(one, parents[at] as Job)).toEqual(
          idsOf(jobs.map((pair) => pair[at])),
        );
      }
      await one.jobs.skip(parents[0]?.id ?? '');
      const { total } = await one.jobs.list({ status: ['waiting'] });
      expect(total).toBe(1 + jobs.length * 2);
      const [row] = await one.sql<{ n: string }>('SELECT COUNT(*) AS n FROM jobs WHERE ready = 1');
      expect(Number(row?.n)).toBe(jobs.length);
    } finally {
      chooseFreely();
    }
  });
});

describe('a call that stores all or nothing', () => {
  it('takes back what it stored when somebody is quicker with a key', async () => {
    const database = createDatabase();
    const proxy = await startProxy();
    const other = await bootJobs({ types, database, options });
    const app = await bootJobs({ types, database, options, typeorm: proxy.options });
    const quicker = proxy.holdUp('SAVEPOINT', async () => {
      await other.jobs.enqueue(Plain, { n: 'theirs' }, { idempotencyKey: 'wanted' });
    });
    const call = app.jobs.enqueueMany([
      { type: Plain, params: { n: 'mine' } },
      { type: Plain, params: { n: 'mine' }, idempotencyKey: 'wanted' },
    ]);
    expect(await codeOf(call)).toBe('idempotency_conflict');
    await quicker;
    expect(await stored(other)).toHaveLength(1);
  });

  it('is done again under other ids when somebody is quicker with one of them', async () => {
    const database = createDatabase();
    const proxy = await startProxy();
    const other = await bootJobs({ types, database, options });
    const app = await bootJobs({ types, database, options, typeorm: proxy.options });
    const ids: string[] = [];
    const quicker = proxy.holdUp('SAVEPOINT', async () => {
      // Another job of the same moment: the same row number, another id.
      const id = ids[1] ?? '';
      await other.jobs.enqueue(Plain);
      const seq = `((('x' || left(replace('${id}', '-', ''), 12))::bit(48)::bigint - 1704067200000) << 12) | ('x' || substr('${id}', 16, 3))::bit(12)::int`;
      await other.sql(
        `UPDATE jobs SET seq = ${seq}, job_id = left('${id}', 35) || (CASE right('${id}', 1) WHEN '0' THEN '1' ELSE '0' END)`,
      );
    });
    vi.spyOn(Seen.prototype, 'onJobInit').mockImplementation((...args: unknown[]) => {
      ids.push((args[0] as Job).id);
    });
    const outcomes = await app.jobs.enqueueMany([{ type: Seen }, { type: Seen }]);
    vi.restoreAllMocks();
    await quicker;
    expect(outcomes.map((each) => each.outcome)).toEqual(['created', 'created']);
    expect(await stored(other)).toHaveLength(3);
    expect(ids).toHaveLength(4);
  });
});
