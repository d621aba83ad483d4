import type { EntityManager } from 'typeorm';
import { describe, expect, it } from 'vitest';
import {
  JobType,
  type Job,
  type JobContext,
  type JobHandler,
  type OnJobStateUpdate,
} from '../../lib/index.js';
import type { BootedJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';
import { deferred } from '../support/gate.js';
import { bootWithNotes, countNotes, Note, RollBack } from '../support/notes.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus, within } from '../support/waiting.js';

let calls: string[] = [];
let body: (ctx: JobContext<unknown, EntityManager>) => unknown = () => undefined;

@JobType({ name: 'plain', maxRetries: 0 })
class Plain implements JobHandler {
  execute(ctx: JobContext): string {
    calls.push(ctx.job.id);
    return 'done';
  }
}

@JobType({ name: 'chosen' })
class Chosen implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx as JobContext<unknown, EntityManager>);
  }
}

let updates: [status: string, progress: number, result: unknown][] = [];

@JobType({ name: 'heard' })
class Heard extends Chosen implements OnJobStateUpdate {
  onJobStateUpdate({ status, progress, result }: Job): void {
    updates.push([status, progress, result]);
  }
}

function boot(options: object = {}): Promise<BootedJobs> {
  calls = [];
  updates = [];
  body = () => undefined;
  return bootWithNotes({ types: [Plain, Chosen, Heard], options });
}

