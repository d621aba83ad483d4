import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';

@JobType({
  group: 'reports',
  name: 'monthly',
  description: 'Adds a month up',
  version: 2,
  timeout: '1500ms',
  maxRetries: 3,
  retryDelay: '0.25s',
  suspendable: true,
})
class Monthly implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

/** Columns that programs beside the library read under these names. */
const COLUMNS = {
  jobs: 'job_id tenant_id user_id idempotency_key type scheduled_at_ms updated_at_ms started_at_ms eta_ms locked_by progress progress_details status details timeout_sec max_retries retry_delay_sec retries error result params',
  job_types: 'type_id description group_name name timeout_sec max_retries retry_delay_sec',
  job_groups: 'name queue_name description',
};

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({
    types: [Monthly],
    options: {
      groups: [
        { name: 'reports', queue: 'compute', description: 'Reports for customers' },
        { name: 'unused', queue: 'download', description: 'Nothing yet' },
      ],
    },
    lifetime: 'file',
  });
});

describe('the tables', () => {
  it.each(Object.entries(COLUMNS))(
    '%s has the columns that are promised',
    async (table, columns) => {
      await expect(
        app.sql(`SELECT ${columns.replaceAll(' ', ', ')} FROM ${table}`),
      ).resolves.toBeDefined();
    },
  );

  it('hold the declared types and groups, in seconds with their fractions', async () => {
    expect(
      await app.sql(`SELECT ${COLUMNS.job_types.replaceAll(' ', ', ')} FROM job_types`),
    ).toEqual([
      {
        type_id: 'reports:monthly',
        description: 'Adds a month up',
        group_name: 'reports',
        name: 'monthly',
        timeout_sec: 1.5,
        max_retries: 3,
        retry_delay_sec: 0.25,
      },
    ]);
    const groups = await app.sql(
      'SELECT name, queue_name, description FROM job_groups ORDER BY name',
    );
    expect(groups).toEqual(
      expect.arrayContaining([
        { name: 'reports', queue_name: 'compute', description: 'Reports for customers' },
        { name: 'unused', queue_name: 'download', description: 'Nothing yet' },
      ]),
    );
  });

  it('hold what is in force for a job, in seconds with their fractions', async () => {
    const { id } = await app.jobs.enqueue(Monthly, undefined, { timeout: 1, delay: '1h' });
    const rows = await app.sql(
      `SELECT timeout_sec, max_retries, retry_delay_sec FROM jobs WHERE job_id = '${id}'`,
    );
    expect(rows).toEqual([{ timeout_sec: 0.001, max_retries: 3, retry_delay_sec: 0.25 }]);
  });

  it('keep JSON as it was accepted: keys in their order, numbers as they are', async () => {
    const text = '{"b":1,"a":{"z":[1.5,-0.1,1e+21],"y":"ü\\"\\n"},"10":null}';
    const job = await app.run(Monthly, JSON.parse(text));
    const [row] = await app.sql<{ params: string; result: string }>(
      `SELECT params, result FROM jobs WHERE job_id = '${job.id}'`,
    );
    const accepted = JSON.stringify(JSON.parse(text));
    expect(row).toEqual({ params: accepted, result: accepted });
  });
});
