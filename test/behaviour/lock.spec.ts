import { afterEach, describe, expect, it } from 'vitest';
import {
  JobType,
  UnrecoverableJobError,
  type Job,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();
const resolved = new Map<string, Job>();

@JobType({ group: 'compute', name: 'parent', suspendable: true, maxRetries: 1, retryDelay: 0 })
class Parent implements JobHandler {
  async execute(ctx: JobContext<{ other?: string; child?: string }>): Promise<unknown> {
    const other = ctx.params.other ?? (await ctx.enqueue(ctx.params.child ?? 'compute:child')).id;
    const job = await ctx.lockOn(other);
    resolved.set(ctx.job.id, job);
    return { waitedFor: job.id, ended: job.status, result: job.result };
  }
}

@JobType({ group: 'compute', name: 'child' })
class Child implements JobHandler {
  execute(): string {
    return 'from the child';
  }
}

@JobType({ group: 'compute', name: 'failing-child' })
class FailingChild implements JobHandler {
  execute(): void {
    throw new Error('child broke');
  }
}

@JobType({ group: 'compute', name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ group: 'compute', name: 'twice' })
class Twice implements JobHandler {
  async execute(ctx: JobContext<{ other: string; second: string }>): Promise<unknown> {
    const first = ctx.lockOn(ctx.params.other);
    const refused = await refusal(ctx.lockOn(ctx.params.second));
    const { id, status } = await first;
    return { code: refused.code, message: refused.message, id, status };
  }
}

@JobType({ group: 'compute', name: 'tries' })
class Tries implements JobHandler {
  async execute(ctx: JobContext<{ other: string }>): Promise<unknown> {
    const other = ctx.params.other === 'itself' ? ctx.job.id : ctx.params.other;
    const code = await codeOf(ctx.lockOn(other));
    await gate.hold(ctx as JobContext);
    return code;
  }
}

@JobType({ group: 'compute', name: 'forgets' })
class Forgets implements JobHandler {
  execute(ctx: JobContext<{ other: string }>): Promise<unknown> {
    ctx.lockOn(ctx.params.other).catch(() => undefined);
    return gate.hold(ctx as JobContext);
  }
}

const types = [Parent, Child, FailingChild, Held, Tries, Twice];
const one = { queues: { compute: 1 } };
const two = { queues: { compute: 2 } };

afterEach(() => resolved.clear());

describe('lockOn', () => {
  it('releases the slot: parent and child do not deadlock at capacity 1', async () => {
    const app = await bootJobs({ types, options: one });
    const job = await app.run(Parent, {});
    expect(job).toMatchObject({
      status: 'completed',
      lockedBy: null,
      result: { ended: 'completed', result: 'from the child' },
    });
    expect(resolved.get(job.id)).toMatchObject({ status: 'completed', upstreamJobId: job.id });
  });

  it('shows the job as locked by the other', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Parent, { other: other.id });
    expect(await waitForStatus(app.jobs, id, 'locked')).toMatchObject({
      lockedBy: other.id,
      finishedAt: null,
    });
    // The slot is free for others meanwhile.
    expect((await app.run(Child)).status).toBe('completed');

    await app.jobs.cancel(other.id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: { ended: 'canceled' },
    });
  });

  it('is back to running only when a slot is free', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Parent, { other: other.id });
    await waitForStatus(app.jobs, id, 'locked');
    const blocker = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(blocker.id);

    await app.jobs.skip(other.id);
    expect((await app.jobs.get(id)).status).toBe('locked');
    expect(resolved.has(id)).toBe(false);
    release();
    expect((await waitForEnd(app.jobs, id)).result).toMatchObject({ ended: 'skipped' });
  });

  it('resolves whatever the end of the other is', async () => {
    const app = await bootJobs({ types, options: one });
    const job = await app.run(Parent, { child: 'compute:failing-child' });
    expect(job).toMatchObject({ status: 'completed', result: { ended: 'failed' } });
    expect(resolved.get(job.id)?.error).toMatch(/child broke/);
  });

  it('on a job that is final resolves at once', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.run(Child);
    expect((await app.run(Parent, { other: other.id })).result).toMatchObject({
      waitedFor: other.id,
    });
  });

  it('ends by unlock(id) as well, with the other as it is then', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Parent, { other: other.id });
    await waitForStatus(app.jobs, id, 'locked');
    await app.jobs.unlock(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      lockedBy: null,
      result: { ended: 'waiting' },
    });
  });

  it('can be waited for by several', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const ids: string[] = [];
    for (let n = 0; n < 4; n += 1) {
      ids.push((await app.jobs.enqueue(Parent, { other: other.id })).id);
    }
    await Promise.all(ids.map((id) => waitForStatus(app.jobs, id, 'locked')));
    await app.jobs.cancel(other.id);
    const jobs = await Promise.all(ids.map((id) => waitForEnd(app.jobs, id)));
    expect(jobs.map((job) => job.status)).toEqual([
      'completed',
      'completed',
      'completed',
      'completed',
    ]);
  });

  it('hears of the end in another process', async () => {
    const parents = await bootJobs({ types: [Parent], options: one });
    const children = await bootJobs({
      types: [Child, Held],
      options: one,
      database: parents.database,
    });
    const other = await children.jobs.enqueue(Held);
    const { release } = await gate.entry(other.id);
    const { id } = await parents.jobs.enqueue(Parent, { other: other.id });
    await waitForStatus(parents.jobs, id, 'locked');
    release('remote');
    expect((await waitForEnd(parents.jobs, id)).result).toMatchObject({
      ended: 'completed',
      result: 'remote',
    });
  });

  it.each([
    ['itself', 'itself', 'lock_circle'],
    ['an unknown job', '01890000-0000-7000-8000-000000000000', 'not_found'],
    ['something that is no id', 'nonsense', 'invalid_request'],
  ])('on %s is an error before anything changed', async (_, other, code) => {
    const app = await bootJobs({ types, options: one });
    const { id } = await app.jobs.enqueue(Tries, { other });
    const { release } = await gate.entry(id);
    const job = await app.jobs.get(id);
    expect(job).toMatchObject({ status: 'running', lockedBy: null });
    release();
    const end = await waitForEnd(app.jobs, id);
    expect([code, 'not_found']).toContain(end.result);
  });

  it('on a job that waits for this one closes a circle, and is refused', async () => {
    const app = await bootJobs({ types, options: two });
    const first = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(first.id);
    const second = await app.jobs.enqueue(Parent, { other: first.id });
    await waitForStatus(app.jobs, second.id, 'locked');
    const third = await app.jobs.enqueue(Parent, { other: second.id });
    await waitForStatus(app.jobs, third.id, 'locked');

    const circle = await gate.entry(first.id);
    const error = await refusal(circle.ctx.lockOn(third.id));
    expect(error).toMatchObject({ code: 'lock_circle', status: 409 });
    expect(await app.jobs.get(first.id)).toMatchObject({ status: 'running', lockedBy: null });
    release('over');
    expect((await waitForEnd(app.jobs, third.id)).status).toBe('completed');
  });
});

