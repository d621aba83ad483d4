import { describe, expect, it } from 'vitest';
import {
  JobType,
  type InitializingJob,
  type JobContext,
  type JobHandler,
  type OnJobInit,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { deferred, handlerGate, type Deferred } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'deaf', timeout: '80ms' })
class Deaf implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'obedient', timeout: '80ms' })
class Obedient implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'late-finisher', timeout: '80ms' })
class LateFinisher implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return new Promise((resolve) => {
      ctx.signal.addEventListener('abort', () => resolve('done after all'), { once: true });
    });
  }
}

@JobType({
  name: 'second-try',
  timeout: '80ms',
  retryOnTimeout: true,
  maxRetries: 1,
  retryDelay: 0,
})
class SecondTry implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.attempt === 1 ? gate.obey(ctx) : 'made it';
  }
}

@JobType({ name: 'no-second-try', timeout: '80ms', maxRetries: 3, retryDelay: 0 })
class NoSecondTry implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ group: 'compute', name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

let checked: Deferred | undefined;

@JobType({ name: 'checked' })
class Checked implements JobHandler, OnJobInit {
  onJobInit(): Promise<void> {
    checked = deferred();
    return checked.promise;
  }
  execute(): void {}
}

const types = [Deaf, Obedient, LateFinisher, SecondTry, NoSecondTry, Quick, Checked];

