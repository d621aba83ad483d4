import { IsInt } from 'class-validator';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { JobType, type Job, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { deferred, handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

class StepParams {
  @IsInt()
  n = 0;
}

let body: (ctx: JobContext<StepParams>) => unknown = () => undefined;
const gate = handlerGate();

@JobType({ name: 'steered', params: StepParams, timeout: '5s' })
class Steered implements JobHandler<StepParams> {
  execute(ctx: JobContext<StepParams>): unknown {
    return body(ctx);
  }
}

@JobType({ name: 'child', maxRetries: 7 })
class Child implements JobHandler {
  execute(ctx: JobContext): unknown {
    return {
      tenant: ctx.job.tenantId,
      user: ctx.job.userId,
      meta: ctx.meta,
      upstream: ctx.job.upstreamJobId,
    };
  }
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Steered, Child, Held], lifetime: 'file' });
});

afterEach(() => {
  body = () => undefined;
});

describe('ctx.skip', () => {
  it('ends the job as skipped with its reason, and nothing after it runs', async () => {
    let reached = false;
    body = (ctx) => {
      ctx.skip('nothing to do');
      reached = true;
    };
    const job = await app.run(Steered);
    expect(job).toMatchObject({
      status: 'skipped',
      details: 'nothing to do',
      error: null,
      retries: 0,
    });
    expect(await app.jobs.runs(job.id)).toMatchObject([{ outcome: 'skipped' }]);
    expect(reached).toBe(false);
  });

  it('works deep inside async code', async () => {
    body = async (ctx) => {
      await Promise.all([Promise.resolve(), Promise.resolve().then(() => ctx.skip('deep'))]);
    };
    expect(await app.run(Steered)).toMatchObject({ status: 'skipped', details: 'deep' });
  });
});

describe('ctx.reschedule', () => {
  it('runs the same job again, at that time, with state, params and a fresh budget', async () => {
    const attempts: unknown[] = [];
    body = async (ctx) => {
      attempts.push([ctx.attempt, ctx.params.n, ctx.state, ctx.job.retries]);
      if (ctx.attempt === 1) {
        throw new Error('costs a retry');
      }
      if (ctx.attempt === 2) {
        await ctx.checkpoint({ page: 1 });
        ctx.reschedule({ delay: 100, params: { n: 5 }, state: { page: 2 } });
      }
      return 'end';
    };
    const job = await app.run(Steered, { n: 1 }, { maxRetries: 1, retryDelay: 0 });
    expect(job).toMatchObject({
      status: 'completed',
      result: 'end',
      revision: 3,
      retries: 0,
      params: { n: 5 },
    });
    expect(attempts).toEqual([
      [1, 1, null, 0],
      [2, 1, null, 1],
      [3, 5, { page: 2 }, 0],
    ]);
    const runs = await app.jobs.runs(job.id);
    expect(runs.map((run) => run.outcome)).toEqual(['failed', 'released', 'completed']);
    const [, second, third] = runs.map((run) => [run.startedAt, run.endedAt] as [Date, Date]);
    expect(third?.[0].getTime()).toBeGreaterThanOrEqual((second?.[1].getTime() ?? Infinity) + 95);
  });

  it('keeps state and params that are not given', async () => {
    body = async (ctx) => {
      if (ctx.attempt === 1) {
        await ctx.checkpoint('kept');
        ctx.reschedule({ delay: 0 });
      }
      return [ctx.params.n, ctx.state];
    };
    expect((await app.run(Steered, { n: 3 })).result).toEqual([3, 'kept']);
  });

  it('takes an instant', async () => {
    const at = new Date(Date.now() + 3_600_000);
    body = (ctx) => ctx.reschedule({ runAt: at });
    const { id } = await app.jobs.enqueue(Steered);
    const job = await until(async () => {
      const now = await app.jobs.get(id);
      return now.revision === 1 && now.status === 'waiting' && now;
    }, 'the reschedule');
    expect(job).toMatchObject({ runAt: at, waitingFor: 'time', retries: 0, error: null });
    await app.jobs.cancel(id);
  });

  it.each<[string, object]>([
    ['neither time nor delay', {}],
    ['both', { runAt: new Date(), delay: 1 }],
    ['a bad delay', { delay: 'soon' }],
    ['bad params', { delay: 0, params: { n: 'x' } }],
  ])('with %s is an error of the handler', async (_, options) => {
    body = (ctx) => ctx.reschedule(options);
    const job = await app.run(Steered);
    expect(job.status).toBe('failed');
    expect(job.error).toBeTruthy();
  });
});