describe('lockOn, where locks and dependencies come together,', () => {
  it('on a job that depends on this one is refused, and both end', async () => {
    const app = await bootJobs({ types, options: two });
    const first = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(first.id);
    const second = await ctx.enqueue(Child, undefined, { dependsOn: [first.id] });
    const error = await refusal(ctx.lockOn(second.id));
    expect(error).toMatchObject({ code: 'lock_circle', status: 409 });
    expect(await app.jobs.get(first.id)).toMatchObject({ status: 'running', lockedBy: null });
    release();
    expect((await waitForEnd(app.jobs, second.id)).status).toBe('completed');
  });

  it('on one that leads back by a lock behind a dependency, among others, is refused', async () => {
    const app = await bootJobs({ types, options: two });
    const first = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(first.id);
    const locked = await app.jobs.enqueue(Parent, { other: first.id });
    await waitForStatus(app.jobs, locked.id, 'locked');
    const later = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    const behind = await app.jobs.enqueue(Child, undefined, { dependsOn: [later.id, locked.id] });
    const last = await app.jobs.enqueue(Child, undefined, { dependsOn: [behind.id, later.id] });
    const outer = await app.jobs.enqueue(Parent, { other: last.id });
    await waitForStatus(app.jobs, outer.id, 'locked');
    expect(await codeOf(ctx.lockOn(last.id))).toBe('lock_circle');
    expect(await codeOf(ctx.lockOn(outer.id))).toBe('lock_circle');
    expect(await app.jobs.get(first.id)).toMatchObject({ status: 'running', lockedBy: null });
    release();
  });

  it('on a job that depends on this one is granted where it has started, and refused where it waits again', async () => {
    const app = await bootJobs({ types, options: two });
    const later = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    const first = await app.jobs.enqueue(Held);
    const on = { id: first.id, onFailure: 'run' } as const;
    const started = await app.jobs.enqueue(Held, undefined, { dependsOn: [on] });
    const waiting = await app.jobs.enqueue(Child, undefined, { dependsOn: [on, later.id] });
    (await gate.entry(first.id)).fail(new UnrecoverableJobError('once'));
    const { release } = await gate.entry(started.id);
    await app.jobs.retry(first.id);
    const { ctx } = await gate.entry(first.id, 2);
    expect(await codeOf(ctx.lockOn(waiting.id))).toBe('lock_circle');
    const other = ctx.lockOn(started.id);
    expect((await waitForStatus(app.jobs, first.id, 'locked')).lockedBy).toBe(started.id);
    release();
    expect((await other).status).toBe('completed');
  });
});

