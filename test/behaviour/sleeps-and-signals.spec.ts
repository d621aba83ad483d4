import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();
let calls: string[] = [];
let body: (ctx: JobContext) => unknown = () => undefined;

@JobType({ name: 'stepped', maxRetries: 3, retryDelay: 1, suspendable: true })
class Stepped implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx);
  }
}

async function boot(options: object = {}): Promise<BootedJobs> {
  calls = [];
  body = () => undefined;
  return bootJobs({ types: [Stepped], options });
}

/** Resolves with the job once it waits for that. */
async function waiting(app: BootedJobs, id: string, waitingFor: 'time' | 'signal') {
  return until(async () => {
    const job = await app.jobs.get(id);
    return job.waitingFor === waitingFor && job;
  }, `${id} to wait for ${waitingFor}`);
}

const outcomes = async (app: BootedJobs, id: string) =>
  (await app.jobs.runs(id)).map(({ outcome }) => outcome);

describe('ctx.sleep', () => {
  it('gives the slot back, and comes back when it is due, with finished steps replayed', async () => {
    const app = await boot({ queues: { default: 1 } });
    body = async (ctx) => {
      await ctx.step('before', () => calls.push('before'));
      await ctx.sleep('300ms');
      await ctx.step('after', () => calls.push('after'));
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    const ended = await waitForEnd(app.jobs, id);
    expect(ended).toMatchObject({
      status: 'completed',
      result: 'done',
      retries: 0,
      lost: 0,
      revision: 2,
    });
    expect(calls).toEqual(['before', 'after']);
    expect(await outcomes(app, id)).toEqual(['released', 'completed']);
    const [first, second] = await app.jobs.runs(id);
    const pauseMs = (second?.startedAt?.getTime() ?? 0) - (first?.startedAt?.getTime() ?? 0);
    // Starts are by this process's idea of the database's time.
    expect(pauseMs).toBeGreaterThan(250);
  });

  it('lets another job have the slot meanwhile', async () => {
    const app = await boot({ queues: { default: 1 } });
    body = async (ctx) => {
      if (ctx.job.tags.includes('sleeps')) {
        await ctx.sleep('1h');
      }
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped, {}, { tags: ['sleeps'] });
    await waiting(app, id, 'time');
    expect((await app.run(Stepped)).status).toBe('completed');
    expect((await app.jobs.get(id)).status).toBe('waiting');
    await app.jobs.cancel(id);
  });

  it('sleeps several times, each once, also between failures', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.sleep(20);
      await ctx.sleep(0);
      if (ctx.attempt === 2) throw new Error('in between');
      await ctx.sleep(20);
      return ctx.attempt;
    };
    const job = await app.run(Stepped);
    expect(job).toMatchObject({ status: 'completed', result: 4, retries: 1 });
    expect(await outcomes(app, job.id)).toEqual(['released', 'failed', 'released', 'completed']);
  });

  it('says that it waits for its time, also after a retry', async () => {
    const app = await boot();
    body = async (ctx) => {
      if (ctx.attempt === 1) throw new Error('first');
      await ctx.sleep('1h');
    };
    const { id } = await app.jobs.enqueue(Stepped);
    expect(await waiting(app, id, 'time')).toMatchObject({ retries: 1, error: null });
    await app.jobs.cancel(id);
  });

  it('sleeps the rest after a lost run, a cancel with a retry, and a suspension', async () => {
    const app = await boot();
    body = async (ctx) => {
      calls.push(`run ${ctx.attempt}`);
      await ctx.sleep('1h');
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    const { runAt } = await waiting(app, id, 'time');
    await app.jobs.cancel(id);
    expect((await app.jobs.get(id)).status).toBe('canceled');
    await app.jobs.retry(id);
    await until(() => calls.includes('run 2'), 'the second run');
    expect((await waiting(app, id, 'time')).runAt).toEqual(runAt);
    await app.jobs.suspend(id);
    expect((await app.jobs.get(id)).status).toBe('suspended');
    await app.jobs.resume(id);
    expect((await waiting(app, id, 'time')).runAt).toEqual(runAt);
    expect(calls).toEqual(['run 1', 'run 2']);
    await app.jobs.delete(id);
    expect(await codeOf(app.jobs.get(id))).toBe('not_found');
    expect(await app.sql('SELECT 1 AS found FROM job_steps')).toEqual([]);
  });

  it('ends when an operator moves the start of the job', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.sleep('1h');
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    await waiting(app, id, 'time');
    await app.jobs.update(id, { runAt: new Date(0) });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', revision: 2 });
  });

  it('ends the run though its handler catches what it throws', async () => {
    const app = await boot();
    body = async (ctx) => {
      try {
        await ctx.sleep(20);
      } catch {
        await ctx.step('never', () => calls.push('never')).catch(() => undefined);
        return 'swallowed';
      }
      return 'done';
    };
    expect(await app.run(Stepped)).toMatchObject({ result: 'done', revision: 2 });
    body = async (ctx) => {
      try {
        await ctx.sleep(20);
      } catch (cause) {
        throw new Error('wrapped', { cause });
      }
      return 'done';
    };
    expect(await app.run(Stepped)).toMatchObject({ result: 'done', revision: 2, retries: 0 });
    expect(calls).toEqual([]);
  });

  it('that nobody awaits fails the run with what is wrong, and harms nothing else', async () => {
    const app = await boot();
    const ways: readonly ((ctx: JobContext) => unknown)[] = [
      async (ctx) => {
        void ctx.sleep('1h');
        await gate.obey(ctx);
      },
      async (ctx) => {
        void ctx.waitForSignal('go');
        await gate.obey(ctx);
      },
      (ctx) => {
        void ctx.sleep('1h');
        return 'at once';
      },
    ];
    for (const way of ways) {
      body = way;
      const { id } = await app.jobs.enqueue(Stepped, undefined, { maxRetries: 0 });
      const job = await waitForEnd(app.jobs, id);
      if (way !== ways[2]) {
        expect(job).toMatchObject({
          status: 'failed',
          error: expect.stringContaining('nobody awaits: put await before it') as string,
        });
      } else {
        // What has ended has ended, and is not waited for.
        expect(job).toMatchObject({ status: 'completed', result: 'at once' });
      }
    }
    body = () => 'next';
    expect(await app.run(Stepped)).toMatchObject({ result: 'next' });
  });

  it('does not count as time of a run', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.sleep('3.5s');
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped, {}, { timeout: '3s' });
    expect(await waitForEnd(app.jobs, id, 20_000)).toMatchObject({
      status: 'completed',
      result: 'done',
    });
  });

  it('does not expire: it has started', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.sleep('1h');
      return 'done';
    };
    const expiresAt = new Date(Date.now() + 3_600_000);
    const { id } = await app.jobs.enqueue(Stepped, {}, { expiresAt });
    await waiting(app, id, 'time');
    const plain = await app.jobs.enqueue(Stepped, {}, { expiresAt, delay: '1h' });
    await app.sql('UPDATE jobs SET expires_at_ms = 1');
    expect((await waitForEnd(app.jobs, plain.id)).status).toBe('skipped');
    expect(await waiting(app, id, 'time')).toMatchObject({ status: 'waiting' });
    await app.jobs.update(id, { runAt: new Date(0) });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', result: 'done' });
  });

  it('takes a duration', async () => {
    const app = await boot();
    body = async (ctx) => [
      await codeOf(ctx.sleep('soon')),
      await codeOf(ctx.sleep(-1)),
      await codeOf(ctx.sleep(undefined as never)),
    ];
    expect((await app.run(Stepped)).result).toEqual(Array(3).fill('invalid_request'));
  });
});

