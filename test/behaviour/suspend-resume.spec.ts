import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler, type JsonValue } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate<{ pages: number }>();

/** Works page by page, saving the page, each one let through by the test. */
@JobType({ group: 'compute', name: 'pages', suspendable: true, maxRetries: 3, retryDelay: 0 })
class Pages implements JobHandler<{ pages: number }> {
  async execute(ctx: JobContext<{ pages: number }>): Promise<unknown> {
    const start = typeof ctx.state === 'number' ? ctx.state : 0;
    for (let page = start; page < ctx.params.pages; page += 1) {
      await gate.obey(ctx);
      await ctx.checkpoint(page + 1);
      ctx.progress((page + 1) / ctx.params.pages, `page ${page + 1}`);
    }
    return { start, attempt: ctx.attempt };
  }
}

@JobType({ group: 'compute', name: 'deaf', suspendable: true })
class Deaf implements JobHandler<{ pages: number }> {
  async execute(ctx: JobContext<{ pages: number }>): Promise<unknown> {
    if (ctx.attempt === 1) {
      await ctx.checkpoint({ saved: 'before' });
      ctx.progress(0.3);
      return gate.hold(ctx);
    }
    return { state: ctx.state, progress: ctx.job.progress };
  }
}

@JobType({ group: 'compute', name: 'states' })
class States implements JobHandler {
  async execute(ctx: JobContext<{ values: JsonValue[] }>): Promise<unknown> {
    const seen: JsonValue[] = [ctx.state];
    for (const value of ctx.params.values) {
      await ctx.checkpoint(value);
      seen.push(ctx.state);
    }
    return seen;
  }
}

