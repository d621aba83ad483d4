import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { codeOf } from '../support/refusals.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

it('one of many transactions of the host’s that want a unique key gets it, and the others are told', async () => {
  const app = await bootJobs({ types: [Plain], options: { role: 'producer' } });
  const codes = await Promise.all(
    Array.from({ length: 12 }, (_, n) =>
      codeOf(
        app.dataSource.transaction((manager) =>
          app.jobs.enqueue(Plain, { n }, { unique: { key: 'race' }, manager }),
        ),
      ),
    ),
  );
  expect(codes.toSorted()).toEqual([...Array.from({ length: 11 }, () => 'duplicate_job'), 'ok']);
  expect((await app.jobs.list()).total).toBe(1);
});
