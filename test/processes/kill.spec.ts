import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isFinal, JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { chance, seedOfRun } from '../support/chance.js';
import { ChildApplication, marksOf, type Mark } from '../support/children.js';
import { createDatabase, isFile, type TestDatabase } from '../support/databases.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

@JobType({ name: 'marked' })
class Marked implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'forgets' })
class Forgets implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'blocks' })
class Blocks implements JobHandler {
  execute(): void {}
}

const types = [Marked, Held, Forgets, Blocks];
// What kills can break is the same on every database but in a file: a server's are fewer. Many kills are the faults' business.
const JOBS = isFile ? 300 : 150;
const WORKERS = 2;
const options = {
  lease: { duration: '1s', sweep: '200ms', maxLost: 1000 },
  queues: { default: 6 },
};

function marks(database: TestDatabase): Mark[] {
  const file = marksOf(database);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Mark);
}

/**
 * Looks at what the handlers did, not at what the engine believes: every job ran to its end, and no
 * two runs of a job overlapped. A run without an end mark lasted until its process died.
 */
function checkSideEffects(
  all: readonly Mark[],
  deaths: ReadonlyMap<number, number>,
  ids: readonly string[],
): void {
  for (const id of ids) {
    const own = all.filter((each) => each.job === id);
    const spans = own
      .filter((each) => each.what === 'start')
      .map((start) => {
        const end = own.find((each) => each.what === 'end' && each.attempt === start.attempt);
        const until = end?.at ?? deaths.get(start.pid);
        expect(until, `${id}: run ${start.attempt} neither ended nor died`).toBeDefined();
        return { attempt: start.attempt, from: start.at, to: until as number };
      })
      .sort((a, b) => a.from - b.from);
    expect(
      own.some((each) => each.what === 'end'),
      `${id} never ran to its end`,
    ).toBe(true);
    expect(new Set(spans.map((span) => span.attempt)).size).toBe(spans.length);
    for (let n = 1; n < spans.length; n += 1) {
      const [before, after] = [spans[n - 1], spans[n]] as [(typeof spans)[0], (typeof spans)[0]];
      expect(
        after.from,
        `${id}: runs ${before.attempt} and ${after.attempt} overlap`,
      ).toBeGreaterThanOrEqual(before.to);
    }
  }
}

/** What the engine says of the same jobs: one accepted outcome, all other runs lost. */
async function checkHistory(
  app: BootedJobs,
  all: readonly Mark[],
  ids: readonly string[],
): Promise<void> {
  for (const id of ids) {
    const job = await app.jobs.get(id);
    const runs = await app.jobs.runs(id);
    expect(job).toMatchObject({
      id,
      status: 'completed',
      retries: 0,
      lost: runs.length - 1,
      revision: runs.length,
    });
    expect(runs.map((run) => run.revision)).toEqual(runs.map((_, n) => n + 1));
    expect(runs.map((run) => run.outcome)).toEqual([
      ...runs.slice(1).map(() => 'lost'),
      'completed',
    ]);
    expect(job.result).toBe(runs.length);
    const starts = all
      .filter((each) => each.job === id && each.what === 'start')
      .map((each) => each.attempt);
    expect(starts).toContain(runs.length);
    expect(Math.max(...starts)).toBeLessThanOrEqual(runs.length);
  }
}