describe('ctx.waitForSignal', () => {
  const ask = async (ctx: JobContext): Promise<unknown> => {
    calls.push(`run ${ctx.attempt}`);
    return { got: (await ctx.waitForSignal('approve')) ?? 'nothing' };
  };

  it('gives the slot back until the signal comes, and gives its payload', async () => {
    const app = await boot({ queues: { default: 1 } });
    body = (ctx) => (ctx.job.tags.includes('waits') ? ask(ctx) : 'done');
    const { id } = await app.jobs.enqueue(Stepped, {}, { tags: ['waits'] });
    expect(await waiting(app, id, 'signal')).toMatchObject({
      status: 'waiting',
      retries: 0,
      lost: 0,
      revision: 1,
      error: null,
    });
    expect(await app.run(Stepped)).toMatchObject({ status: 'completed', result: 'done' });
    expect((await app.jobs.get(id)).waitingFor).toBe('signal');
    const sent = await app.jobs.signal(id, 'approve', { by: 'ann' });
    expect(sent).toMatchObject({ id, status: 'waiting', waitingFor: 'worker' });
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({
      status: 'completed',
      result: { got: { by: 'ann' } },
      retries: 0,
      lost: 0,
      revision: 2,
    });
    expect(await outcomes(app, id)).toEqual(['released', 'completed']);
  });

  it('keeps one that was sent early for the first wait of its name, several in their order', async () => {
    const app = await boot();
    body = async (ctx) => [
      await ctx.waitForSignal('b'),
      await ctx.waitForSignal('a'),
      await ctx.waitForSignal('a'),
      await ctx.waitForSignal('a', { timeout: 0 }),
    ];
    const { id } = await app.jobs.enqueue(Stepped, {}, { delay: '1h' });
    for (const [name, payload] of [
      ['a', 1],
      ['a', null],
      ['b', undefined],
    ] as const) {
      await app.jobs.signal(id, name, payload);
    }
    expect((await app.jobs.get(id)).waitingFor).toBe('time');
    await app.jobs.update(id, { runAt: new Date(0) });
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'completed', revision: 1 });
    expect(job.result).toEqual([null, 1, null, null]);
    expect(await app.sql('SELECT 1 AS found FROM job_signals')).toEqual([]);
  });

  it('gives undefined when its time is over, and a later signal to the next wait', async () => {
    const app = await boot();
    body = async (ctx) => {
      const first = await ctx.waitForSignal('x', { timeout: '100ms' });
      calls.push(first === undefined ? 'nothing' : 'something');
      return ctx.waitForSignal('x');
    };
    const { id } = await app.jobs.enqueue(Stepped);
    await until(() => calls.length > 0, 'the end of the first wait');
    await waiting(app, id, 'signal');
    await app.jobs.signal(id, 'x', 'late');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: 'late', retries: 0 });
    expect(new Set(calls)).toEqual(new Set(['nothing']));
  });

  it('is not woken by a signal of another name', async () => {
    const app = await boot();
    body = ask;
    const { id } = await app.jobs.enqueue(Stepped);
    await waiting(app, id, 'signal');
    expect((await app.jobs.signal(id, 'other', 1)).waitingFor).toBe('signal');
    await app.jobs.signal(id, 'approve', 2);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: { got: 2 }, revision: 2 });
  });

  it('receives each signal once, also when runs fail and are taken back in between', async () => {
    const app = await boot();
    body = async (ctx) => {
      const got = [await ctx.waitForSignal('n'), await ctx.waitForSignal('n')];
      if (ctx.attempt === 1) throw new Error('after both');
      await gate.obey(ctx);
      return got;
    };
    const { id } = await app.jobs.enqueue(Stepped, {}, { delay: '1h' });
    for (const n of [1, 2, 3]) {
      await app.jobs.signal(id, 'n', n);
    }
    await app.jobs.update(id, { runAt: new Date(0) });
    await gate.entry(id);
    await app.workers.interruptRuns({ olderThan: 0 });
    (await gate.entry(id, 2)).release();
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: [1, 2], retries: 1, lost: 1 });
    expect(await app.sql('SELECT payload FROM job_signals')).toEqual([{ payload: '3' }]);
  });

  it('loses no signal that is sent while the run ends', async () => {
    const app = await boot({ queues: { default: 20 } });
    body = async (ctx) => {
      const got = [];
      for (let n = 0; n < 3; n += 1) {
        got.push(await ctx.waitForSignal('go'));
      }
      return got;
    };
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => (await app.jobs.enqueue(Stepped)).id),
    );
    await Promise.all(
      ids.map(async (id) => {
        for (let n = 0; n < 3; n += 1) {
          await app.jobs.signal(id, 'go', n);
        }
      }),
    );
    for (const id of ids) {
      expect((await waitForEnd(app.jobs, id)).result).toEqual([0, 1, 2]);
    }
  });

  it('goes on at once when the signal comes between the wait and the end of its run', async () => {
    const app = await boot();
    body = async (ctx) => {
      try {
        return await ctx.waitForSignal('x');
      } catch (ends) {
        await app.jobs.signal(ctx.job.id, 'x', 'in between');
        throw ends;
      }
    };
    expect(await app.run(Stepped)).toMatchObject({ result: 'in between', revision: 2 });
  });

  it('comes to each of many jobs that are sent one after the other, at the same time', async () => {
    const app = await boot({ queues: { default: 20 } });
    body = async (ctx) => {
      const received: unknown[] = [];
      for (let nth = 0; nth < 4; nth += 1) {
        received.push(await ctx.waitForSignal('next'));
      }
      return received;
    };
    const results = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const { id } = await app.jobs.enqueue(Stepped);
        for (let nth = 0; nth < 4; nth += 1) {
          await app.jobs.signal(id, 'next', nth);
        }
        return (await waitForEnd(app.jobs, id)).result;
      }),
    );
    expect(results).toEqual(results.map(() => [0, 1, 2, 3]));
  });

  it('is woken from another process', async () => {
    const app = await boot();
    const other = await bootJobs({
      types: [Stepped],
      database: app.database,
      options: { role: 'producer' },
    });
    body = ask;
    const { id } = await app.jobs.enqueue(Stepped);
    await waiting(app, id, 'signal');
    await other.jobs.signal(id, 'approve', 'from there');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: { got: 'from there' } });
  });

  it('wakes a suspended job once it is resumed', async () => {
    const app = await boot();
    body = ask;
    const { id } = await app.jobs.enqueue(Stepped);
    await waiting(app, id, 'signal');
    await app.jobs.suspend(id);
    await app.jobs.resume(id);
    expect((await app.jobs.get(id)).waitingFor).toBe('signal');
    await app.jobs.suspend(id);
    await app.jobs.signal(id, 'approve', 1);
    expect(await app.jobs.get(id)).toMatchObject({ status: 'suspended', waitingFor: null });
    await app.jobs.resume(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: { got: 1 }, revision: 2 });
  });

  it('waits like any waiting job: it can be canceled, skipped and failed, and runs after a retry', async () => {
    const app = await boot();
    body = ask;
    const asleep = async (): Promise<string> => {
      const { id } = await app.jobs.enqueue(Stepped);
      await waiting(app, id, 'signal');
      return id;
    };
    const [canceled, skipped, failed] = [await asleep(), await asleep(), await asleep()];
    expect((await app.jobs.cancel(canceled)).status).toBe('canceled');
    expect((await app.jobs.skip(skipped)).status).toBe('skipped');
    expect((await app.jobs.fail(failed)).status).toBe('failed');
    for (const id of [canceled, skipped, failed]) {
      const refused = await refusal(app.jobs.signal(id, 'approve'));
      expect(refused.code).toBe('already_ended');
    }
    calls = [];
    await app.jobs.retry(canceled);
    await until(() => calls.includes('run 2'), 'the retry to run');
    await waiting(app, canceled, 'signal');
    await app.jobs.signal(canceled, 'approve', 'now');
    expect(await waitForEnd(app.jobs, canceled)).toMatchObject({ result: { got: 'now' } });
  });

  it('does not go on waiting for a signal when a run after it fails', async () => {
    const app = await boot();
    body = async (ctx) => {
      const got = await ctx.waitForSignal('x');
      if (ctx.attempt < 4) throw new Error('again');
      return got;
    };
    const { id } = await app.jobs.enqueue(Stepped);
    await waiting(app, id, 'signal');
    await app.jobs.signal(id, 'x', 1);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ result: 1, retries: 2 });
  });

  it('waits for its retry, not for a signal, when a run fails whose wait is over', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.waitForSignal('x', { timeout: 50 });
      throw new Error('fails');
    };
    const { id } = await app.jobs.enqueue(Stepped, {}, { retryDelay: '1h' });
    await until(async () => (await app.jobs.get(id)).retries === 1, 'the failure');
    expect((await app.jobs.get(id)).waitingFor).toBe('retry');
    await app.jobs.cancel(id);
  });

  it('takes a name and a timeout', async () => {
    const app = await boot();
    body = async (ctx) => [
      await codeOf(ctx.waitForSignal('')),
      await codeOf(ctx.waitForSignal('x', { timeout: 'soon' })),
      await codeOf(ctx.waitForSignal('x', { within: 1 } as object)),
    ];
    expect((await app.run(Stepped)).result).toEqual(Array(3).fill('invalid_request'));
  });
});

