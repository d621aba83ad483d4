import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();
const MINUTE = 60_000;

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'counting', maxRetries: 1, retryDelay: 1 })
class Counting implements JobHandler {
  execute(ctx: JobContext): string {
    ctx.progress({ completed: ctx.attempt, total: 2, message: 'half' });
    if (ctx.attempt === 1) {
      throw new Error('once more');
    }
    return 'done';
  }
}

/** Fails once; its second run is skipped, or waits for the test. */
@JobType({ name: 'ending', maxRetries: 1, retryDelay: 1 })
class Ending implements JobHandler {
  execute(ctx: JobContext<{ skips?: boolean }>): unknown {
    if (ctx.attempt === 1) {
      throw new Error('once more');
    }
    return ctx.params.skips === true ? ctx.skip('not needed') : gate.obey(ctx as JobContext);
  }
}

const types = [Held, Counting, Ending];

const only = (app: BootedJobs) => until(async () => (await app.workers.list())[0], 'the worker');

/** From now on the worker was last heard so long ago. */
async function silence(app: BootedJobs, workerId: string, agoMs: number): Promise<void> {
  await app.sql(
    `UPDATE job_workers SET heartbeat_at_ms = heartbeat_at_ms - ${agoMs} WHERE worker_id = '${workerId}'`,
  );
}

describe('interruptRuns', () => {
  it('takes a run from its worker: the job goes on in a run of its own, and the old one writes nothing', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Held);
    const first = await gate.entry(id);
    const { signal } = first.ctx;
    const [run] = await app.workers.interruptRuns({ olderThan: 0 });
    expect(run).toMatchObject({
      jobId: id,
      revision: 1,
      outcome: 'interrupted',
      error: 'interrupted',
      endedAt: expect.any(Date) as Date,
    });
    expect(signal.reason).toMatchObject({ code: 'lease_lost' });
    expect(await codeOf(first.ctx.checkpoint('late'))).toBe('lease_lost');
    const second = await gate.entry(id, 2);
    first.release('from the first');
    second.release('from the second');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'from the second',
      lost: 1,
      retries: 0,
      revision: 2,
      state: null,
    });
    const runs = await app.jobs.runs(id);
    expect(runs.map(({ outcome }) => outcome)).toEqual(['interrupted', 'completed']);
    expect(runs[0]).toEqual(run);
    expect(await app.workers.interruptRuns({ olderThan: 0 })).toEqual([]);
  });

  it('takes those of one worker alone, or of workers that were not heard for so long', async () => {
    const app = await bootJobs({ types });
    const { id: workerId } = await only(app);
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    const interrupt = async (options: { olderThan: number; workerId?: string }) =>
      (await app.workers.interruptRuns(options)).map(({ jobId }) => jobId);
    expect(await interrupt({ olderThan: MINUTE })).toEqual([]);
    expect(await interrupt({ olderThan: 0, workerId: newId() })).toEqual([]);
    await silence(app, workerId, 2 * MINUTE);
    expect(await interrupt({ olderThan: 10 * MINUTE, workerId })).toEqual([]);
    expect(await interrupt({ olderThan: MINUTE, workerId: workerId.toUpperCase() })).toEqual([id]);
    gate.open();
    await waitForEnd(app.jobs, id);
  });

  it('fails a job that was lost too often, and ends one that was to be canceled', async () => {
    const app = await bootJobs({
      types,
      options: { lease: { maxLost: 0 }, grace: { signal: '1h' } },
    });
    const failing = await app.jobs.enqueue(Held);
    const canceling = await app.jobs.enqueue(Held);
    await Promise.all([failing, canceling].map(({ id }) => gate.entry(id)));
    await app.jobs.cancel(canceling.id);
    const runs = await app.workers.interruptRuns({ olderThan: 0 });
    expect(runs.map(({ jobId, outcome }) => [jobId, outcome])).toEqual([
      [failing.id, 'interrupted'],
      [canceling.id, 'canceled'],
    ]);
    expect(await app.jobs.get(failing.id)).toMatchObject({ status: 'failed', lost: 1 });
    expect(await app.jobs.get(canceling.id)).toMatchObject({ status: 'canceled' });
  });

  it('tells a process elsewhere, whose handler hears that it lost its lease', async () => {
    const app = await bootJobs({ types, options: { lease: { duration: '1s', sweep: '200ms' } } });
    const other = await bootJobs({
      types,
      database: app.database,
      options: { role: 'producer' },
    });
    const { id } = await app.jobs.enqueue(Held);
    const { ctx } = await gate.entry(id);
    const { signal } = ctx;
    expect(await other.workers.interruptRuns({ olderThan: 0 })).toHaveLength(1);
    await until(() => signal.aborted, 'the signal');
    expect(signal.reason).toMatchObject({ code: 'lease_lost' });
    gate.open();
    await waitForEnd(app.jobs, id);
  });

  it('refuses what it does not know', async () => {
    const app = await bootJobs({ types });
    for (const options of [{}, undefined, { olderThan: 'x' }, { olderThan: 0, worker: 'x' }]) {
      expect(await codeOf(app.workers.interruptRuns(options as never))).toBe('invalid_request');
    }
    expect(await codeOf(app.workers.interruptRuns({ olderThan: 0, workerId: 7 as never }))).toBe(
      'invalid_request',
    );
  });
});