describe('kill -9', () => {
  it(
    `of random workers over ${JOBS} jobs loses none and runs none twice at once`,
    async () => {
      const seed = seedOfRun();
      const random = chance(seed);
      const database = createDatabase();
      const producer = await bootJobs({
        types,
        database,
        options: { role: 'producer', ...options },
      });
      const deaths = new Map<number, number>();
      let kills = 0;
      const start = (): ChildApplication => ChildApplication.spawn({ database, options });
      const workers = await Promise.all(
        Array.from({ length: WORKERS }, async () => {
          const worker = start();
          await worker.booted();
          return worker;
        }),
      );

      try {
        const outcomes = await producer.jobs.enqueueMany(
          Array.from({ length: JOBS }, () => ({
            type: Marked,
            params: { ms: 20 + Math.floor(random() * 100) },
          })),
        );
        const ids = outcomes.map((each) => each.job?.id ?? '');
        const left = async (): Promise<number> =>
          JOBS - (await producer.jobs.list({ status: 'completed', limit: 1 })).total;

        for (;;) {
          const before = await left();
          if (before === 0) {
            break;
          }
          // The next kill comes when some more are done, so that every round gets somewhere.
          const step = 10 + Math.floor(random() * 20);
          await until(
            async () => (await left()) <= Math.max(0, before - step),
            `progress (seed ${seed})`,
            20_000,
          );
          const victim = Math.floor(random() * WORKERS);
          const worker = workers[victim] as ChildApplication;
          await worker.kill('SIGKILL');
          deaths.set(worker.pid, worker.exit?.at ?? 0);
          kills += 1;
          workers[victim] = start();
        }

        expect(kills).toBeGreaterThan(JOBS / 75);
        const all = marks(database);
        checkSideEffects(all, deaths, ids);
        await checkHistory(producer, all, ids);
        expect((await producer.jobs.list({ limit: 1 })).total).toBe(JOBS);
      } catch (error) {
        throw new Error(`JOBS_TEST_SEED=${seed}, after ${kills} kills`, { cause: error });
      }
    },
    JOBS * 400,
  );

  it('of a worker leaves it in the list, where it can be seen that it is not heard', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({ database });
    const before = await until(async () => (await producer.workers.list())[0], 'the worker');
    expect(before.pid).toBe(worker.pid);
    await worker.kill('SIGKILL');
    const after = await producer.workers.get(before.id);
    expect(after).toMatchObject({ pid: worker.pid, startedAt: before.startedAt });
    await until(
      async () => (await producer.workers.list({ olderThan: 300 })).length === 1,
      'nothing to be heard of it',
    );
  });

  it('of a worker gives its job to another after one lease, from its checkpoint', async () => {
    const database = createDatabase();
    const producer = await bootJobs({
      types,
      database,
      options: { role: 'producer', ...options },
    });
    const first = await ChildApplication.start({ database, options });
    const { id } = await producer.jobs.enqueue(Held, { ms: 2 ** 30 });
    await first.event('started', id);
    await until(async () => (await producer.jobs.get(id)).state === 1, 'the checkpoint');
    const second = await ChildApplication.start({ database, options });
    await first.kill('SIGKILL');
    const died = first.exit?.at ?? 0;
    const started = await second.event('started', id);
    // One lease and one sweep, and a second for the machine.
    expect((started.at as number) - died).toBeLessThan(1000 + 200 + 1000);
    await until(async () => (await producer.jobs.get(id)).state === 2, 'the next checkpoint');
    expect(await producer.jobs.get(id)).toMatchObject({ lost: 1, retries: 0, revision: 2 });
    await producer.jobs.cancel(id);
    expect(isFinal((await waitForEnd(producer.jobs, id)).status)).toBe(true);
  });
});

