import { expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

const gate = handlerGate();

@JobType({ group: 'compute', name: 'gated' })
class Gated implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

const unique = { key: 'race' };

it('one of many transactions of the host’s that want a unique key gets it, and the others are told', async () => {
  const app = await bootJobs({ types: [Plain], options: { role: 'producer' } });
  // Without a lock, one may still get it by chance.
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const codes = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        codeOf(
          app.dataSource.transaction((manager) =>
            app.jobs.enqueue(Plain, { n }, { unique: { ...unique, key }, manager }),
          ),
        ),
      ),
    );
    expect(codes.toSorted()).toEqual([...Array.from({ length: 11 }, () => 'duplicate_job'), 'ok']);
  }
  expect((await app.jobs.list()).total).toBe(6);
});

it('a transaction that began before sees who holds a unique key now, not then', async () => {
  const app = await bootJobs({ types: [Plain], options: { queues: { default: 1 } } });
  await app.queues.pause('default');
  await app.dataSource.transaction('REPEATABLE READ', async (manager) => {
    // From here on it sees what is committed by now.
    await manager.query('SELECT COUNT(*) FROM jobs');
    const holder = await app.jobs.enqueue(Plain, {}, { unique });
    const refused = await refusal(app.jobs.enqueue(Plain, {}, { unique, manager }));
    expect(refused).toMatchObject({ code: 'duplicate_job', members: { job_id: holder.id } });
  });
  await app.dataSource.transaction('REPEATABLE READ', async (manager) => {
    await manager.query('SELECT COUNT(*) FROM jobs');
    await app.queues.resume('default');
    const [job] = (await app.jobs.list()).jobs;
    await waitForEnd(app.jobs, job?.id ?? '');
    expect((await app.jobs.enqueue(Plain, {}, { unique, manager })).outcome).toBe('created');
  });
});

it('a transaction that began before a job went on replaces it as it is now, and does not hold it back for ever', async () => {
  const app = await bootJobs({ types: [Plain, Gated] });
  await app.queues.pause('default');
  const parent = await app.jobs.enqueue(Gated);
  const { release } = await gate.entry(parent.id);
  const replaced = { unique: { ...unique, onConflict: 'replace' as const } };
  const child = await app.jobs.enqueue(Plain, { n: 1 }, { ...replaced, dependsOn: [parent.id] });
  await app.dataSource.transaction('REPEATABLE READ', async (manager) => {
    // From here on the child waits for its parent, as this transaction sees it.
    await manager.query('SELECT COUNT(*) FROM job_extras');
    release();
    await waitForEnd(app.jobs, parent.id);
    const again = await app.jobs.enqueue(Plain, { n: 2 }, { ...replaced, delay: 1, manager });
    expect(again).toMatchObject({ id: child.id, outcome: 'replaced' });
  });
  await app.queues.resume('default');
  expect(await waitForEnd(app.jobs, child.id)).toMatchObject({
    status: 'completed',
    params: { n: 2 },
  });
});