describe('the runs under way', () => {
  it('are listed page by page, also of one worker or tenant', async () => {
    const app = await bootJobs({ types });
    const { id: workerId } = await only(app);
    const ids: string[] = [];
    for (const tenantId of ['ann', 'bob', 'ann']) {
      ids.push((await app.jobs.enqueue(Held, {}, { tenantId })).id);
    }
    await Promise.all(ids.map((id) => gate.entry(id)));
    const listed = async (options: object) =>
      (await app.workers.runs(options)).runs.map(({ jobId }) => jobId);
    const all = await app.workers.runs();
    expect(all).toMatchObject({ page: 1, limit: 50, total: 3, nextCursor: null });
    expect(all.runs.map(({ jobId }) => jobId)).toEqual(ids);
    expect(all.runs[0]).toEqual((await app.jobs.runs(ids[0] ?? ''))[0]);
    expect(await listed({ tenantId: 'ann' })).toEqual([ids[0], ids[2]]);
    expect(await listed({ workerId })).toEqual(ids);
    expect(await listed({ workerId: newId() })).toEqual([]);
    expect(await listed({ olderThan: '1m' })).toEqual([]);
    const first = await app.workers.runs({ limit: 2 });
    expect(first).toMatchObject({ total: 3, limit: 2 });
    const rest = await app.workers.runs({ limit: 2, cursor: first.nextCursor ?? '' });
    expect(rest).toMatchObject({ total: 3, nextCursor: null });
    expect([...first.runs, ...rest.runs].map(({ jobId }) => jobId)).toEqual(ids);
    expect(await listed({ limit: 2, page: 2 })).toEqual(ids.slice(2));
    await silence(app, workerId, 2 * MINUTE);
    expect(await listed({ olderThan: '1m' })).toEqual(ids);
    for (const options of [
      { limit: 0 },
      { page: 1, cursor: 'MQ' },
      { cursor: '!' },
      { page: 1001, limit: 1000 },
      { older: 1 },
    ]) {
      expect(await codeOf(app.workers.runs(options))).toBe('invalid_request');
    }
    gate.open();
    await Promise.all(ids.map((id) => waitForEnd(app.jobs, id)));
    expect(await listed({})).toEqual([]);
  });
});

describe('the history of runs', () => {
  it('keeps the counts of every run, and does not change once a run has ended', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Counting);
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'completed', completed: 2, total: 2, progress: 1 });
    const runs = await app.jobs.runs(id);
    expect(runs).toMatchObject([
      { revision: 1, outcome: 'failed', completed: 1, total: 2 },
      { revision: 2, outcome: 'completed', completed: 2, total: 2, error: null },
    ]);
    expect(runs[0]?.error).toMatch(/once more/);
    expect(await codeOf(app.jobs.update(id, { priority: 3 }))).toBe('already_ended');
    expect(await app.jobs.runs(id)).toEqual(runs);
  });

  it('holds an ended run as it was, whatever its worker writes afterwards', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    ctx.progress({ completed: 1, total: 4 });
    await until(async () => (await app.jobs.get(id)).completed === 1, 'the counts');
    await app.workers.interruptRuns({ olderThan: 0 });
    const before = (await app.jobs.runs(id))[0];
    expect(before).toMatchObject({ outcome: 'interrupted', completed: 1, total: 4 });
    ctx.progress({ completed: 3, total: 4 });
    release('late');
    const second = await gate.entry(id, 2);
    second.release();
    await waitForEnd(app.jobs, id);
    await app.jobs.runs(id);
    expect((await app.jobs.runs(id))[0]).toEqual(before);
  });
});

describe('a suspended job', () => {
  it('ends its run when that is interrupted, and stays suspended', async () => {
    const app = await bootJobs({ types, options: { grace: { signal: '1h' } } });
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    await app.jobs.suspend(id);
    expect(await app.workers.interruptRuns({ olderThan: 0 })).toMatchObject([
      { jobId: id, outcome: 'suspended', error: 'interrupted' },
    ]);
    expect((await waitForStatus(app.jobs, id, 'suspended')).lost).toBe(0);
  });
});

describe('a run that has ended', () => {
  it('otherwise than by failing has no error, whatever happened to the one before it', async () => {
    const app = await bootJobs({ types });
    const canceled = await app.jobs.enqueue(Ending, {});
    await gate.entry(canceled.id);
    await app.jobs.cancel(canceled.id);
    await waitForEnd(app.jobs, canceled.id);
    const skipped = await app.run(Ending, { skips: true });
    const ended = async (id: string) =>
      (await app.jobs.runs(id)).map(({ outcome, error }) => [
        outcome,
        error?.split('\n', 1)[0] ?? null,
      ]);
    const failed = ['failed', 'Error: once more'];
    expect(await ended(canceled.id)).toEqual([failed, ['canceled', null]]);
    expect(await ended(skipped.id)).toEqual([failed, ['skipped', null]]);
    await app.jobs.retry(canceled.id);
    gate.open();
    await waitForEnd(app.jobs, canceled.id);
    expect(await ended(canceled.id)).toEqual([failed, ['canceled', null], ['completed', null]]);
  });

  it('is shown after an operator’s retry as it was before', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Held);
    (await gate.entry(id)).fail(new Error('broken'));
    await waitForEnd(app.jobs, id);
    const [before] = await app.jobs.runs(id);
    expect(before).toMatchObject({ outcome: 'failed' });
    await until(() => Date.now() > Number(before?.updatedAt) + 5, 'a later time');
    await app.jobs.retry(id);
    expect((await app.jobs.runs(id))[0]).toEqual(before);
    gate.open();
    await waitForEnd(app.jobs, id);
    expect((await app.jobs.runs(id))[0]).toEqual(before);
  });
});
