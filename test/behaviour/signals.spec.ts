import { describe, expect, it } from 'vitest';
import { JobAbortError, JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'obedient', suspendable: true, maxRetries: 2, retryDelay: 0 })
class Obedient implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'deaf', suspendable: true, maxRetries: 2, retryDelay: 0 })
class Deaf implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'checks', suspendable: true })
class Checks implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    await gate.hold(ctx);
    ctx.signal.throwIfAborted();
  }
}

const types = [Obedient, Deaf, Checks];

describe('cancel', () => {
  it('reaches the signal of a running handler at once, with the code canceled', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient);
    const { ctx } = await gate.entry(id);
    const fired = new Promise((resolve) =>
      ctx.signal.addEventListener('abort', resolve, { once: true }),
    );
    const answer = await app.jobs.cancel(id, { reason: 'no longer needed', actor: 'ada' });
    expect(ctx.signal.aborted).toBe(true);
    expect(answer.status).toBe('canceling');
    expect(answer.cancelRequestedAt).toBeInstanceOf(Date);
    await fired;
    expect(ctx.signal.reason).toBeInstanceOf(JobAbortError);
    expect(ctx.signal.reason).toMatchObject({ name: 'AbortError', code: 'canceled' });
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({
      status: 'canceled',
      details: 'no longer needed',
      retries: 0,
      error: null,
    });
    expect(await app.jobs.runs(id)).toMatchObject([{ outcome: 'canceled' }]);
  });

  it('wins over what the handler returns, and keeps its result', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await app.jobs.cancel(id);
    release({ done: true });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'canceled',
      result: { done: true },
    });
  });

  it('wins over what the handler throws: no retry', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf);
    const { fail } = await gate.entry(id);
    await app.jobs.cancel(id);
    fail(new Error('broke while stopping'));
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'canceled',
      retries: 0,
      revision: 1,
    });
  });

  it('is settled by force after the grace, and what the handler does then counts no more', async () => {
    const app = await bootJobs({ types, options: { grace: { signal: '100ms' } } });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await app.jobs.cancel(id);
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'canceled', result: null });
    release('far too late');
    await until(() => new Promise((resolve) => setImmediate(() => resolve(true))));
    expect(await app.jobs.get(id)).toEqual(job);
  });

  it('is settled by force after a grace of seconds as well, however often the cancel is seen', async () => {
    // Longer than two looks at what is wanted, each of which sees the cancel again.
    const app = await bootJobs({ types, options: { grace: { signal: '1300ms' } } });
    const { id } = await app.jobs.enqueue(Deaf);
    await gate.entry(id);
    await app.jobs.cancel(id);
    expect((await waitForEnd(app.jobs, id, 4000)).status).toBe('canceled');
  });

  it('of a job that waits for its retry ends it', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf, undefined, { retryDelay: '1h' });
    const { fail } = await gate.entry(id);
    fail(new Error('first'));
    await until(async () => (await app.jobs.get(id)).retries === 1);
    expect((await app.jobs.cancel(id)).status).toBe('canceled');
    expect((await app.jobs.get(id)).error).toMatch(/first/);
  });

  it('of a waiting job keeps its handler from ever being called', async () => {
    const app = await bootJobs({ types });
    await app.queues.pause('default');
    const { id } = await app.jobs.enqueue(Obedient);
    const job = await app.jobs.cancel(id, { reason: 'early' });
    expect(job).toMatchObject({
      status: 'canceled',
      details: 'early',
      startedAt: null,
      revision: 0,
    });
    await app.queues.resume('default');
    const other = await app.jobs.enqueue(Obedient);
    await gate.entry(other.id);
    expect(gate.entries.map((entry) => entry.ctx.job.id)).toEqual([other.id]);
    expect(await app.jobs.runs(id)).toEqual([]);
  });
});