describe('a locked job', () => {
  async function locked(
    options = {},
  ): Promise<{ app: Awaited<ReturnType<typeof bootJobs>>; id: string; other: string }> {
    const app = await bootJobs({ types, options: { ...one, ...options } });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Parent, { other: other.id });
    await waitForStatus(app.jobs, id, 'locked');
    return { app, id, other: other.id };
  }

  it('can be canceled', async () => {
    const { app, id } = await locked();
    await app.jobs.cancel(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'canceled', lockedBy: null });
    expect((await app.run(Child)).status).toBe('completed');
  });

  it('can be suspended, and locks again when it is resumed', async () => {
    const { app, id, other } = await locked();
    await app.jobs.suspend(id);
    expect(await waitForStatus(app.jobs, id, 'suspended')).toMatchObject({ lockedBy: null });
    await app.jobs.resume(id);
    expect((await waitForStatus(app.jobs, id, 'locked')).lockedBy).toBe(other);
  });

  it('runs into its timeout', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Parent, { other: other.id }, { timeout: '200ms' });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'timeout', lockedBy: null });
    expect((await app.run(Child)).status).toBe('completed');
  });

  it('goes back to waiting at shutdown', async () => {
    const { app, id } = await locked({ grace: { shutdown: '50ms', signal: '200ms' } });
    await app.close();
    const after = await bootJobs({ types, options: { role: 'producer' }, database: app.database });
    expect(await after.jobs.get(id)).toMatchObject({
      status: 'waiting',
      lockedBy: null,
      retries: 0,
    });
  });

  it('a second time while the first still waits is refused, and the first goes on', async () => {
    const app = await bootJobs({ types, options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const second = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Twice, { other: other.id, second: second.id });
    expect((await waitForStatus(app.jobs, id, 'locked')).lockedBy).toBe(other.id);
    await app.jobs.unlock(id);
    expect((await waitForEnd(app.jobs, id)).result).toEqual({
      code: 'invalid_request',
      message: expect.stringMatching(/await the first/) as string,
      id: other.id,
      status: 'waiting',
    });
  });

  it('whose handler returns without waiting for it gives the slot back once', async () => {
    const app = await bootJobs({ types: [...types, Forgets], options: one });
    const other = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const { id } = await app.jobs.enqueue(Forgets, { other: other.id });
    await waitForStatus(app.jobs, id, 'locked');
    (await gate.entry(id)).release();
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
    await app.jobs.cancel(other.id);
    // Two handlers hold the queue's only slot, one after the other, and never at once.
    const jobs = await Promise.all([app.jobs.enqueue(Held), app.jobs.enqueue(Held)]);
    const { release } = await gate.entry(jobs[0].id);
    expect((await app.jobs.get(jobs[1].id)).startedAt).toBeNull();
    release();
    (await gate.entry(jobs[1].id)).release();
    await Promise.all(jobs.map((each) => waitForEnd(app.jobs, each.id)));
  });

  it('on a job that is deleted meanwhile says so, and an unlock afterwards changes nothing', async () => {
    const { app, id, other } = await locked();
    await app.jobs.delete(other);
    await waitForStatus(app.jobs, id, ['failed', 'waiting']);
    // The next run, which finds no such job, may have come by now.
    const [first] = await app.jobs.runs(id);
    expect(first?.error).toMatch(new RegExp(`${other} was deleted while job ${id} waited`));
    expect((await app.jobs.unlock(id)).status).not.toBe('locked');
  });

  it('that waits for a job that is deleted goes on', async () => {
    const { app, id, other } = await locked();
    await app.jobs.delete(other);
    expect(
      (
        await until(async () => {
          const job = await app.jobs.get(id);
          return job.status !== 'locked' && job;
        })
      ).lockedBy,
    ).toBeNull();
  });
});

describe('unlock', () => {
  it('of a job that is not locked is refused or changes nothing', async () => {
    const app = await bootJobs({ types, options: one });
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    expect(await codeOf(app.jobs.unlock(id))).toMatch(/^(ok|illegal_transition)$/);
    expect((await app.jobs.get(id)).status).toBe('running');
  });
});