describe('a handler that', () => {
  it('forgets a promise that rejects fails its own run, and the process lives on', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({ database });
    const { id } = await producer.jobs.enqueue(Forgets);
    const job = await waitForEnd(producer.jobs, id);
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(/nobody awaited this/);
    const next = await producer.jobs.enqueue(Marked, { ms: 0 });
    expect((await waitForEnd(producer.jobs, next.id)).status).toBe('completed');
    expect(worker.exit).toBeUndefined();
  });

  it('blocks its event loop for longer than its lease loses its job, and ends nothing any more', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer', ...options } });
    const start = (): Promise<ChildApplication> => ChildApplication.start({ database, options });
    const [one, other] = await Promise.all([start(), start()]);
    const { id } = await producer.jobs.enqueue(Blocks, { ms: 4000 });
    const first = await Promise.race(
      [one, other].map((app) => app.event('started', id).then(() => app)),
    );
    const second = first === one ? other : one;
    await second.event('started', id);
    expect(await waitForEnd(producer.jobs, id)).toMatchObject({
      status: 'completed',
      result: 2,
      lost: 1,
    });
    // The first comes to itself, and its late outcome is dropped.
    await until(
      () => /lost its lease|too late/.test(first.output),
      'the warning of the first',
      15_000,
    );
    expect(await producer.jobs.get(id)).toMatchObject({
      status: 'completed',
      result: 2,
      revision: 2,
    });
    expect((await producer.jobs.runs(id)).map((run) => run.outcome)).toEqual(['lost', 'completed']);
  });

  it('blocks its event loop does not let jobs begin that were claimed before and have gone to others', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer', ...options } });
    const first = await ChildApplication.start({ database, options });
    // Runs that are short: the worker claims ahead of its handlers.
    await first.call('process', 'burst', 40, { ms: 0 });
    const outcomes = await producer.jobs.enqueueMany([
      { type: Blocks, params: { ms: 5000 }, priority: 10 },
      ...Array.from({ length: 20 }, () => ({ type: Marked, params: { ms: 1 } })),
    ]);
    const [blocking = '', ...behind] = outcomes.map((each) => each.job?.id ?? '');
    await first.event('started', blocking);
    const second = await ChildApplication.start({ database, options });
    for (const id of behind) {
      expect(await waitForEnd(producer.jobs, id, 20_000)).toMatchObject({ status: 'completed' });
    }
    await until(() => /lost its lease|too late/.test(first.output), 'the first to wake', 15_000);
    // What it does next it does after all that it had in hand.
    await first.call('process', 'stall');
    expect(second.exit).toBeUndefined();
    const starts = marks(database).filter(
      ({ what, job }) => what === 'start' && behind.includes(job),
    );
    expect(starts.map(({ job }) => job).sort()).toEqual(behind.toSorted());
  });

  it('blocks its event loop does not call a handler that it was about to call, whose job has gone to others', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer', ...options } });
    const first = await ChildApplication.start({ database, options });
    await producer.queues.pause('default');
    // What something has happened to is read again before its handler is called.
    const { id } = await producer.jobs.enqueue(Marked, { ms: 1 }, { priority: 10 });
    await producer.jobs.cancel(id);
    await producer.jobs.retry(id);
    const blocking = await producer.jobs.enqueue(Blocks, { ms: 5000 });
    await producer.queues.resume('default');
    await first.event('started', blocking.id);
    const second = await ChildApplication.start({ database, options });
    expect(await waitForEnd(producer.jobs, id, 20_000)).toMatchObject({ status: 'completed' });
    await until(() => /lost its lease|too late/.test(first.output), 'the first to wake', 15_000);
    await first.call('process', 'stall');
    const starts = marks(database).filter(({ what, job }) => what === 'start' && job === id);
    expect(starts.map(({ pid }) => pid)).toEqual([second.pid]);
  });
}, 40_000);

describe('SIGTERM', () => {
  it('lets a handler end within the grace, and the process ends by itself', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({
      database,
      options: { grace: { shutdown: '10s', signal: '100ms' } },
    });
    const { id } = await producer.jobs.enqueue(Held, { ms: 400 });
    await worker.event('started', id);
    await worker.kill('SIGTERM');
    expect(worker.exit).toMatchObject({ signal: 'SIGTERM' });
    expect(await producer.jobs.get(id)).toMatchObject({
      status: 'completed',
      result: 1,
      revision: 1,
      lost: 0,
    });
  });

  it('signals what takes longer, which goes back without costing a retry', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({
      database,
      options: { grace: { shutdown: '100ms', signal: '2s' } },
    });
    const { id } = await producer.jobs.enqueue(Held, {});
    await worker.event('started', id);
    const asked = Date.now();
    await worker.kill('SIGTERM');
    expect((worker.exit?.at ?? Infinity) - asked).toBeLessThan(100 + 2000 + 2000);
    expect((await worker.event('aborted', id)).code).toBe('shutdown');
    expect(await producer.jobs.get(id)).toMatchObject({
      status: 'waiting',
      retries: 0,
      lost: 0,
      state: 1,
    });

    const next = await ChildApplication.start({ database });
    await next.event('started', id);
    expect(await waitForStatus(producer.jobs, id, 'running')).toMatchObject({
      revision: 2,
      lost: 0,
    });
    await producer.jobs.cancel(id);
    await waitForEnd(producer.jobs, id);
  });

  it('leaves no worker behind in the list, and idle ends at once', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const worker = await ChildApplication.start({ database });
    await until(async () => (await producer.workers.list()).length === 1, 'the worker');
    const asked = Date.now();
    await worker.kill('SIGTERM');
    expect((worker.exit?.at ?? Infinity) - asked).toBeLessThan(2000);
    expect(await producer.workers.list()).toEqual([]);
  });
});