describe('ctx.setRetryPolicy', () => {
  it('applies from the next decision on', async () => {
    body = async (ctx) => {
      if (ctx.attempt === 1) {
        await ctx.setRetryPolicy({ maxRetries: 2, retryDelay: 0 });
      }
      throw new Error(`attempt ${ctx.attempt}`);
    };
    const job = await app.run(Steered);
    expect(job).toMatchObject({
      status: 'failed',
      retries: 2,
      revision: 3,
      maxRetries: 2,
      retryDelay: 0,
    });
  });

  it('changes the timeout of the run that is under way', async () => {
    body = async (ctx) => {
      await ctx.setRetryPolicy({ timeout: '60ms' });
      await new Promise((_, reject) =>
        ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason as Error)),
      );
    };
    expect(await app.run(Steered)).toMatchObject({ status: 'timeout', timeout: 60 });
  });

  it('refuses nonsense', async () => {
    body = async (ctx) => [
      await codeOf(ctx.setRetryPolicy({ maxRetries: -1 })),
      await codeOf(ctx.setRetryPolicy({ timeout: 'x' })),
      await codeOf(ctx.setRetryPolicy({ retryDelay: Number.NaN })),
    ];
    expect((await app.run(Steered)).result).toEqual([
      'invalid_request',
      'invalid_request',
      'invalid_request',
    ]);
  });
});

describe('ctx.enqueue', () => {
  it('passes on tenant, user and meta, and names the upstream job', async () => {
    const child = deferred<Job>();
    body = async (ctx) => {
      child.resolve(await ctx.enqueue(Child));
    };
    const parent = await app.run(Steered, undefined, {
      tenantId: 'acme',
      userId: 'ada',
      meta: { traceparent: 'x' },
    });
    const job = await waitForEnd(app.jobs, (await child.promise).id);
    expect(job.result).toEqual({
      tenant: 'acme',
      user: 'ada',
      meta: { traceparent: 'x' },
      upstream: parent.id,
    });
    expect((await app.jobs.list({ upstreamJobId: parent.id })).jobs.map((each) => each.id)).toEqual(
      [job.id],
    );
  });

  it('lets its options win', async () => {
    const child = deferred<Job>();
    body = async (ctx) => {
      child.resolve(
        await ctx.enqueue(Child, undefined, { meta: { own: true }, userId: 'bob', maxRetries: 1 }),
      );
    };
    await app.run(Steered, undefined, {
      tenantId: 'acme',
      userId: 'ada',
      meta: { traceparent: 'x' },
    });
    const job = await child.promise;
    expect(job).toMatchObject({ userId: 'bob', tenantId: 'acme', maxRetries: 1 });
    expect(job.meta).toMatchObject({ own: true });
  });
});

describe('the context of a handler', () => {
  it('tells the attempt, the job and its meta', async () => {
    const seen: unknown[] = [];
    body = (ctx) => {
      seen.push(
        ctx.attempt,
        ctx.job.revision,
        ctx.job.status,
        ctx.meta,
        ctx.state,
        ctx.signal.aborted,
      );
      expect(ctx.job.startedAt).toBeInstanceOf(Date);
    };
    expect((await app.run(Steered, undefined, { meta: { a: 1 } })).status).toBe('completed');
    expect(seen).toEqual([1, 1, 'running', { a: 1 }, null, false]);
  });

  it('shows the latest checkpoint', async () => {
    body = async (ctx) => {
      const states = [ctx.state];
      await ctx.checkpoint({ n: 1 });
      states.push(ctx.state);
      await ctx.checkpoint([2]);
      states.push(ctx.state);
      return states;
    };
    expect((await app.run(Steered, undefined, { state: 'first' })).result).toEqual([
      'first',
      { n: 1 },
      [2],
    ]);
  });

  it('cannot be used to write once the run has ended', async () => {
    let stale: JobContext<StepParams> | undefined;
    body = (ctx) => {
      stale = ctx;
      return 'done';
    };
    const job = await app.run(Steered);
    expect(stale).toBeDefined();
    expect(await codeOf(stale?.checkpoint('late') ?? Promise.resolve())).toBe('lease_lost');
    expect(await codeOf(stale?.setResult('late') ?? Promise.resolve())).toBe('lease_lost');
    expect(await codeOf(stale?.enqueue(Child) ?? Promise.resolve())).toBe('lease_lost');
    expect((await app.jobs.list({ upstreamJobId: job.id })).total).toBe(0);
    expect(await app.jobs.get(job.id)).toEqual(job);
  });
});