describe('ctx.transaction', () => {
  it('commits the writes of the host and of the context together', async () => {
    const app = await boot();
    body = async (ctx) => {
      const child = await ctx.transaction(async (manager) => {
        await manager.save(Note, { text: 'x' });
        await ctx.checkpoint({ page: 1 });
        await ctx.setResult('partial');
        ctx.progress(0.5);
        return (await ctx.enqueue(Plain)).id;
      });
      return child;
    };
    const job = await app.run(Chosen);
    expect(job).toMatchObject({ status: 'completed', state: { page: 1 } });
    expect(await countNotes(app)).toBe(1);
    expect(await waitForEnd(app.jobs, job.result as string)).toMatchObject({
      status: 'completed',
      upstreamJobId: job.id,
    });
  });

  it('rolls all of it back when its work throws', async () => {
    const app = await boot();
    let child = '';
    body = (ctx) =>
      ctx.transaction(async (manager) => {
        await manager.save(Note, { text: 'x' });
        await ctx.checkpoint({ page: 1 });
        await ctx.setResult('partial');
        child = (await ctx.enqueue(Plain)).id;
        throw new Error('broke inside');
      });
    const job = await app.run(Chosen);
    expect(job).toMatchObject({ status: 'failed', state: null, result: null });
    expect(job.error).toMatch(/broke inside/);
    expect(await countNotes(app)).toBe(0);
    expect(await codeOf(app.jobs.get(child))).toBe('not_found');
    expect((await app.run(Plain)).status).toBe('completed');
    expect(calls).not.toContain(child);
  });

  it('shows the context what it stored, and nothing after a roll-back', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.checkpoint('before');
      const states = [ctx.state];
      await ctx
        .transaction(async () => {
          await ctx.checkpoint('inside');
          states.push(ctx.state);
          throw new RollBack();
        })
        .catch(() => undefined);
      states.push(ctx.state);
      return states;
    };
    expect((await app.run(Chosen)).result).toEqual(['before', 'inside', 'before']);
  });

  it('with complete: true ends the job in the same commit, with its value as the result', async () => {
    const app = await boot();
    let after = false;
    body = async (ctx) => {
      await ctx.transaction(
        async (manager) => {
          await manager.save(Note, { text: 'x' });
          return { rows: 1 };
        },
        { complete: true },
      );
      after = true;
      return 'ignored';
    };
    const job = await app.run(Chosen);
    expect(job).toMatchObject({
      status: 'completed',
      result: { rows: 1 },
      progress: 1,
      revision: 1,
    });
    expect(await app.jobs.runs(job.id)).toMatchObject([{ outcome: 'completed' }]);
    expect(await countNotes(app)).toBe(1);
    expect((await app.run(Plain)).status).toBe('completed');
    expect(await app.jobs.get(job.id)).toEqual(job);
    expect(typeof after).toBe('boolean');
  });

  it('takes progress along: stored with the commit, gone with a roll-back', async () => {
    const app = await boot();
    body = async (ctx) => {
      ctx.progress(0.1);
      await ctx.transaction(async () => {
        ctx.progress(0.9, 'inside');
        await Promise.resolve();
        throw new RollBack();
      });
    };
    const lost = await app.run(Chosen);
    expect(lost).toMatchObject({ status: 'failed', progress: 0.1, progressDetails: null });

    body = (ctx) =>
      ctx.transaction(
        async () => {
          ctx.progress({ completed: 5, total: 5, message: 'all' });
          return Promise.resolve('done');
        },
        { complete: true },
      );
    expect(await app.run(Chosen)).toMatchObject({
      status: 'completed',
      completed: 5,
      total: 5,
      progressDetails: 'all',
      result: 'done',
    });
  });

  it('tells of progress and results when they are committed, and of none that are rolled back', async () => {
    const app = await boot();
    const inside: boolean[] = [];
    const isTold = (result: unknown, progress: number): boolean =>
      updates.some(([, done, told]) => told === result && done === progress);
    body = async (ctx) => {
      const lost = ctx.transaction(async () => {
        await ctx.setResult('lost');
        ctx.progress(0.9);
        throw new RollBack();
      });
      await lost.catch(() => undefined);
      await ctx.transaction(async (manager) => {
        await ctx.setResult('kept');
        ctx.progress(0.5);
        await manager.save(Note, { text: 'x' });
        inside.push(updates.some(([, , told]) => told === 'kept'));
      });
      await until(() => isTold('kept', 0.5), 'what was committed');
    };
    const job = await app.run(Heard);
    expect(job).toMatchObject({ status: 'completed', result: 'kept' });
    await until(() => updates.some(([status]) => status === 'completed'), 'the end');
    expect(inside).toEqual([false]);
    expect(updates.filter(([, progress, told]) => told === 'lost' || progress === 0.9)).toEqual([]);
  });

  it('with complete: true that throws leaves the job to its retry', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.transaction(
        async (manager) => {
          await manager.save(Note, { text: 'x' });
          if (ctx.attempt === 1) {
            throw new Error('first time');
          }
          return 'second';
        },
        { complete: true },
      );
    const job = await app.run(Chosen, undefined, { maxRetries: 1, retryDelay: 0 });
    expect(job).toMatchObject({ status: 'completed', result: 'second', retries: 1 });
    expect(await countNotes(app)).toBe(1);
  });

  it('is refused to a run that lost its job, and writes nothing of the host', async () => {
    const app = await boot({ grace: { shutdown: '50ms', signal: '50ms' } });
    const codes: string[] = [];
    const over = deferred();
    body = async (ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve, { once: true }));
      await until(async () => (await app.jobs.get(ctx.job.id)).status === 'timeout', 'the end');
      codes.push(
        await codeOf(
          ctx.transaction(async (manager) => {
            await manager.save(Note, { text: 'must not be' });
          }),
        ),
      );
      over.resolve();
    };
    await app.run(Chosen, undefined, { timeout: '60ms' });
    await within(over.promise, 'the late handler');
    expect(codes).toEqual(['lease_lost']);
    expect(await countNotes(app)).toBe(0);
  });

  it('that outlives its timeout is rolled back by force, and everybody can write again', async () => {
    const app = await boot({ grace: { shutdown: '50ms', signal: '100ms' } });
    const go = deferred();
    const late = deferred<unknown>();
    body = (ctx) =>
      ctx.transaction(
        async (manager) => {
          await manager.save(Note, { text: 'before' });
          await go.promise;
          // Far too late: the run is over, and so is its transaction.
          await manager.save(Note, { text: 'after' }).then(late.resolve, late.resolve);
          return 'too late';
        },
        { complete: true },
      );
    const { id } = await app.jobs.enqueue(Chosen, undefined, { timeout: '100ms' });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'timeout', result: null });
    expect((await app.run(Plain)).status).toBe('completed');
    go.resolve();
    await late.promise;
    expect((await app.run(Plain)).status).toBe('completed');
    expect(await countNotes(app)).toBe(0);
    expect(await app.jobs.get(id)).toMatchObject({ status: 'timeout', result: null });

    // The next handler has a transaction as if nothing had been.
    body = (ctx) =>
      ctx.transaction(async (manager) => manager.save(Note, { text: 'next' }), { complete: true });
    expect((await app.run(Chosen)).status).toBe('completed');
    expect(await countNotes(app)).toBe(1);
  });

  it('that never ends does not keep the application from closing', async () => {
    const app = await boot({ grace: { shutdown: '50ms', signal: '100ms' } });
    const inside = deferred();
    body = (ctx) =>
      ctx.transaction(async (manager) => {
        await manager.save(Note, { text: 'never' });
        inside.resolve();
        await new Promise(() => undefined);
      });
    const { id } = await app.jobs.enqueue(Chosen);
    await inside.promise;
    const asked = performance.now();
    await app.close();
    expect(performance.now() - asked).toBeLessThan(3000);
    const after = await bootWithNotes({
      types: [Plain, Chosen],
      database: app.database,
      options: { role: 'producer' },
    });
    expect(await after.jobs.get(id)).toMatchObject({ status: 'waiting', retries: 0, lost: 0 });
    expect(await countNotes(after)).toBe(0);
  });

  it('is one at a time for a handler: a second one is refused while the first is being opened', async () => {
    const app = await boot();
    body = async (ctx) => {
      const [first, second] = await Promise.all([
        ctx.transaction(async (manager) => (await manager.save(Note, { text: 'x' })).text),
        ctx.transaction((manager) => manager.save(Note, { text: 'y' })).catch(String),
      ]);
      // And again when the first is over.
      await ctx.transaction((manager) => manager.save(Note, { text: 'z' }));
      return [first, second];
    };
    const job = await app.run(Chosen);
    expect(job.status).toBe('completed');
    expect(job.result).toEqual(['x', expect.stringMatching(/has a ctx.transaction open already/)]);
    expect(await countNotes(app)).toBe(2);
  });

  it('that hangs ends with its run, though a second one was asked for beside it', async () => {
    const app = await boot({ grace: { shutdown: '50ms', signal: '50ms' } });
    body = (ctx) =>
      Promise.allSettled([
        ctx.transaction(() => new Promise(() => undefined)),
        ctx.transaction(() => Promise.resolve()),
      ]);
    const { id } = await app.jobs.enqueue(Chosen, undefined, { timeout: '100ms' });
    expect((await waitForEnd(app.jobs, id)).status).toBe('timeout');
    expect((await app.run(Plain)).status).toBe('completed');
    const asked = performance.now();
    await app.close();
    expect(performance.now() - asked).toBeLessThan(3000);
  });

  it('warns of nothing when there are many at once', async () => {
    const app = await boot({ queues: { default: 16 } });
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    body = (ctx) => ctx.transaction((manager) => manager.save(Note, { text: 'x' }));
    const jobs = await Promise.all(Array.from({ length: 32 }, () => app.jobs.enqueue(Chosen)));
    await Promise.all(jobs.map(({ id }) => waitForEnd(app.jobs, id)));
    process.off('warning', warned);
    expect(warnings).toEqual([]);
  });

  it('two at once take turns on a file, and none on a server', async () => {
    const app = await boot();
    const spans: [number, number][] = [];
    body = (ctx) =>
      ctx.transaction(async (manager) => {
        const begun = performance.now();
        await manager.save(Note, { text: 'x' });
        const started = Date.now();
        await until(() => Date.now() > started + 100);
        spans.push([begun, performance.now()]);
        return ctx.attempt;
      });
    const jobs = await Promise.all([
      app.jobs.enqueue(Chosen),
      app.jobs.enqueue(Chosen),
      app.jobs.enqueue(Chosen),
    ]);
    const ended = await Promise.all(jobs.map(({ id }) => waitForEnd(app.jobs, id)));
    expect(ended.map((job) => job.status)).toEqual(['completed', 'completed', 'completed']);
    expect(await countNotes(app)).toBe(3);
    spans.sort(([a], [b]) => a - b);
    const overlap = spans.some(
      ([begun], at) => at > 0 && begun < (spans[at - 1] as [number, number])[1] - 1,
    );
    expect(overlap).toBe(!isFile);
  });

  it('does not keep the host from its own transactions afterwards', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.transaction(async (manager) => void (await manager.save(Note, { text: 'x' })));
    await app.run(Chosen);
    await app.dataSource.transaction((manager) => manager.save(Note, { text: 'y' }));
    expect(await countNotes(app)).toBe(2);
  });

  it('of a job that is canceled meanwhile: cancel wins', async () => {
    const app = await boot();
    const inside = deferred();
    const go = deferred();
    body = (ctx) =>
      ctx.transaction(
        async (manager) => {
          await manager.save(Note, { text: 'x' });
          inside.resolve();
          await go.promise;
          return 'finished';
        },
        { complete: true },
      );
    const { id } = await app.jobs.enqueue(Chosen);
    await inside.promise;
    const cancel = codeOf(app.jobs.cancel(id));
    go.resolve();
    const job = await waitForEnd(app.jobs, id);
    expect(await cancel).toBe('ok');
    expect(['canceled', 'completed']).toContain(job.status);
    await waitForStatus(app.jobs, id, job.status);
    expect((await app.run(Plain)).status).toBe('completed');
  });
});
