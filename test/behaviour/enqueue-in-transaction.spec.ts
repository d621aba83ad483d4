import { Injectable } from '@nestjs/common';
import { DataSource, type DataSourceOptions, type EntityManager, type QueryRunner } from 'typeorm';
import { describe, expect, it } from 'vitest';
import {
  InjectQueueWorker,
  JobType,
  QueueWorker,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import type { BootedJobs } from '../support/boot.js';
import { createDatabase, isFile } from '../support/databases.js';
import { bootWithNotes, countNotes, Note, RollBack, rolledBack } from '../support/notes.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

let calls: string[] = [];

@JobType({ name: 'plain', maxRetries: 0 })
class Plain implements JobHandler {
  execute(ctx: JobContext): string {
    calls.push(ctx.job.id);
    return 'done';
  }
}

@Injectable()
class QueueWorkers {
  constructor(@InjectQueueWorker('default') readonly worker: QueueWorker) {}
}

function boot(options: object = {}): Promise<BootedJobs> {
  calls = [];
  return bootWithNotes({ types: [Plain], options, providers: [QueueWorkers] });
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
    expect(await countNotes(app)).toBe(1);
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
    expect(await countNotes(app)).toBe(0);
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

  it('tells of the job after the outermost commit, and never of one that was rolled back', async () => {
    const app = await boot();
    const told: string[] = [];
    app
      .get(QueueWorkers)
      .worker.events$.subscribe((event) => told.push(`${event.jobId}:${event.status}`));
    let kept = '';
    let lost = '';
    await app.dataSource.transaction(async (outer) => {
      await outer.transaction(async (nested) => {
        kept = (await app.jobs.enqueue(Plain, undefined, { manager: nested })).id;
      });
      await rolledBack(
        outer.transaction(async (nested) => {
          lost = (await app.jobs.enqueue(Plain, undefined, { manager: nested })).id;
          throw new RollBack();
        }),
      );
      expect(told).toEqual([]);
    });
    await waitForEnd(app.jobs, kept);
    await rolledBack(
      app.dataSource.transaction(async (manager) => {
        lost = (await app.jobs.enqueue(Plain, undefined, { manager })).id;
        throw new RollBack();
      }),
    );
    expect((await app.run(Plain)).status).toBe('completed');
    expect(told.slice(0, 3)).toEqual([`${kept}:waiting`, `${kept}:running`, `${kept}:completed`]);
    expect(told.filter((each) => each.startsWith(lost))).toEqual([]);
    const ids = new Set(told.map((each) => each.split(':')[0]));
    expect(ids.size).toBe(2);
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

  if (!isFile) {
    it('waits for a lock like any other with a manager that is in no transaction', async () => {
      const app = await boot();
      const runner = app.dataSource.createQueryRunner();
      await runner.startTransaction();
      const options = { idempotencyKey: 'k' };
      const first = await app.jobs.enqueue(Plain, {}, { ...options, manager: runner.manager });
      const begun = performance.now();
      const second = app.jobs.enqueue(Plain, {}, { ...options, manager: app.dataSource.manager });
      second.catch(() => undefined);
      // Longer than the server lets the engine's sessions wait at a time.
      await until(() => performance.now() > begun + 1500);
      await runner.commitTransaction();
      await runner.release();
      expect(await second).toMatchObject({ id: first.id, outcome: 'replayed' });
    });
  }

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
    expect(await countNotes(app)).toBe(1);
  });

  it('refuses the manager of another data source', async () => {
    const app = await boot();
    const other = new DataSource(createDatabase().options() as DataSourceOptions);
    await other.initialize();
    try {
      await other.transaction(async (manager) => {
        const error = await refusal(app.jobs.enqueue(Plain, undefined, { manager }));
        expect(error.code).toBe('invalid_request');
        expect(error.message).toMatch(/manager/);
      });
    } finally {
      await other.destroy();
    }
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('refuses what is no manager', async () => {
    const app = await boot();
    expect(await codeOf(app.jobs.enqueue(Plain, undefined, { manager: {} as EntityManager }))).toBe(
      'invalid_request',
    );
    expect((await app.jobs.list()).total).toBe(0);
  });
});
