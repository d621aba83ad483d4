import { expect, it, onTestFinished, vi } from 'vitest';
import {
  getQueueWorkerToken,
  JobType,
  type JobContext,
  type JobHandler,
  type QueueWorker,
} from '../../lib/index.js';
import { ReadyFront } from '../../lib/store/dialects/postgres/ready-front.js';
import { bootJobs, QUICK, type BootedJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { until, waitForEnd } from '../support/waiting.js';

const started: string[] = [];

@JobType({ name: 'plain', maxRetries: 1, retryDelay: '1ms' })
class Plain implements JobHandler<{ n: string }> {
  execute(ctx: JobContext<{ n: string }>): void {
    const { n } = ctx.params;
    started.push(n);
    if (n === 'fails once' && ctx.attempt === 1) {
      throw new Error('again');
    }
  }
}

/** So many entries of the ready index that passing them is slow on any machine. */
const DEAD = 60_000;

/** A worker in whose database a session keeps a snapshot and much was ready since. */
async function pinned(): Promise<BootedJobs> {
  const ranges = vi.spyOn(ReadyFront.prototype, 'rangesOf');
  onTestFinished(() => ranges.mockRestore());
  const app = await bootJobs({
    types: [Plain],
    options: { ...QUICK, queues: { default: 1 } },
  });
  const { id } = await app.run(Plain, { n: 'seed' });
  const session = app.dataSource.createQueryRunner();
  await session.startTransaction('REPEATABLE READ');
  await session.query('SELECT 1 FROM jobs');
  closeLater(async () => {
    await session.rollbackTransaction();
    await session.release();
  }, 'test');
  // Nobody else sees them: only their entries stay.
  await app.dataSource.transaction(async (manager) => {
    await manager.query(
      `INSERT INTO jobs ${await copies(app, id, {
        seq: 'seed.seq - 100000000 - i',
        job_id: "'dead ' || i",
        run_at_ms: 'seed.run_at_ms - i',
      })}`,
    );
    await manager.query(`DELETE FROM jobs WHERE job_id LIKE 'dead %'`);
  });
  // The claims after the first look that was slow.
  await until(async () => {
    await app.run(Plain, { n: 'passes' });
    return ranges.mock.results.at(-1)?.value !== undefined;
  }, 'a claim that begins where the last one ended');
  started.length = 0;
  return app;
}

/** Columns and rows for INSERT: ready jobs like a stored one. */
async function copies(
  app: BootedJobs,
  id: string,
  changed: Readonly<Record<string, string>>,
  count = DEAD,
): Promise<string> {
  const rows = await app.sql<{ name: string }>(
    `SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'jobs'`,
  );
  const columns = rows.map(({ name }) => name);
  const all: Readonly<Record<string, string>> = {
    ready: '1',
    status: `'waiting'`,
    sequence: '1',
    revision: '0',
    run_id: 'NULL',
    worker_id: 'NULL',
    finished_at_ms: 'NULL',
    ...changed,
  };
  const values = columns.map((name) => all[name] ?? `seed.${name}`);
  return `(${columns.join(', ')}) SELECT ${values.join(', ')}
    FROM generate_series(1, ${count}) AS i, jobs AS seed WHERE seed.job_id = '${id}'`;
}

it('jobs start in the order of priority, run_at and age', async () => {
  const app = await pinned();
  const worker = app.get<QueueWorker>(getQueueWorkerToken('default'));
  worker.pause();
  const last = await app.jobs.enqueue(Plain, { n: 'lowest' }, { priority: -1 });
  for (const n of ['first', 'second', 'third']) {
    await app.jobs.enqueue(Plain, { n });
  }
  await app.jobs.enqueueMany([
    { type: Plain, params: { n: 'oldest' }, runAt: new Date(Date.now() - 60_000) },
    { type: Plain, params: { n: 'higher' }, priority: 1 },
    { type: Plain, params: { n: 'highest' }, priority: 2_000 },
  ]);
  worker.resume();
  await waitForEnd(app.jobs, last.id);
  expect(started).toEqual(['highest', 'higher', 'oldest', 'first', 'second', 'third', 'lowest']);
});

it('a job that somebody puts ahead of all, and tells nobody, starts with the next look', async () => {
  const app = await pinned();
  const { id } = await app.jobs.enqueue(Plain, { n: 'hidden' }, { delay: '1h' });
  await app.sql(
    `UPDATE jobs SET ready = 1, priority = 77, run_at_ms = run_at_ms - 86400000 WHERE job_id = '${id}'`,
  );
  await app.run(Plain, { n: 'any' });
  expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
});

it('a job that fails, one that a transaction enqueues and one for later all end', async () => {
  const app = await pinned();
  const joined = await app.dataSource.transaction((manager) =>
    app.jobs.enqueue(Plain, { n: 'joined' }, { manager, priority: 5 }),
  );
  const later = await app.jobs.enqueue(Plain, { n: 'later' }, { delay: 50, priority: 6 });
  expect(await app.run(Plain, { n: 'fails once' })).toMatchObject({
    status: 'completed',
    retries: 1,
  });
  expect((await waitForEnd(app.jobs, joined.id)).status).toBe('completed');
  expect((await waitForEnd(app.jobs, later.id)).status).toBe('completed');
});
