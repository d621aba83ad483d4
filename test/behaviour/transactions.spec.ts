import { TypeOrmModule } from '@nestjs/typeorm';
import type { EntityManager, QueryRunner } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { JobType, type Job, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { deferred, handlerGate } from '../support/gate.js';
import { longestStall } from '../support/loop-delay.js';
import { Note } from '../support/note.entity.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus, within } from '../support/waiting.js';

let calls: string[] = [];
let body: (ctx: JobContext<unknown, EntityManager>) => unknown = () => undefined;
const gate = handlerGate();

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

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

function boot(options: object = {}): Promise<BootedJobs> {
  calls = [];
  body = () => undefined;
  return bootJobs({
    types: [Plain, Chosen, Held],
    options,
    imports: [TypeOrmModule.forFeature([Note])],
    typeorm: { synchronize: true },
  });
}

function notes(app: BootedJobs): Promise<number> {
  return app.dataSource.getRepository(Note).count();
}

class RollBack extends Error {}

async function rolledBack(work: Promise<unknown>): Promise<void> {
  await expect(work).rejects.toBeInstanceOf(RollBack);
}

describe("enqueue with the caller's manager", () => {
  it('exists and runs once the transaction commits, and not before', async () => {
    const app = await boot();
    let id = '';
    await app.dataSource.transaction(async (manager) => {
      await manager.save(Note, { text: 'x' });
      const job = await app.jobs.enqueue(Plain, { a: 1 }, { manager, idempotencyKey: 'k' });
      id = job.id;
      expect(job).toMatchObject({ outcome: 'created', status: 'waiting' });
      expect(await codeOf(app.jobs.get(id))).toBe('not_found');
      expect(calls).toEqual([]);
    });
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'completed', params: { a: 1 }, idempotencyKey: 'k' });
    expect(await notes(app)).toBe(1);
  });

  it('leaves nothing when it rolls back: no job, no note, nobody woken', async () => {
    const app = await boot();
    let id = '';
    await rolledBack(
      app.dataSource.transaction(async (manager) => {
        await manager.save(Note, { text: 'x' });
        id = (await app.jobs.enqueue(Plain, undefined, { manager, idempotencyKey: 'k' })).id;
        throw new RollBack();
      }),
    );
    expect(await codeOf(app.jobs.get(id))).toBe('not_found');
    expect((await app.run(Plain)).status).toBe('completed');
    expect(calls).not.toContain(id);
    expect(await notes(app)).toBe(0);
    expect((await app.jobs.list()).total).toBe(1);
    // The key was never taken.
    expect((await app.jobs.enqueue(Plain, undefined, { idempotencyKey: 'k' })).outcome).toBe(
      'created',
    );
  });

  it('wakes the worker after the commit, without waiting for a poll', async () => {
    const app = await boot();
    const pickups: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const { id } = await app.dataSource.transaction((manager) =>
        app.jobs.enqueue(Plain, undefined, { manager }),
      );
      const committed = performance.now();
      await waitForEnd(app.jobs, id);
      pickups.push(performance.now() - committed);
    }
    expect(Math.min(...pickups)).toBeLessThan(150);
  });

  it('follows the outermost commit: a nested transaction that commits is not the end', async () => {
    const app = await boot();
    let inner = '';
    await rolledBack(
      app.dataSource.transaction(async (outer) => {
        await outer.transaction(async (nested) => {
          inner = (await app.jobs.enqueue(Plain, undefined, { manager: nested })).id;
        });
        throw new RollBack();
      }),
    );
    expect(await codeOf(app.jobs.get(inner))).toBe('not_found');

    await app.dataSource.transaction(async (outer) => {
      await outer.transaction(async (nested) => {
        inner = (await app.jobs.enqueue(Plain, undefined, { manager: nested })).id;
      });
      expect(calls).toEqual([]);
    });
    expect((await waitForEnd(app.jobs, inner)).status).toBe('completed');
  });

  it('loses only what was enqueued inside a savepoint that is rolled back', async () => {
    const app = await boot();
    let kept = '';
    let lost = '';
    await app.dataSource.transaction(async (outer) => {
      kept = (await app.jobs.enqueue(Plain, undefined, { manager: outer })).id;
      await rolledBack(
        outer.transaction(async (nested) => {
          lost = (await app.jobs.enqueue(Plain, undefined, { manager: nested })).id;
          throw new RollBack();
        }),
      );
    });
    expect((await waitForEnd(app.jobs, kept)).status).toBe('completed');
    expect(await codeOf(app.jobs.get(lost))).toBe('not_found');
    expect(calls).toEqual([kept]);
  });

  it('works with a query runner by hand', async () => {
    const app = await boot();
    const runner: QueryRunner = app.dataSource.createQueryRunner();
    await runner.connect();
    await runner.startTransaction();
    const first = await app.jobs.enqueue(Plain, undefined, { manager: runner.manager });
    await runner.commitTransaction();
    expect((await waitForEnd(app.jobs, first.id)).status).toBe('completed');
    await runner.startTransaction();
    const second = await app.jobs.enqueue(Plain, undefined, { manager: runner.manager });
    await runner.rollbackTransaction();
    await runner.release();
    expect(await codeOf(app.jobs.get(second.id))).toBe('not_found');
  });

  it('works with a manager that is in no transaction', async () => {
    const app = await boot();
    const { id } = await app.jobs.enqueue(Plain, undefined, { manager: app.dataSource.manager });
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('sees its own key, and replays it inside the same transaction', async () => {
    const app = await boot();
    const [first, second] = await app.dataSource.transaction(async (manager) => [
      await app.jobs.enqueue(Plain, { a: 1 }, { manager, idempotencyKey: 'k' }),
      await app.jobs.enqueue(Plain, { a: 1 }, { manager, idempotencyKey: 'k' }),
    ]);
    expect(second).toMatchObject({ id: first?.id, outcome: 'replayed' });
    expect((await app.jobs.list()).total).toBe(1);
  });

  it('goes for many at once as well', async () => {
    const app = await boot();
    await rolledBack(
      app.dataSource.transaction(async (manager) => {
        await app.jobs.enqueueMany([{ type: Plain }, { type: Plain }], { manager });
        throw new RollBack();
      }),
    );
    expect((await app.jobs.list()).total).toBe(0);
    const outcomes = await app.dataSource.transaction((manager) =>
      app.jobs.enqueueMany([{ type: Plain }, { type: Plain }], { manager }),
    );
    await Promise.all(outcomes.map((each) => waitForEnd(app.jobs, each.job?.id ?? '')));
    expect(calls).toHaveLength(2);
  });

  it('refused by validation leaves the transaction usable', async () => {
    const app = await boot();
    await app.dataSource.transaction(async (manager) => {
      expect(await codeOf(app.jobs.enqueue('no:such', undefined, { manager }))).toBe(
        'unknown_type',
      );
      await manager.save(Note, { text: 'still here' });
    });
    expect(await notes(app)).toBe(1);
  });

  it('refuses what is no manager', async () => {
    const app = await boot();
    expect(await codeOf(app.jobs.enqueue(Plain, undefined, { manager: {} }))).toBe(
      'invalid_request',
    );
    expect((await app.jobs.list()).total).toBe(0);
  });
});

