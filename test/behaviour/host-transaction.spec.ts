import { describe, expect, it } from 'vitest';
import type { EntityManager } from 'typeorm';
import {
  JobType,
  SchedulesService,
  type Job,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import type { BootedJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { isLockAwaited } from '../support/locks.js';
import { longestStall } from '../support/loop-delay.js';
import { LOOPBACK } from '../support/receiver.js';
import { bootWithNotes, countNotes, Note } from '../support/notes.js';
import { refusal } from '../support/refusals.js';
import { until, waitForEnd, within } from '../support/waiting.js';

let calls: string[] = [];
const gate = handlerGate();

@JobType({ name: 'plain', maxRetries: 0 })
class Plain implements JobHandler {
  execute(ctx: JobContext): string {
    calls.push(ctx.job.id);
    return 'done';
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
  return bootWithNotes({ types: [Plain, Held], options });
}

describe('a transaction of the host', () => {
  /** Runs work of the engine's while the host's transaction is open, then rolls that back. */
  async function underHostTransaction(
    app: BootedJobs,
    writesFirst: boolean,
    work: (manager: EntityManager) => Promise<unknown>,
  ): Promise<void> {
    const runner = app.dataSource.createQueryRunner();
    await runner.connect();
    await runner.startTransaction();
    try {
      if (writesFirst) {
        await runner.manager.save(Note, { text: 'never committed' });
      }
      await work(runner.manager);
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
        // A server lets others write meanwhile.
        expect(calls).toHaveLength(isFile ? 0 : 2);
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
    expect(await countNotes(app)).toBe(0);
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
    expect(await countNotes(app)).toBe(2);
  });

  if (isFile) {
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
  }

  if (!isFile) {
    it('that has locked a job holds up who waits for that job, and nobody else', async () => {
      const app = await boot();
      const later = { delay: '1h' } as const;
      const [locked, free] = [
        await app.jobs.enqueue(Plain, undefined, later),
        await app.jobs.enqueue(Plain, undefined, later),
      ];
      const [row] = await app.sql<{ seq: string }>(
        `SELECT seq FROM jobs WHERE job_id = '${locked.id}'`,
      );
      const runner = app.dataSource.createQueryRunner();
      await runner.startTransaction();
      const slowest = { plain: 0, behind: 0, flow: 0, keyed: 0 };
      let [isOver, keys] = [false, 0];
      /** Enqueues one after the other, until the lock is gone. */
      const others = async (kind: keyof typeof slowest, enqueue: () => Promise<unknown>) => {
        while (!isOver) {
          const begun = performance.now();
          await enqueue();
          slowest[kind] = Math.max(slowest[kind], performance.now() - begun);
        }
      };
      try {
        await runner.query(`SELECT 1 FROM jobs WHERE seq = ${row?.seq} FOR UPDATE`);
        const begun = performance.now();
        const waiting = Array.from({ length: 20 }, async (_, at) => {
          const dependsOn = at % 2 === 0 ? [locked.id] : [free.id, locked.id];
          const error = await refusal(
            at % 5 === 0
              ? app.jobs.enqueueFlow({ only: { type: Plain, params: undefined, dependsOn } })
              : app.jobs.enqueue(Plain, undefined, { dependsOn }),
          );
          expect(error).toMatchObject({ code: 'database_busy' });
          return performance.now() - begun;
        });
        const went = [
          others('plain', () => app.jobs.enqueue(Plain, undefined, later)),
          others('plain', () => app.jobs.enqueue(Plain, undefined, later)),
          others('behind', () => app.jobs.enqueue(Plain, undefined, { dependsOn: [free.id] })),
          others('flow', () =>
            app.jobs.enqueueMany([{ type: Plain, params: undefined, dependsOn: [free.id] }]),
          ),
          others('keyed', () =>
            app.jobs.enqueue(Plain, undefined, { ...later, idempotencyKey: `${(keys += 1)}` }),
          ),
        ];
        const refused = await Promise.all(waiting);
        isOver = true;
        await Promise.all(went);
        expect(Math.min(...refused)).toBeGreaterThan(4500);
        expect(Math.max(...refused)).toBeLessThan(8000);
      } finally {
        isOver = true;
        await runner.rollbackTransaction();
        await runner.release();
      }
      for (const [kind, ms] of Object.entries(slowest)) {
        expect(ms, kind).toBeLessThan(1000);
      }
      await app.jobs.enqueue(Plain, undefined, { dependsOn: [locked.id] });
    });

    /** A job with a unique key that waits for another one, and what stands beside it under a lock. */
    async function underLockBeside(
      app: BootedJobs,
      work: (release: () => Promise<void>) => Promise<void>,
    ): Promise<void> {
      const { id: parent } = await app.jobs.enqueue(Plain, undefined, { delay: '1h' });
      const unique = { key: 'replaced', onConflict: 'replace' } as const;
      const child = await app.jobs.enqueue(Plain, undefined, { dependsOn: [parent], unique });
      const [row] = await app.sql<{ seq: string }>(
        `SELECT seq FROM jobs WHERE job_id = '${child.id}'`,
      );
      const runner = app.dataSource.createQueryRunner();
      await runner.startTransaction();
      try {
        await runner.query(`SELECT 1 FROM job_extras WHERE seq = ${row?.seq} FOR UPDATE`);
        await work(() => runner.rollbackTransaction());
      } finally {
        if (runner.isTransactionActive) {
          await runner.rollbackTransaction();
        }
        await runner.release();
      }
    }

    it('that holds up a flow does not change what its jobs wait for: each try finds anew which of them are one', async () => {
      const app = await boot();
      await app.queues.pause('default');
      const first = { key: 'first', until: 'started', onConflict: 'return' } as const;
      const there = await app.jobs.enqueue(Held, undefined, { unique: first });
      await underLockBeside(app, async (release) => {
        const unique = { key: 'replaced', onConflict: 'replace' } as const;
        const enqueued = app.jobs.enqueueFlow({
          a: { type: Plain, params: undefined, unique: first },
          b: { type: Plain, params: undefined, dependsOn: ['a', there.id] },
          c: { type: Plain, params: undefined, unique },
        });
        // What came behind it is stored, so it has been tried; it is tried again and again.
        await app.jobs.enqueue(Plain, undefined, { dependsOn: [there.id] });
        await app.queues.resume('default');
        const { release: end } = await gate.entry(there.id);
        // What was tried before that is over.
        await app.jobs.enqueue(Plain, undefined, { dependsOn: [there.id] });
        await release();
        const { a, b } = await enqueued;
        expect(a.id).not.toBe(there.id);
        const { dependsOn } = await app.jobs.get(b.id);
        expect(dependsOn.map(({ id }) => id)).toEqual([a.id, there.id]);
        await waitForEnd(app.jobs, a.id);
        expect((await app.jobs.get(b.id)).status).toBe('waiting');
        end();
        await waitForEnd(app.jobs, b.id);
      });
    });

    it('waits for a lock beside a job that it replaces, since to be refused it would undo all of the transaction', async () => {
      const app = await boot();
      await underLockBeside(app, async (release) => {
        const unique = { key: 'replaced', onConflict: 'replace' } as const;
        const replaced = app.dataSource.transaction(async (manager) => {
          await manager.save(Note, { text: 'kept' });
          return app.jobs.enqueue(Plain, { n: 2 }, { unique, manager });
        });
        await until(() => isLockAwaited(app), 'the transaction at the lock');
        await release();
        const { id } = await replaced;
        expect(await app.jobs.get(id)).toMatchObject({ status: 'waiting', params: { n: 2 } });
        expect(await countNotes(app)).toBe(1);
      });
    });
  }

  /** A schedule with a job that waits, and an endpoint that was told something. */
  async function bootRemovable() {
    const app = await boot({ webhooks: { ...LOOPBACK, retry: ['1h'] } });
    await app.queues.pause('default');
    const schedules = app.get(SchedulesService);
    await schedules.upsert({ name: 'hourly', type: Plain, every: '1h' });
    const job = await schedules.runNow('hourly');
    const { id: hook } = await app.webhooks.create({ url: 'http://127.0.0.1:9/' });
    await app.jobs.enqueue(Plain);
    return { app, schedules, job, hook };
  }

  it('that has locked them refuses who deletes a schedule or a webhook after five seconds, and the same call does it later', async () => {
    const { app, schedules, job, hook } = await bootRemovable();
    const [row] = await app.sql<{ seq: string }>(`SELECT seq FROM jobs WHERE job_id = '${job.id}'`);
    const begun = performance.now();
    await underHostTransaction(app, true, async (manager) => {
      if (!isFile) {
        await manager.query(`SELECT 1 FROM jobs WHERE seq = ${row?.seq} FOR UPDATE`);
        await manager.query(`SELECT 1 FROM job_webhooks WHERE id = '${hook}' FOR UPDATE`);
      }
      const errors = await Promise.all([
        refusal(schedules.delete('hourly', { cancelWaiting: true })),
        refusal(app.webhooks.delete(hook)),
      ]);
      expect(errors.map(({ code }) => code)).toEqual(['database_busy', 'database_busy']);
      expect(isFile || /"hourly" is there still, and paused/.test(errors[0]?.message ?? '')).toBe(
        true,
      );
    });
    expect(performance.now() - begun).toBeLessThan(9000);
    expect((await app.jobs.get(job.id)).status).toBe('waiting');
    await schedules.delete('hourly', { cancelWaiting: true });
    await app.webhooks.delete(hook);
    expect((await app.jobs.get(job.id)).status).toBe('canceled');
    expect(await schedules.list()).toEqual([]);
    expect(await app.webhooks.list()).toEqual([]);
  });

  if (!isFile) {
    it('that has locked what is left of them keeps nobody from deleting a schedule or a webhook', async () => {
      const { app, schedules, hook } = await bootRemovable();
      await until(
        async () => (await app.sql('SELECT 1 FROM job_deliveries')).length > 0,
        'a delivery',
      );
      await underHostTransaction(app, false, async (manager) => {
        await manager.query('SELECT 1 FROM job_schedule_jobs FOR UPDATE');
        await manager.query('SELECT 1 FROM job_deliveries FOR UPDATE');
        await within(schedules.delete('hourly'), 'the schedule', 8000);
        await within(app.webhooks.delete(hook), 'the webhook', 8000);
      });
      expect(await schedules.list()).toEqual([]);
      expect(await app.webhooks.list()).toEqual([]);
    }, 30_000);
  }

  it('does not keep reads from working', async () => {
    const app = await boot();
    const job = await app.run(Plain);
    await underHostTransaction(app, true, async () => {
      expect((await within(app.jobs.get(job.id), 'get', 1000)).status).toBe('completed');
      expect((await within(app.jobs.list(), 'list', 1000)).total).toBe(1);
    });
  });

  it('is seen by the engine from its commit on, also while the engine waits to write', async () => {
    const app = await boot();
    const { id: other } = await app.jobs.enqueue(Plain, undefined, { delay: '1h' });
    for (let round = 0; round < 20; round += 1) {
      let waiting: Promise<unknown> | undefined;
      const { id } = await app.dataSource.transaction(async (manager) => {
        const enqueued = await app.jobs.enqueue(Plain, undefined, { manager, delay: '1h' });
        waiting = app.jobs.enqueue(Plain);
        // Long enough for the engine to have met the lock, as it does at once.
        for (let read = 0; read < 30; read += 1) {
          await app.jobs.get(other);
        }
        return enqueued;
      });
      expect((await app.jobs.get(id)).id).toBe(id);
      await waiting;
    }
  });
});