@JobType({ group: 'compute', name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

@JobType({ group: 'compute', name: 'stoppable', suspendable: true })
class Stoppable extends Quick {}

const types = [Pages, Deaf, States, Quick, Stoppable];

describe('suspend and resume', () => {
  it('go on from the checkpoint, at the stored progress', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Pages, { pages: 4 });
    (await gate.entry(id, 1)).release();
    (await gate.entry(id, 2)).release();
    await gate.entry(id, 3);
    await until(async () => (await app.jobs.get(id)).progress === 0.5, 'two pages');
    await app.jobs.suspend(id);
    const suspended = await waitForStatus(app.jobs, id, 'suspended');
    expect(suspended).toMatchObject({
      state: 2,
      progress: 0.5,
      progressDetails: 'page 2',
      revision: 1,
      retries: 0,
    });

    const resumed = await app.jobs.resume(id);
    expect(resumed).toMatchObject({ status: 'waiting', state: 2, progress: 0.5 });
    const entry = await gate.entry(id, 4);
    expect(entry.ctx.state).toBe(2);
    expect(await app.jobs.get(id)).toMatchObject({ status: 'running', progress: 0.5, revision: 2 });
    entry.release();
    (await gate.entry(id, 5)).release();
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({
      status: 'completed',
      result: { start: 2, attempt: 2 },
      progress: 1,
      retries: 0,
    });
    expect((await app.jobs.runs(id)).map((run) => run.outcome)).toEqual(['suspended', 'completed']);
  });

  it('free the slot, and wait in line for it', async () => {
    const app = await bootJobs({ types, options: { queues: { compute: 1 } } });
    const { id } = await app.jobs.enqueue(Pages, { pages: 1 });
    await gate.entry(id);
    const next = await app.jobs.enqueue(Quick);
    await app.jobs.suspend(id);
    expect((await waitForEnd(app.jobs, next.id)).result).toBe('quick');

    const blocker = await app.jobs.enqueue(Deaf);
    await gate.entry(blocker.id);
    expect((await app.jobs.resume(id)).status).toBe('waiting');
    // Jobs have been short here, so it may be claimed ahead; its handler waits for the slot.
    expect((await app.jobs.get(id)).status).toMatch(/waiting|running/);
    (await gate.entry(blocker.id)).release();
    (await gate.entry(id, 2)).release();
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('of a job that has not started keep it from starting', async () => {
    const app = await bootJobs({ types });
    await app.queues.pause('compute');
    const { id } = await app.jobs.enqueue(Pages, { pages: 0 });
    expect((await app.jobs.suspend(id)).status).toBe('suspended');
    await app.queues.resume('compute');
    expect((await app.run(Quick)).status).toBe('completed');
    expect(await app.jobs.get(id)).toMatchObject({ status: 'suspended', revision: 0 });
    await app.jobs.resume(id);
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('survive a restart: what is suspended stays so', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Pages, { pages: 2 });
    (await gate.entry(id, 1)).release();
    await gate.entry(id, 2);
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.close();

    const again = await bootJobs({ types, database: app.database });
    expect((await again.run(Quick)).status).toBe('completed');
    expect(await again.jobs.get(id)).toMatchObject({ status: 'suspended', state: 1 });
    await again.jobs.resume(id);
    (await gate.entry(id, 3)).release();
    expect((await waitForEnd(again.jobs, id)).result).toEqual({ start: 1, attempt: 2 });
  });

  it('by force after the grace keep the last checkpoint', async () => {
    const app = await bootJobs({ types, options: { grace: { signal: '100ms' } } });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await until(async () => (await app.jobs.get(id)).progress === 0.3, 'the progress');
    await app.jobs.suspend(id);
    const job = await waitForStatus(app.jobs, id, 'suspended');
    expect(job).toMatchObject({ state: { saved: 'before' }, progress: 0.3 });
    release('too late');
    await app.jobs.resume(id);
    expect((await waitForEnd(app.jobs, id)).result).toEqual({
      state: { saved: 'before' },
      progress: 0.3,
    });
  });

  it('of a job that is not due yet leave its time alone', async () => {
    const app = await bootJobs({ types });
    const { id, runAt } = await app.jobs.enqueue(Stoppable, undefined, { delay: '1h' });
    await app.jobs.suspend(id);
    expect(await app.jobs.resume(id)).toMatchObject({
      status: 'waiting',
      waitingFor: 'time',
      runAt,
    });
    expect((await app.run(Quick)).status).toBe('completed');
    expect(await app.jobs.get(id)).toMatchObject({ status: 'waiting', runAt });
  });

  it('can be repeated, and followed by a cancel', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Pages, { pages: 9 });
    for (let round = 1; round <= 3; round += 1) {
      (await gate.entry(id, 2 * round - 1)).release();
      await gate.entry(id, 2 * round);
      await app.jobs.suspend(id);
      expect((await waitForStatus(app.jobs, id, 'suspended')).state).toBe(round);
      if (round < 3) {
        await app.jobs.resume(id);
      }
    }
    expect((await app.jobs.cancel(id, { reason: 'enough' })).status).toBe('canceled');
    expect(await app.jobs.get(id)).toMatchObject({ state: 3, details: 'enough', revision: 3 });
  });
});

describe('a checkpoint', () => {
  it('survives a retry', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Pages, { pages: 2 });
    (await gate.entry(id, 1)).release();
    (await gate.entry(id, 2)).fail(new Error('page 2 broke'));
    const entry = await gate.entry(id, 3);
    expect(entry.ctx.state).toBe(1);
    expect(entry.ctx.job.progress).toBe(0);
    entry.release();
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: { start: 1, attempt: 2 },
    });
  });

  it('is any JSON, the last one wins, and progress alone leaves it', async () => {
    const app = await bootJobs({ types });
    const values = [{ a: [1] }, 'text', 0, false, '', [], {}];
    const job = await app.run(States, { values });
    expect(job.result).toEqual([null, ...values]);
    expect(job.state).toEqual({});
  });

  it('may be given at enqueue', async () => {
    const app = await bootJobs({ types });
    expect((await app.run(States, { values: [] }, { state: { from: 'outside' } })).result).toEqual([
      { from: 'outside' },
    ]);
  });
});
