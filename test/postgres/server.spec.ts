import { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { JobType, type Job, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { chooseAlike } from './support/clashes.js';
import { startProxy } from './support/proxy.js';
import { until, waitForEnd, within } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(ctx: JobContext): number {
    return ctx.attempt;
  }
}

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'fails-first' })
class FailsFirst implements JobHandler {
  execute(ctx: JobContext): number {
    if (ctx.attempt === 1) {
      throw new Error('failed the first time');
    }
    return ctx.attempt;
  }
}

const types = [Plain, Held, FailsFirst];
const OURS = `application_name = 'nestjs-jobs' AND datname = current_database()`;

/** The sessions of the engine in that database are ended, as an administrator might. */
async function terminate(app: BootedJobs): Promise<number> {
  const ended = await app.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${OURS}`,
  );
  return ended.length;
}

/** The one in the middle, of an odd number of them. */
function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

describe('row numbers', () => {
  it('that two processes choose alike are chosen again: every job is stored once', async () => {
    const database = createDatabase();
    const chooseFreely = chooseAlike();
    try {
      const apps = await Promise.all([
        bootJobs({ types, database, options: { role: 'producer' } }),
        bootJobs({ types, database, options: { role: 'producer' } }),
      ]);
      const jobs: Job[] = [];
      for (let round = 0; round < 40; round += 1) {
        jobs.push(
          ...(await Promise.all(
            apps.flatMap((app) => Array.from({ length: 10 }, () => app.jobs.enqueue(Plain))),
          )),
        );
      }
      expect(new Set(jobs.map((job) => job.id)).size).toBe(800);
      expect(await apps[0]?.sql('SELECT count(*) AS n FROM jobs')).toEqual([{ n: 800 }]);
    } finally {
      chooseFreely();
    }
  });
});

describe('sessions that the server ends', () => {
  it('are made anew: what runs goes on, what waits is taken, others are heard', async () => {
    const database = createDatabase();
    const worker = await bootJobs({ types, database });
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const held = await producer.jobs.enqueue(Held);
    const { release } = await gate.entry(held.id);
    expect(await terminate(worker)).toBeGreaterThan(3);
    const id = await until(
      () =>
        producer.jobs.enqueue(Plain).then(
          (job) => job.id,
          () => false as const,
        ),
      'an enqueue',
    );
    expect((await waitForEnd(producer.jobs, id)).status).toBe('completed');
    release('kept');
    expect(await waitForEnd(producer.jobs, held.id)).toMatchObject({
      status: 'completed',
      result: 'kept',
      lost: 0,
    });
  });
});

describe('a job that a transaction of the application has locked', () => {
  it('keeps no other from being enqueued, run and held, and ends when it is let go', async () => {
    const app = await bootJobs({
      types,
      options: { lease: { duration: '2s', sweep: '200ms' } },
    });
    const locked = await app.jobs.enqueue(Held);
    const other = await app.jobs.enqueue(Held);
    const [first, second] = [await gate.entry(locked.id), await gate.entry(other.id)];
    const runner = app.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(`SELECT 1 FROM jobs WHERE job_id = '${locked.id}' FOR UPDATE`);
    const begun = Date.now();
    expect((await within(app.run(Plain), 'another job', 3000)).status).toBe('completed');
    second.release('other');
    first.release('mine');
    expect((await waitForEnd(app.jobs, other.id)).result).toBe('other');
    await until(() => Date.now() > begun + 1200);
    await runner.rollbackTransaction();
    await runner.release();
    expect(await waitForEnd(app.jobs, locked.id)).toMatchObject({ result: 'mine', lost: 0 });
  });
});

describe('a process that is stuck in the middle of a transaction', () => {
  it('keeps its job from others no longer than the server lets it', async () => {
    const database = createDatabase();
    const proxy = await startProxy();
    const options = { lease: { duration: '1s', sweep: '200ms' } };
    const stuck = await bootJobs({ types, database, options, typeorm: proxy.options });
    const { id } = await stuck.jobs.enqueue(FailsFirst);
    // Nor does it hear that the server has ended its session.
    await proxy.hang('COMMIT', 'failed the first time');
    const other = await bootJobs({ types, database, options });
    const job = await within(waitForEnd(other.jobs, id), 'the end elsewhere', 12_000);
    expect(job).toMatchObject({ status: 'completed', result: 2, lost: 1 });
    await proxy.close();
  }, 25_000);
});

describe('an enqueue whose transaction idles, as its process is stuck, until the server ends it', () => {
  it('is done again, and nobody hears of it', async () => {
    const proxy = await startProxy();
    const app = await bootJobs({ types, options: { role: 'producer' }, typeorm: proxy.options });
    const idle = `SELECT 1 FROM pg_stat_activity WHERE ${OURS} AND state LIKE 'idle in transaction%'`;
    const ended = proxy.holdUp(
      'COMMIT',
      async () => {
        await until(async () => (await app.sql(idle)).length === 0, 'the end', 12_000);
      },
      'stuck half way',
    );
    const items = [{ type: Plain, params: { n: 'stuck half way' }, idempotencyKey: 'k' }];
    const [stored] = await app.jobs.enqueueMany(items);
    await ended;
    expect(stored?.outcome).toBe('created');
    expect(await app.sql('SELECT job_id FROM jobs')).toEqual([{ job_id: stored?.job?.id }]);
  }, 25_000);
});

describe('another process', () => {
  it('reaches a handler by cancel and suspend within a tenth of a second', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({ database });
    const took = { cancel: [] as number[], suspend: [] as number[] };
    for (let n = 0; n < 5; n += 1) {
      for (const operation of ['cancel', 'suspend'] as const) {
        const { id } = await producer.jobs.enqueue(Held, {});
        await worker.event('started', id);
        const asked = Date.now();
        await producer.jobs[operation](id);
        took[operation].push(((await worker.event('aborted', id)).at as number) - asked);
      }
    }
    // The median of each: other suites share the machine, and without notifications each would wait for a look.
    expect(median(took.cancel)).toBeLessThan(100);
    expect(median(took.suspend)).toBeLessThan(100);
  });

  it('is heard again after the server has ended the session that listens', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({ database });
    // What it was asked last: the session that listens is also the one that tells.
    const isListening = `${OURS} AND (query LIKE 'LISTEN%' OR query LIKE '%pg_notify%' OR query = 'SELECT 1')`;
    const listening = (): Promise<{ pid: number }[]> =>
      producer.sql(`SELECT pid FROM pg_stat_activity WHERE ${isListening}`);
    const before = await until(async () => {
      const rows = await listening();
      return rows.length === 2 && rows;
    }, 'both processes to listen');
    await producer.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${isListening}`,
    );
    await until(async () => {
      const rows = await listening();
      return (
        rows.length === before.length && rows.every(({ pid }) => before.every((b) => b.pid !== pid))
      );
    }, 'them to listen again');
    const took: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      const asked = Date.now();
      const { id } = await producer.jobs.enqueue(Held, { ms: 0 });
      took.push(((await worker.event('started', id)).at as number) - asked);
      await waitForEnd(producer.jobs, id);
    }
    expect(Math.min(...took)).toBeLessThan(100);
  });
});