describe('a transaction of the host', () => {
  /** Runs work of the engine's while the host's transaction is open, then rolls that back. */
  async function underHostTransaction(
    app: BootedJobs,
    writesFirst: boolean,
    work: () => Promise<unknown>,
  ): Promise<void> {
    const runner = app.dataSource.createQueryRunner();
    await runner.connect();
    await runner.startTransaction();
    try {
      if (writesFirst) {
        await runner.manager.save(Note, { text: 'never committed' });
      }
      await work();
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  }

  it('open for two seconds before its first write and rolled back swallows nothing of the engine', async () => {
    const app = await boot();
    const ids: string[] = [];
    const opened = Date.now();
    await underHostTransaction(app, false, async () => {
      while (Date.now() < opened + 2000) {
        const { id } = await app.jobs.enqueue(Plain);
        ids.push(id);
        await waitForEnd(app.jobs, id);
      }
    });
    expect(ids.length).toBeGreaterThan(10);
    for (const id of ids) {
      expect(await app.jobs.get(id)).toMatchObject({
        status: 'completed',
        result: 'done',
        revision: 1,
      });
    }
    expect((await app.run(Plain)).status).toBe('completed');
    expect(new Set(calls).size).toBe(calls.length);
  });

  it('open for two seconds after its first write and rolled back swallows nothing either', async () => {
    const app = await boot();
    const held = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(held.id);
    const opened = Date.now();
    const pending: Promise<Job>[] = [];
    const checkpoints: Promise<void>[] = [];
    const stall = await longestStall(() =>
      underHostTransaction(app, true, async () => {
        // The engine cannot write while the host holds the lock: it waits, and the loop lives on.
        pending.push(app.jobs.enqueue(Plain), app.jobs.enqueue(Plain));
        checkpoints.push(ctx.checkpoint({ saved: true }));
        ctx.progress(0.4);
        await until(() => Date.now() > opened + 2000, 'two seconds');
        expect(calls).toEqual([]);
      }),
    );
    const jobs = await Promise.all(pending);
    await Promise.all(checkpoints);
    for (const { id } of jobs) {
      expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
    }
    expect(await app.jobs.get(held.id)).toMatchObject({
      status: 'running',
      state: { saved: true },
    });
    release('kept');
    expect(await waitForEnd(app.jobs, held.id)).toMatchObject({
      status: 'completed',
      result: 'kept',
      lost: 0,
    });
    expect(await notes(app)).toBe(0);
    // A busy timeout that blocks would stand at its length, in seconds.
    expect(stall).toBeLessThan(500);
  });

  it('can itself commit while the engine waits: neither waits for the other', async () => {
    const app = await boot();
    const [job] = await within(
      Promise.all([
        (async () => {
          await Promise.resolve();
          return app.run(Plain);
        })(),
        app.dataSource.transaction(async (manager) => {
          await manager.save(Note, { text: 'first' });
          const begun = Date.now();
          await until(() => Date.now() > begun + 300);
          await manager.save(Note, { text: 'second' });
        }),
      ]),
      'both',
    );
    expect(job.status).toBe('completed');
    expect(await notes(app)).toBe(2);
  });

  it('that awaits a write of the engine without passing its manager gets database_busy, which names it', async () => {
    const app = await boot();
    const begun = performance.now();
    await underHostTransaction(app, true, async () => {
      const error = await refusal(app.jobs.enqueue(Plain));
      expect(error).toMatchObject({ code: 'database_busy', status: 503 });
      expect(error.message).toMatch(/manager/);
    });
    const took = performance.now() - begun;
    expect(took).toBeGreaterThan(4000);
    expect(took).toBeLessThan(9000);
    expect((await app.jobs.list()).total).toBe(0);
    expect((await app.run(Plain)).status).toBe('completed');
  });

  it('does not keep reads from working', async () => {
    const app = await boot();
    const job = await app.run(Plain);
    await underHostTransaction(app, true, async () => {
      expect((await within(app.jobs.get(job.id), 'get', 1000)).status).toBe('completed');
      expect((await within(app.jobs.list(), 'list', 1000)).total).toBe(1);
    });
  });
});

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
    expect(await notes(app)).toBe(1);
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
    expect(await notes(app)).toBe(0);
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
    expect(await notes(app)).toBe(1);
    expect((await app.run(Plain)).status).toBe('completed');
    expect(await app.jobs.get(job.id)).toEqual(job);
    expect(typeof after).toBe('boolean');
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
    expect(await notes(app)).toBe(1);
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
    expect(await notes(app)).toBe(0);
  });

  it('two at once take turns', async () => {
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
    expect(await notes(app)).toBe(3);
    spans.sort(([a], [b]) => a - b);
    for (let n = 1; n < spans.length; n += 1) {
      expect((spans[n] as [number, number])[0]).toBeGreaterThanOrEqual(
        (spans[n - 1] as [number, number])[1] - 1,
      );
    }
  });

  it('does not keep the host from its own transactions afterwards', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.transaction(async (manager) => void (await manager.save(Note, { text: 'x' })));
    await app.run(Chosen);
    await app.dataSource.transaction((manager) => manager.save(Note, { text: 'y' }));
    expect(await notes(app)).toBe(2);
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