describe('suspend', () => {
  it('fires the signal with the code suspended; rejecting with the reason means stopped', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient);
    const { ctx } = await gate.entry(id);
    expect((await app.jobs.suspend(id, { reason: 'later' })).status).toBe('suspending');
    expect(ctx.signal.aborted).toBe(true);
    const job = await waitForStatus(app.jobs, id, 'suspended');
    expect(ctx.signal.reason).toMatchObject({ code: 'suspended' });
    expect(job).toMatchObject({ finishedAt: null, retries: 0, error: null });
    expect(await app.jobs.runs(id)).toMatchObject([{ outcome: 'suspended' }]);
  });

  it('is answered by returning: that means done', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await app.jobs.suspend(id);
    release('finished instead');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'finished instead',
    });
  });

  it.each([
    ['an AbortError of somebody else', new DOMException('stopped', 'AbortError')],
    ['any other error', new Error('broke while stopping')],
  ])('is answered by %s: the job becomes suspended', async (_, thrown) => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf);
    const { fail } = await gate.entry(id);
    await app.jobs.suspend(id);
    fail(thrown);
    await waitForStatus(app.jobs, id, 'suspended');
  });

  it('is answered by throwIfAborted', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Checks);
    const { release } = await gate.entry(id);
    await app.jobs.suspend(id);
    release();
    await waitForStatus(app.jobs, id, 'suspended');
  });

  it('gives way to a cancel', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await app.jobs.suspend(id);
    expect((await app.jobs.cancel(id)).status).toBe('canceling');
    release('x');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'canceled', result: 'x' });
  });
});

describe('an AbortError out of the blue', () => {
  it('is a failure like any other', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Deaf, undefined, { maxRetries: 0 });
    const { fail } = await gate.entry(id);
    fail(new DOMException('aborted for no reason', 'AbortError'));
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'failed' });
  });
});

describe('shutdown', () => {
  it('signals after its grace, and what stops goes back without costing a retry', async () => {
    const app = await bootJobs({ types, options: { grace: { shutdown: '100ms', signal: '2s' } } });
    const { id } = await app.jobs.enqueue(Obedient);
    const { ctx } = await gate.entry(id);
    await app.close();
    expect(ctx.signal.reason).toMatchObject({ code: 'shutdown' });

    const after = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    const job = await after.jobs.get(id);
    expect(job).toMatchObject({ status: 'waiting', retries: 0, lost: 0, error: null });
    expect(await after.jobs.runs(id)).toMatchObject([{ revision: 1, outcome: 'released' }]);
  });

  it('waits for what ends within its grace, which completes', async () => {
    const app = await bootJobs({ types, options: { grace: { shutdown: '8s', signal: '100ms' } } });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release, ctx } = await gate.entry(id);
    const closed = app.close();
    release('in time');
    await closed;
    expect(ctx.signal.aborted).toBe(false);
    const after = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    expect(await after.jobs.get(id)).toMatchObject({ status: 'completed', result: 'in time' });
  });

  it('gives back by force what does not stop, and lets it write no more', async () => {
    const app = await bootJobs({
      types,
      options: { grace: { shutdown: '50ms', signal: '100ms' } },
    });
    const { id } = await app.jobs.enqueue(Deaf);
    const { release } = await gate.entry(id);
    await app.close();
    release('far too late');
    const after = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    expect(await after.jobs.get(id)).toMatchObject({
      status: 'waiting',
      retries: 0,
      lost: 0,
      result: null,
    });
  });

  it('during the grace after a timeout leaves the timeout what it is', async () => {
    const app = await bootJobs({
      types,
      options: { grace: { shutdown: '50ms', signal: '600ms' } },
    });
    const { id } = await app.jobs.enqueue(Deaf, undefined, { timeout: '50ms' });
    const { ctx } = await gate.entry(id);
    await until(() => ctx.signal.aborted, 'the timeout');
    await app.close();
    const after = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    expect(await after.jobs.get(id)).toMatchObject({ status: 'timeout', revision: 1 });
  });

  it('finishes what is canceling, and suspends what is suspending', async () => {
    const app = await bootJobs({
      types,
      options: { grace: { shutdown: '50ms', signal: '100ms' } },
    });
    const canceled = await app.jobs.enqueue(Deaf);
    const suspended = await app.jobs.enqueue(Deaf);
    await gate.entry(canceled.id);
    await gate.entry(suspended.id);
    await app.jobs.cancel(canceled.id);
    await app.jobs.suspend(suspended.id);
    await app.close();
    const after = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    expect((await after.jobs.get(canceled.id)).status).toBe('canceled');
    expect((await after.jobs.get(suspended.id)).status).toBe('suspended');
  });

  it('by drain() does the same and leaves the application usable', async () => {
    const app = await bootJobs({ types, options: { grace: { shutdown: '50ms', signal: '1s' } } });
    const { id } = await app.jobs.enqueue(Obedient);
    await gate.entry(id);
    await app.jobs.drain();
    expect(await app.jobs.get(id)).toMatchObject({ status: 'waiting', retries: 0 });
    expect((await app.jobs.enqueue(Obedient)).status).toBe('waiting');
    await app.jobs.drain();
    await app.close();
  });
});