describe('JobsService.signal', () => {
  it('keeps to the tenant, the limits and what exists', async () => {
    const app = await boot({ limits: { result: 1000 } });
    const { id } = await app.jobs.enqueue(Stepped, {}, { delay: '1h', tenantId: 'ann' });
    const { signal } = { signal: app.jobs.signal.bind(app.jobs) };
    expect(await codeOf(signal(id, 'x', 1, { tenantId: 'bob' }))).toBe('not_found');
    expect(await codeOf(signal(newId(), 'x'))).toBe('not_found');
    expect(await codeOf(signal(id, 'x', 'y'.repeat(1001)))).toBe('too_large');
    expect(await codeOf(signal(id, 'x', () => 1))).toBe('invalid_request');
    expect(await codeOf(signal(id, ''))).toBe('invalid_request');
    expect(await codeOf(signal(id, 'x'.repeat(101)))).toBe('invalid_request');
    expect(await codeOf(signal(id, 'x', 1, { tenant: 'ann' } as object))).toBe('invalid_request');
    expect(await app.sql('SELECT 1 AS found FROM job_signals')).toEqual([]);
    expect(await codeOf(signal(id, 'x', 1, { tenantId: 'ann' }))).toBe('ok');
    await app.jobs.delete(id);
    expect(await app.sql('SELECT 1 AS found FROM job_signals')).toEqual([]);
  });
});

describe('a suspended run', () => {
  it('that asks to sleep meanwhile is suspended, and sleeps the rest after its resume', async () => {
    const app = await boot();
    body = async (ctx) => {
      if (ctx.attempt === 1) await gate.hold(ctx);
      await ctx.sleep('200ms');
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    const entry = await gate.entry(id);
    await app.jobs.suspend(id);
    entry.release();
    await waitForStatus(app.jobs, id, 'suspended');
    expect(await outcomes(app, id)).toEqual(['suspended']);
    await app.jobs.resume(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', result: 'done' });
  });
});
