import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { VERSION } from '../../lib/version.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'obedient' })
class Obedient implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'locking' })
class Locking implements JobHandler<{ on: string }> {
  async execute(ctx: JobContext<{ on: string }>): Promise<void> {
    await ctx.lockOn(ctx.params.on);
  }
}

const types = [Held, Obedient, Locking];
const MINUTE = 60_000;

/** The one worker of an application, once it has registered. */
const only = (app: BootedJobs) =>
  until(async () => (await app.workers.list())[0], 'the worker in the list');

/** A worker that died so long ago, as it left its row. */
async function dead(app: BootedJobs, agoMs: number): Promise<string> {
  const id = newId();
  const { heartbeatAt } = await only(app);
  const heard = heartbeatAt.getTime() - agoMs;
  await app.sql(
    `INSERT INTO job_workers (worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms)
     VALUES ('${id}', 'elsewhere', 7, '0.0.1', '["default"]', ${heard - MINUTE}, ${heard})`,
  );
  return id;
}

describe('the list of workers', () => {
  it('tells where each is and what it runs', async () => {
    const app = await bootJobs({ types });
    const before = await only(app);
    expect(before).toEqual({
      id: before.id,
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      queues: ['compute', 'maintenance', 'download', 'default'],
      startedAt: expect.any(Date) as Date,
      heartbeatAt: expect.any(Date) as Date,
      running: 0,
      runs: [],
    });
    const first = await app.jobs.enqueue(Held);
    const second = await app.jobs.enqueue(Held);
    const entries = [await gate.entry(first.id), await gate.entry(second.id)];
    const worker = await app.workers.get(before.id.toUpperCase());
    const run = { workerId: before.id, revision: 1, outcome: 'running', endedAt: null };
    expect(worker).toMatchObject({
      running: 2,
      runs: [
        { ...run, jobId: first.id },
        { ...run, jobId: second.id },
      ],
    });
    expect((await app.workers.list()).map(({ runs }) => runs)).toEqual([worker.runs]);
    expect(worker.runs[0]).toEqual((await app.jobs.runs(first.id))[0]);
    entries.forEach(({ release }) => release());
    await Promise.all([first, second].map(({ id }) => waitForEnd(app.jobs, id)));
    expect(await app.workers.get(before.id)).toMatchObject({ running: 0, runs: [] });
  });

  it('names a hundred runs of a worker and counts the rest', async () => {
    const app = await bootJobs({ types, options: { queues: { default: 120 } } });
    const { id } = await only(app);
    const jobs = await app.jobs.enqueueMany(
      Array.from({ length: 120 }, () => ({ type: Held, params: {} })),
    );
    await until(() => gate.entries.length === 120, 'all to run');
    const { running, runs } = await app.workers.get(id);
    expect(running).toBe(120);
    expect(runs.map(({ jobId }) => jobId)).toEqual(jobs.slice(0, 100).map(({ job }) => job?.id));
  });

  it('keeps who died for an hour, and can show these alone', async () => {
    const app = await bootJobs({ types });
    const { id: alive } = await only(app);
    const lately = await dead(app, 10 * MINUTE);
    const earlier = await dead(app, 50 * MINUTE);
    const forgotten = await dead(app, 61 * MINUTE);
    const ids = async (olderThan: number | string): Promise<string[]> =>
      (await app.workers.list({ olderThan })).map(({ id }) => id);
    expect(await ids(0)).toEqual([alive, lately, earlier]);
    expect(await ids('5m')).toEqual([lately, earlier]);
    expect(await ids(30 * MINUTE)).toEqual([earlier]);
    expect(await app.workers.get(lately)).toMatchObject({ host: 'elsewhere', pid: 7, running: 0 });
    expect(await codeOf(app.workers.get(forgotten))).toBe('not_found');
    expect((await app.stats.stats()).workers).toBe(1);

    // Whoever says that it lives sweeps out who does not.
    await bootJobs({ types, database: app.database });
    const rows = (): Promise<{ worker_id: string }[]> =>
      app.sql('SELECT worker_id FROM job_workers');
    await until(async () => (await ids(0)).length === 4, 'the other worker');
    expect((await rows()).map((row) => row.worker_id)).not.toContain(forgotten);
  });

  it('can be read for some alone, as a page of them is', async () => {
    const app = await bootJobs({ types });
    const { id: alive } = await only(app);
    const lately = await dead(app, 10 * MINUTE);
    expect(await app.workers.ids()).toEqual([alive, lately]);
    expect(await app.workers.ids({ olderThan: '5m' })).toEqual([lately]);
    const some = await app.workers.list({ ids: [lately.toUpperCase(), newId()] });
    expect(some.map(({ id }) => id)).toEqual([lately]);
    expect(await codeOf(app.workers.list({ ids: 'all' as never }))).toBe('invalid_request');
  });

  it('refuses what it does not know', async () => {
    const app = await bootJobs({ types });
    const asked = { olderThen: 5 } as object;
    expect(await codeOf(app.workers.list(asked))).toBe('invalid_request');
    expect(await codeOf(app.workers.list({ olderThan: 'long' }))).toBe('invalid_request');
    expect(await codeOf(app.workers.get(newId()))).toBe('not_found');
    expect(await codeOf(app.workers.get(7 as never))).toBe('invalid_request');
  });
});

describe('a job that is canceled', () => {
  /** Of a job's row and its worker, as another process sees them. */
  async function left(app: BootedJobs, id: string): Promise<object> {
    const [row] = await app.sql<{ lease_until_ms: number | null }>(
      `SELECT lease_until_ms FROM jobs WHERE job_id = '${id}'`,
    );
    const { runs } = await app.workers.runs();
    const workers = await app.workers.list();
    return {
      lease: row?.lease_until_ms,
      runs: runs.length + workers.flatMap((each) => each.runs).length,
      interrupted: await app.workers.interruptRuns({ olderThan: 0 }),
    };
  }

  it.each([
    ['stops when it is told to', Obedient],
    ['takes no notice, and is ended by force', Held],
  ])('and %s holds no lease, and its worker has no run and can go', async (_, type) => {
    const app = await bootJobs({ types });
    const other = await bootJobs({ types, database: app.database, options: { autoStart: false } });
    const worker = await only(app);
    const { id } = await app.jobs.enqueue(type);
    await gate.entry(id);
    expect(await other.workers.get(worker.id)).toMatchObject({ running: 1 });
    await other.jobs.cancel(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'canceled' });
    expect(await left(other, id)).toEqual({ lease: null, runs: 0, interrupted: [] });
    expect((await app.jobs.runs(id)).map(({ outcome }) => outcome)).toEqual(['canceled']);
    await app.close();
    expect((await other.workers.list()).map((each) => each.id)).not.toContain(worker.id);
    expect(await other.jobs.get(id)).toMatchObject({ status: 'canceled', lost: 0 });
  });

  it('while it is locked on another one, or not begun, holds none either', async () => {
    const app = await bootJobs({ types });
    const { id: on } = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const locked = await app.jobs.enqueue(Locking, { on });
    await waitForStatus(app.jobs, locked.id, 'locked');
    for (const id of [locked.id, on]) {
      await app.jobs.cancel(id);
      expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'canceled' });
      expect(await left(app, id)).toEqual({ lease: null, runs: 0, interrupted: [] });
    }
  });
});
