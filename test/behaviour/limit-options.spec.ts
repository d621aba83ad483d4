import { setImmediate as turn } from 'node:timers/promises';
import { IsString } from 'class-validator';
import { describe, expect, it } from 'vitest';
import {
  CatalogService,
  JobType,
  type InitializingJob,
  type JobHandler,
  type JobTypeOptions,
  type LimitedJob,
  type OnJobInit,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { until } from '../support/waiting.js';

class Params {
  @IsString()
  host: string = 'default.example';
}

const seen: LimitedJob<Params>[] = [];

@JobType({
  name: 'keyed',
  params: Params,
  concurrency: {
    limit: 1,
    by: (job: LimitedJob<Params>) => {
      seen.push(job);
      if (job.params.host === 'throws') {
        throw new Error('no such host');
      }
      return (job.params.host === 'number' ? 5 : job.params.host) as string;
    },
  },
})
class Keyed implements JobHandler<Params>, OnJobInit<Params> {
  onJobInit(job: InitializingJob<Params>): void {
    job.setRetryPolicy({ maxRetries: 7 });
  }

  execute(): void {}
}

function typeWith(options: object): new () => JobHandler {
  @JobType({ name: 'wrong', ...options } as JobTypeOptions)
  class Wrong implements JobHandler {
    execute(): void {}
  }
  return Wrong;
}

describe('a key function', () => {
  it('is given the job as it will be stored, params complete and hooks run', async () => {
    const app = await bootJobs({ types: [Keyed], options: { role: 'producer' } });
    seen.length = 0;
    const job = await app.jobs.enqueue(
      Keyed,
      {},
      { tenantId: 't', userId: 'u', tags: ['x'], priority: 3, channel: 'c' },
    );
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({
      type: 'default:keyed',
      tenantId: 't',
      userId: 'u',
      tags: ['x'],
      priority: 3,
      channel: 'c',
      maxRetries: 7,
    });
    expect(seen[0]?.params).toBeInstanceOf(Params);
    expect(seen[0]?.params.host).toBe('default.example');
    expect(seen[0]).not.toHaveProperty('id');
    expect(await app.sql(`SELECT limit_key FROM jobs WHERE job_id = '${job.id}'`)).toEqual([
      { limit_key: 'default.example' },
    ]);
  });

  it.each([
    ['throws', 'threw: no such host'],
    ['number', 'returned 5, which is not a text of 1–128 characters'],
    ['', 'returned "", which is not a text'],
    ['x'.repeat(129), 'is not a text of 1–128 characters'],
    ['a\nb', 'without control characters'],
  ])('that fails for %j refuses the job', async (host, message) => {
    const app = await bootJobs({ types: [Keyed], options: { role: 'producer' } });
    await expect(app.jobs.enqueue(Keyed, { host })).rejects.toMatchObject({
      code: 'init_failed',
      message: expect.stringContaining(message),
    });
    const outcomes = await app.jobs.enqueueMany(
      [
        { type: Keyed, params: { host } },
        { type: Keyed, params: { host: 'fine' } },
      ],
      { onConflict: 'ignore' },
    );
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['rejected', 'created']);
    expect((await app.jobs.list({})).total).toBe(1);
  });
});

describe('limits that are declared badly refuse to boot:', () => {
  it.each<[string, object, string]>([
    [
      'no object',
      { concurrency: 5 },
      '@JobType of Wrong: concurrency is 5: give an object such as',
    ],
    ['no limit', { concurrency: {} }, 'concurrency.limit is undefined: use a whole number from 1'],
    [
      'a limit of 0',
      { concurrency: { limit: 0 } },
      'concurrency.limit is 0: use a whole number from 1',
    ],
    [
      'an unknown key',
      { concurrency: { limit: 1, max: 2 } },
      'concurrency.max is unknown: remove it, or use one of limit, by',
    ],
    [
      'another by',
      { concurrency: { limit: 1, by: 'user' } },
      `concurrency.by is "user": use 'tenant', a function`,
    ],
    [
      'no period',
      { rate: { max: 5 } },
      "rate.per is undefined: give the length of the period, such as '1m'",
    ],
    ['a short period', { rate: { max: 5, per: 1 } }, 'rate.per is 1: use at least 0.01 s'],
    ['a wrong period', { rate: { max: 5, per: 'soon' } }, 'rate.per'],
    ['no number', { rate: { max: '5', per: 1000 } }, 'rate.max is 5: use a whole number from 1'],
    ['null', { rate: null }, 'rate is null: give an object such as'],
  ])('a type with %s', async (_, options, message) => {
    await expect(bootJobs({ types: [typeWith(options)] })).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringContaining(message),
    });
  });

  it.each<[string, object, string]>([
    [
      'concurrency',
      { capacity: 1, concurrency: { limit: 1.5 } },
      'queues.mail.concurrency.limit is 1.5',
    ],
    ['rate', { capacity: 1, rate: { max: 1, per: '1s', by: 7 } }, 'queues.mail.rate.by is 7'],
    [
      'another key',
      { capacity: 1, burst: 1 },
      'The option "queues.mail.burst" is unknown: a queue has a capacity, and may have concurrency and rate.',
    ],
  ])('a queue with a wrong %s', async (_, mail, message) => {
    await expect(bootJobs({ options: { queues: { mail } } })).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringContaining(message),
    });
  });
});

describe('limits that are registered by call', () => {
  it('hold as declared ones do', async () => {
    let atWork = 0;
    let most = 0;
    const handler: JobHandler = {
      async execute() {
        most = Math.max(most, (atWork += 1));
        await turn();
        atWork -= 1;
      },
    };
    const app = await bootJobs({
      providers: [
        {
          provide: 'registrar',
          inject: [CatalogService],
          useFactory: (catalog: CatalogService) => ({
            onModuleInit: () => {
              catalog.registerQueue('mail', { capacity: 9, concurrency: { limit: 3 } });
              catalog.registerGroup({ name: 'mail', queue: 'mail' });
              catalog.registerType(
                { group: 'mail', name: 'send', concurrency: { limit: 2, by: 'tenant' } },
                handler,
              );
            },
          }),
        },
      ],
    });
    await app.jobs.enqueueMany(
      Array.from({ length: 20 }, (_, n) => ({ type: 'mail:send', tenantId: `t${n % 2}` })),
    );
    await until(
      async () => (await app.jobs.list({ status: 'completed' })).total === 20,
      'the end of all',
    );
    expect(most).toBe(3);
  });
});