describe('a timeout', () => {
  it('fires the signal with the code timeout, and ends the job as timeout', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient);
    const { ctx } = await gate.entry(id);
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'timeout', timeout: 80, retries: 0, revision: 1 });
    expect(job.error).toMatch(/time/i);
    expect(ctx.signal.reason).toMatchObject({ name: 'AbortError', code: 'timeout' });
    expect(await app.jobs.runs(id)).toMatchObject([{ outcome: 'timeout' }]);
    const took = (job.finishedAt as Date).getTime() - (job.startedAt as Date).getTime();
    expect(took).toBeGreaterThanOrEqual(75);
  });

  it('frees the slot although the code lingers, and fences its writes off', async () => {
    const app = await bootJobs({
      types,
      options: { queues: { compute: 1 }, grace: { signal: '100ms' } },
    });
    const { id } = await app.jobs.enqueue(Deaf);
    const next = await app.jobs.enqueue(Quick);
    const { ctx, release } = await gate.entry(id);

    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'timeout' });
    expect(await waitForEnd(app.jobs, next.id)).toMatchObject({ result: 'quick' });

    const before = await app.jobs.get(id);
    expect(await codeOf(ctx.checkpoint({ late: true }))).toBe('lease_lost');
    expect(await codeOf(ctx.setResult('late'))).toBe('lease_lost');
    expect(await codeOf(ctx.setRetryPolicy({ maxRetries: 9 }))).toBe('lease_lost');
    expect(await codeOf(ctx.transaction(async () => 'late', { complete: true }))).toBe(
      'lease_lost',
    );
    expect(await codeOf(ctx.enqueue(Quick))).toBe('lease_lost');
    expect(await codeOf(ctx.enqueue(Quick, null, { idempotencyKey: 'late' }))).toBe('lease_lost');
    expect((await app.jobs.list({ upstreamJobId: id })).total).toBe(0);
    release('late');
    expect((await app.run(Quick)).result).toBe('quick');
    expect(await app.jobs.get(id)).toEqual(before);
    expect(await app.jobs.runs(id)).toMatchObject([{ outcome: 'timeout' }]);
  });

  it('refuses what the lingering code was about to enqueue', async () => {
    const app = await bootJobs({ types, options: { grace: { signal: '100ms' } } });
    const { id } = await app.jobs.enqueue(Deaf);
    const { ctx } = await gate.entry(id);
    const child = codeOf(ctx.enqueue(Checked));
    await until(() => checked !== undefined, 'the hook of the child');
    await waitForEnd(app.jobs, id);
    checked?.resolve();
    expect(await child).toBe('lease_lost');
    expect((await app.jobs.list({ upstreamJobId: id })).total).toBe(0);
  });

  it('of the job goes over that of its type, and 0 means none', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: 0 });
    const other = await app.jobs.enqueue(Obedient, undefined, { timeout: '30ms' });
    const entry = await gate.entry(id);
    expect(await waitForEnd(app.jobs, other.id)).toMatchObject({ status: 'timeout', timeout: 30 });
    // The one without a limit outlives a job whose type's limit is the same.
    expect((await app.run(Obedient)).status).toBe('timeout');
    expect((await app.jobs.get(id)).status).toBe('running');
    entry.release('patience');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'patience',
    });
  });

  it('counts from the start of the handler, not from the enqueue', async () => {
    const app = await bootJobs({ types, options: { queues: { compute: 1 } } });
    await app.queues.pause('compute');
    const { id } = await app.jobs.enqueue(Quick, undefined, { timeout: '50ms' });
    const enqueued = Date.now();
    await until(() => Date.now() > enqueued + 100);
    await app.queues.resume('compute');
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('is not retried, whatever the budget', async () => {
    const app = await bootJobs({ types });
    expect(await app.run(NoSecondTry)).toMatchObject({
      status: 'timeout',
      retries: 0,
      revision: 1,
    });
  });

  it('is retried with retryOnTimeout', async () => {
    const app = await bootJobs({ types });
    const job = await app.run(SecondTry);
    expect(job).toMatchObject({ status: 'completed', result: 'made it', retries: 1, revision: 2 });
    expect((await app.jobs.runs(job.id)).map((run) => run.outcome)).toEqual([
      'timeout',
      'completed',
    ]);
  });

  it('that the handler answers by finishing is still a timeout', async () => {
    const app = await bootJobs({ types });
    expect((await app.run(LateFinisher)).status).toBe('timeout');
  });

  it('longer than a timer can hold does not fire', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: '60d' });
    const { release, ctx } = await gate.entry(id);
    expect((await app.run(Quick)).status).toBe('completed');
    expect(ctx.signal.aborted).toBe(false);
    release('fine');
    expect((await waitForEnd(app.jobs, id)).result).toBe('fine');
  });

  it('that is changed while the job runs applies at once', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: 0 });
    await gate.entry(id);
    await app.jobs.update(id, { timeout: '50ms' });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'timeout', timeout: 50 });
  });

  it('that is changed in another process while the job runs applies within a second or two', async () => {
    const app = await bootJobs({ types });
    const other = await bootJobs({ types, options: { role: 'producer' }, database: app.database });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: '1h' });
    await gate.entry(id);
    const changed = await other.jobs.update(id, { timeout: '50ms' });
    expect((changed.eta as Date).getTime() - (changed.startedAt as Date).getTime()).toBe(50);
    const job = await waitForEnd(other.jobs, id, 2500);
    expect(job).toMatchObject({ status: 'timeout', timeout: 50 });
  });

  it('that is changed there again and again applies as it was last, as soon', async () => {
    const app = await bootJobs({ types });
    const other = await bootJobs({ types, options: { role: 'producer' }, database: app.database });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: '1h' });
    await gate.entry(id);
    for (let minutes = 59; minutes > 49; minutes -= 1) {
      await other.jobs.update(id, { timeout: `${minutes}m` });
    }
    await other.jobs.update(id, { timeout: '50ms' });
    expect(await waitForEnd(other.jobs, id, 2000)).toMatchObject({
      status: 'timeout',
      timeout: 50,
    });
  });

  it('starts anew with each run', async () => {
    const app = await bootJobs({ types });
    const first = await app.run(Obedient);
    await app.jobs.retry(first.id);
    const { ctx } = await gate.entry(first.id, 2);
    expect(ctx.signal.aborted).toBe(false);
    await waitForStatus(app.jobs, first.id, 'timeout');
    expect((await app.jobs.runs(first.id)).map((run) => run.outcome)).toEqual([
      'timeout',
      'timeout',
    ]);
  });

  it('that its handler or a hook sets tells when the job is expected to end', async () => {
    @JobType({ name: 'sets', timeout: '1h', suspendable: true })
    class Sets implements JobHandler {
      onJobInit(job: InitializingJob): Promise<void> {
        return Promise.resolve(
          job.setRetryPolicy({ timeout: job.startedAt === null ? '2h' : '5h' }),
        );
      }
      async execute(ctx: JobContext): Promise<void> {
        for (const timeout of ['3h', 0, '4h'] as const) {
          await gate.obey(ctx);
          await ctx.setRetryPolicy({ timeout });
        }
        await gate.obey(ctx);
      }
    }
    const app = await bootJobs({ types: [Sets] });
    const { id } = await app.jobs.enqueue(Sets);
    const hours = async (): Promise<number | null> => {
      const { eta, startedAt } = await app.jobs.get(id);
      return eta && (eta.getTime() - (startedAt?.getTime() ?? 0)) / 3_600_000;
    };
    for (const [nth, expected] of [2, 3, null, 4].entries()) {
      const { release } = await gate.entry(id, nth + 1);
      expect(await hours()).toBe(expected);
      if (nth < 3) release();
    }
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.resume(id);
    await gate.entry(id, 5);
    await until(async () => (await hours()) === 5, 'the end by the timeout of the hook');
  });

  it('shows when the job is expected to end', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Obedient, undefined, { timeout: '1h' });
    const { release } = await gate.entry(id);
    const job = await app.jobs.get(id);
    expect((job.eta as Date).getTime() - (job.startedAt as Date).getTime()).toBe(3_600_000);
    release();
    await waitForEnd(app.jobs, id);
  });
});