describe('update', () => {
  it('changes a waiting job', async () => {
    const { id } = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    const runAt = new Date(Date.now() + 7_200_000);
    const patch = {
      priority: 4,
      runAt,
      timeout: '9s',
      maxRetries: 8,
      retryDelay: '7s',
      tags: ['x'],
    };
    expect(await app.jobs.update(id, patch)).toMatchObject({
      priority: 4,
      runAt,
      timeout: 9000,
      maxRetries: 8,
      retryDelay: 7000,
      tags: ['x'],
    });
    await app.jobs.cancel(id);
  });

  it('brings a delayed job forward', async () => {
    const { id } = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    await app.jobs.update(id, { runAt: new Date() });
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('puts a due job off', async () => {
    await app.queues.pause('default');
    const { id } = await app.jobs.enqueue(Child);
    await app.jobs.update(id, { runAt: new Date(Date.now() + 3_600_000) });
    await app.queues.resume('default');
    expect((await app.run(Child)).status).toBe('completed');
    expect(await app.jobs.get(id)).toMatchObject({ status: 'waiting', waitingFor: 'time' });
    await app.jobs.cancel(id);
  });

  it('of the retry policy of a running job applies from the next decision on', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const { fail } = await gate.entry(id);
    await app.jobs.update(id, { maxRetries: 1, retryDelay: 0 });
    fail(new Error('once'));
    const again = await gate.entry(id, 2);
    again.release('second');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      retries: 1,
      result: 'second',
    });
  });

  it.each<[string, object]>([
    ['nothing', {}],
    ['an unknown field', { status: 'completed' }],
    ['params', { params: {} }],
    ['a fractional priority', { priority: 0.5 }],
    ['a bad date', { runAt: 'now' }],
    ['21 tags', { tags: Array.from({ length: 21 }, String) }],
    ['negative retries', { maxRetries: -1 }],
  ])('with %s is refused', async (what, patch) => {
    const { id } = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    const expected = what === 'nothing' ? /^(ok|invalid_request)$/ : /^invalid_request$/;
    expect(await codeOf(app.jobs.update(id, patch))).toMatch(expected);
    await app.jobs.cancel(id);
  });

  it('of an ended job is refused with already_ended', async () => {
    const job = await app.run(Child);
    expect(await codeOf(app.jobs.update(job.id, { priority: 1 }))).toBe('already_ended');
  });
});

describe("an operator's fail and skip", () => {
  it('keep reason and result', async () => {
    const one = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    const two = await app.jobs.enqueue(Child, undefined, { delay: '1h' });
    expect(await app.jobs.fail(one.id, { reason: 'bad input', result: { row: 3 } })).toMatchObject({
      status: 'failed',
      details: 'bad input',
      result: { row: 3 },
      startedAt: null,
    });
    expect((await app.jobs.get(one.id)).error).toMatch(/bad input/);
    expect(await app.jobs.skip(two.id, { reason: 'not today' })).toMatchObject({
      status: 'skipped',
      details: 'not today',
      error: null,
    });
  });
});

describe('delete', () => {
  it('takes the job with its runs and its log', async () => {
    body = (ctx) => ctx.log.info('hello');
    const job = await app.run(Steered);
    await app.jobs.delete(job.id);
    const calls = [
      app.jobs.get(job.id),
      app.jobs.runs(job.id),
      app.jobs.logs(job.id),
      app.jobs.delete(job.id),
    ];
    // All at once: a refusal that nobody awaits yet makes Node warn.
    expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => 'not_found'));
    expect(await app.sql(`SELECT * FROM job_logs WHERE job_id = '${job.id}'`)).toEqual([]);
    expect(await app.sql(`SELECT * FROM job_runs WHERE job_id = '${job.id}'`)).toEqual([]);
  });
});
