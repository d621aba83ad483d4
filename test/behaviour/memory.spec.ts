import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { deferred, handlerGate } from '../support/gate.js';
import { waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'joins' })
class Joins implements JobHandler {
  async execute(ctx: JobContext): Promise<unknown> {
    await gate.hold(ctx);
    return ctx.transaction(async () => {
      await ctx.checkpoint('inside');
      return 'joined';
    });
  }
}

describe('a transaction of the host on a database in memory, which has one connection', () => {
  it('makes the engine wait: no outcome is lost, no run is made twice', async () => {
    const app = await bootJobs({ types: [Held, Joins], typeorm: { database: ':memory:' } });
    const ending = await app.jobs.enqueue(Held);
    const joining = await app.jobs.enqueue(Joins);
    const [ends, joins] = [await gate.entry(ending.id), await gate.entry(joining.id)];
    const open = deferred();
    const begun = deferred();
    const transaction = app.dataSource.transaction(async (manager) => {
      await manager.query('SELECT 1');
      begun.resolve();
      await open.promise;
    });
    await begun.promise;
    ends.release('kept');
    joins.release();
    const added = app.jobs.enqueue(Held);
    // Long enough for the engine to have tried.
    const health = await app.stats.health();
    expect(health.status).toBe('ok');
    for (let turn = 0; turn < 50; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    open.resolve();
    await transaction;
    expect(await waitForEnd(app.jobs, ending.id)).toMatchObject({
      status: 'completed',
      result: 'kept',
      revision: 1,
    });
    expect(await waitForEnd(app.jobs, joining.id)).toMatchObject({
      status: 'completed',
      result: 'joined',
      state: 'inside',
    });
    const entry = await gate.entry((await added).id);
    entry.release('too');
    expect((await waitForEnd(app.jobs, entry.ctx.job.id)).result).toBe('too');
    expect(app.log.texts('error')).toEqual([]);
  });

  it('takes no job with it that was enqueued beside it when it is rolled back', async () => {
    const app = await bootJobs({
      types: [Held],
      typeorm: { database: ':memory:' },
      options: { role: 'producer' },
    });
    await app.jobs.enqueue(Held);
    const open = deferred();
    const begun = deferred();
    const transaction = app.dataSource.transaction(async (manager) => {
      await manager.query('SELECT 1');
      begun.resolve();
      await open.promise;
      throw new Error('taken back');
    });
    const refused = expect(transaction).rejects.toThrow('taken back');
    await begun.promise;
    const beside = app.jobs.enqueue(Held);
    // Long enough for the engine to have tried.
    for (let turn = 0; turn < 50; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    open.resolve();
    await refused;
    const { id } = await beside;
    expect(await app.jobs.get(id)).toMatchObject({ id, status: 'waiting' });
  });
});