describe('connections', () => {
  it.each([
    [undefined, 8],
    [6, 6],
    [11, 11],
  ])('with poolSize %s there are %s, beside those of the application', async (poolSize, count) => {
    const database = poolSize === undefined ? {} : { poolSize };
    const app = await bootJobs({ types, options: { database } });
    await app.run(Plain, {}, { idempotencyKey: 'k' });
    await app.run(Plain);
    const sessions = async (): Promise<number> => {
      await Promise.all(Array.from({ length: 40 }, () => app.jobs.list()));
      return (await app.sql(`SELECT 1 FROM pg_stat_activity WHERE ${OURS}`)).length;
    };
    await until(async () => (await sessions()) === count, `${count} sessions`);
    expect(await sessions()).toBe(count);
  });

  it('less than the engine needs are a boot error that says how many those are', async () => {
    const boot = bootJobs({ types, options: { database: { poolSize: 5 } } });
    const { code, message } = await refusal(boot);
    expect(code).toBe('invalid_options');
    expect(message).toMatch(/database\.poolSize is 5.* 6 connections to PostgreSQL/);
  });
});

describe('tables', () => {
  it('that a process was making when it was killed are made by the next one', async () => {
    const database = createDatabase();
    const elsewhere = createDatabase();
    const witness = await bootJobs({ types, database: elsewhere, options: { role: 'producer' } });
    const { database: name } = database.options() as { database: string };
    const waiting = (): Promise<unknown[]> =>
      witness.sql(
        `SELECT 1 FROM pg_stat_activity WHERE datname = '${name}' AND wait_event_type = 'Lock'
           AND query LIKE 'CREATE TABLE%job_types%'`,
      );
    const source = new DataSource(
      database.options() as ConstructorParameters<typeof DataSource>[0],
    );
    await source.initialize();
    const runner = source.createQueryRunner();
    await runner.startTransaction();
    // Whoever makes that table waits until this transaction ends, with those before it made.
    await runner.query('CREATE TABLE job_types (mine INTEGER)');
    const child = ChildApplication.spawn({ database });
    await until(async () => (await waiting()).length === 1, 'the child to be half way', 20_000);
    await child.kill('SIGKILL');
    await runner.rollbackTransaction();
    await runner.release();
    await source.destroy();
    const app = await bootJobs({ types, database });
    expect((await app.run(Plain)).status).toBe('completed');
    expect(await app.sql('SELECT version FROM job_migrations ORDER BY version')).toEqual([
      { version: 1 },
      { version: 2 },
    ]);
  }, 40_000);

  it('are made in the schema of the data source, with its prefix', async () => {
    const database = createDatabase();
    const first = await bootJobs({ types, database, options: { role: 'producer' } });
    await first.sql('CREATE SCHEMA "Other"');
    const app = await bootJobs({
      types,
      database,
      typeorm: { schema: 'Other', entityPrefix: 'my_' },
    });
    const { id } = await app.run(Plain);
    expect(await app.sql('SELECT job_id FROM "Other".my_jobs')).toEqual([{ job_id: id }]);
    expect(await codeOf(first.jobs.get(id))).toBe('not_found');
  });
});
