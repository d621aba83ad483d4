import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { codeOf, refusal } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

const unique = { key: 'race' };

it('one of many transactions of the host’s that want a unique key gets it, and the others are told', async () => {
  const app = await bootJobs({ types: [Plain], options: { role: 'producer' } });
  const codes = await Promise.all(
    Array.from({ length: 12 }, (_, n) =>
      codeOf(
        app.dataSource.transaction((manager) =>
          app.jobs.enqueue(Plain, { n }, { unique, manager }),
        ),
      ),
    ),
  );
  expect(codes.toSorted()).toEqual([...Array.from({ length: 11 }, () => 'duplicate_job'), 'ok']);
  expect((await app.jobs.list()).total).toBe(1);
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
