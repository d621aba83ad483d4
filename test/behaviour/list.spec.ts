import { beforeAll, describe, expect, it } from 'vitest';
import {
  JOB_STATUSES,
  JobType,
  type Job,
  type JobHandler,
  type JobPage,
  type JobQuery,
} from '../../lib/index.js';
import { until } from '../support/waiting.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { refusal } from '../support/refusals.js';

@JobType({ group: 'compute', name: 'alpha' })
class Alpha implements JobHandler {
  execute(): void {}
}

@JobType({ group: 'download', name: 'beta' })
class Beta implements JobHandler {
  execute(): void {}
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Alpha, Beta], options: { role: 'producer' }, lifetime: 'file' });
});

async function ids(query: JobQuery): Promise<string[]> {
  return (await app.jobs.list(query)).jobs.map((job) => job.id);
}

/** All pages by cursor. */
async function walk(query: JobQuery): Promise<JobPage[]> {
  const pages = [await app.jobs.list(query)];
  for (let cursor = pages[0]?.nextCursor; cursor; cursor = pages.at(-1)?.nextCursor) {
    pages.push(await app.jobs.list({ ...query, cursor }));
    expect(pages.length).toBeLessThan(500);
  }
  return pages;
}

describe('the list', () => {
  it('is newest first, 50 a page, with the true total', async () => {
    const tenantId = 'paged';
    const outcomes = await app.jobs.enqueueMany(
      Array.from({ length: 120 }, () => ({ type: Alpha, tenantId })),
    );
    const all = outcomes.map((each) => each.job?.id ?? '');
    const first = await app.jobs.list({ tenantId });
    expect(first).toMatchObject({
      page: 1,
      limit: 50,
      total: 120,
      totalIsExact: true,
      order: '-scheduled_at',
    });
    expect(first.jobs).toHaveLength(50);
    const third = await app.jobs.list({ tenantId, page: 3 });
    expect(third).toMatchObject({ page: 3, total: 120 });
    expect(third.jobs).toHaveLength(20);
    const pages = await Promise.all([1, 2, 3].map((page) => ids({ tenantId, page })));
    expect(new Set(pages.flat())).toEqual(new Set(all));
    expect(await ids({ tenantId, page: 4 })).toEqual([]);
    expect((await app.jobs.list({ tenantId, limit: 1000 })).jobs).toHaveLength(120);
  });

  it('gives each job once by cursor, with equal times and while others are added', async () => {
    const tenantId = 'walked';
    const outcomes = await app.jobs.enqueueMany(
      Array.from({ length: 300 }, () => ({ type: Alpha, tenantId })),
    );
    const all = outcomes.map((each) => each.job?.id ?? '');

    const query: JobQuery = { tenantId, limit: 7 };
    const first = await app.jobs.list(query);
    await app.jobs.enqueue(Alpha, undefined, { tenantId });
    const rest: JobPage[] = [];
    for (let cursor = first.nextCursor; cursor; cursor = rest.at(-1)?.nextCursor ?? null) {
      rest.push(await app.jobs.list({ ...query, cursor }));
      await app.jobs.enqueue(Alpha, undefined, { tenantId });
      expect(rest.length).toBeLessThan(100);
    }
    const seen = [first, ...rest].flatMap((page) => page.jobs.map((job) => job.id));
    expect(seen).toHaveLength(300);
    expect(new Set(seen)).toEqual(new Set(all));
    expect(rest.at(-1)?.nextCursor).toBeNull();
  });

  it.each([
    'id',
    '-id',
    'scheduled_at',
    'run_at',
    '-updated_at',
    'started_at',
    '-finished_at',
    'priority,-run_at',
    '-priority,scheduled_at',
  ])('can be ordered by %s, and walked by cursor in that order', async (order) => {
    const tenantId = `ordered ${order}`.slice(0, 64);
    await app.jobs.enqueueMany(
      Array.from({ length: 40 }, (_, n) => ({
        type: Alpha,
        tenantId,
        priority: n % 3,
        runAt: new Date(1e12 + (n % 4) * 1000),
      })),
    );
    // Some have started and ended, some have not: nulls are in the order too.
    const { jobs } = await app.jobs.list({ tenantId, limit: 10 });
    for (const [n, job] of jobs.entries()) {
      await app.jobs.cancel(job.id);
      await app.sql(
        `UPDATE jobs SET started_at_ms = ${1e12 + (n % 2)}, finished_at_ms = ${1e12 + (n % 3)} WHERE job_id = '${job.id}'`,
      );
    }
    const whole = await app.jobs.list({ tenantId, order, limit: 1000 });
    const walked = await walk({ tenantId, order, limit: 7 });
    expect(whole.order).toBe(order);
    expect(whole.jobs).toHaveLength(40);
    expect(walked.flatMap((page) => page.jobs.map((job) => job.id))).toEqual(
      whole.jobs.map((job) => job.id),
    );
    expectOrder(whole.jobs, order);
  });

  it('has an exact total up to 10,000 and says when it is not', async () => {
    const tenantId = 'many';
    for (let n = 0; n < 10; n += 1) {
      await app.jobs.enqueueMany(Array.from({ length: 1000 }, () => ({ type: Beta, tenantId })));
    }
    expect(await app.jobs.list({ tenantId, limit: 1 })).toMatchObject({
      total: 10_000,
      totalIsExact: true,
    });
    await app.jobs.enqueue(Beta, undefined, { tenantId });
    expect(await app.jobs.list({ tenantId, limit: 1 })).toMatchObject({
      total: 10_000,
      totalIsExact: false,
    });
  });
});

describe('a filter', () => {
  const tenantId = 'filtered';
  const made: Record<string, string> = {};
  let middle: Date;

  beforeAll(async () => {
    const make = async (name: string, type: typeof Alpha, options: object): Promise<void> => {
      made[name] = (await app.jobs.enqueue(type, undefined, { tenantId, ...options })).id;
    };
    await make('plain', Alpha, {});
    const { scheduledAt } = await app.jobs.get(made['plain'] as string);
    middle = new Date(scheduledAt.getTime() + 1);
    // By the database's clock, which the process's own may be ahead of.
    const now = async (): Promise<Date> =>
      (await app.jobs.enqueue(Alpha, undefined, { tenantId: 'clock' })).scheduledAt;
    await until(async () => (await now()) > middle, 'a later millisecond');
    await make('delayed', Alpha, { delay: '1h' });
    await make('tagged', Alpha, { tags: ['red', 'a,b'] });
    await make('ada', Beta, { userId: 'ada' });
    await make('gpu', Beta, { channel: 'gpu' });
    await make('keyed', Beta, { idempotencyKey: 'order-17_%' });
    await make('canceled', Beta, {});
    await app.jobs.cancel(made['canceled'] as string);
    await app.sql(
      `UPDATE jobs SET upstream_job_id = '${made['plain']}' WHERE job_id = '${made['gpu']}'`,
    );
  });

  it.each<[string, () => JobQuery, string[]]>([
    ['status', () => ({ status: 'canceled' }), ['canceled']],
    ['several statuses', () => ({ status: ['canceled', 'failed'] }), ['canceled']],
    ['type', () => ({ type: 'compute:alpha' }), ['plain', 'delayed', 'tagged']],
    ['several types', () => ({ type: ['compute:alpha', 'x:y'] }), ['plain', 'delayed', 'tagged']],
    ['group', () => ({ group: 'compute' }), ['plain', 'delayed', 'tagged']],
    ['queue', () => ({ queue: 'download' }), ['ada', 'gpu', 'keyed', 'canceled']],
    ['channel', () => ({ channel: 'gpu' }), ['gpu']],
    [
      'the empty channel',
      () => ({ channel: '' }),
      ['plain', 'delayed', 'tagged', 'ada', 'keyed', 'canceled'],
    ],
    ['kind', () => ({ kind: 'scheduled' }), ['delayed']],
    ['tag', () => ({ tag: 'red' }), ['tagged']],
    ['a tag with a comma', () => ({ tag: 'a,b' }), ['tagged']],
    ['part of a tag', () => ({ tag: 're' }), []],
    ['user', () => ({ userId: 'ada' }), ['ada']],
    ['upstream job', () => ({ upstreamJobId: made['plain'] as string }), ['gpu']],
    ['key', () => ({ idempotencyKey: 'order-17_%' }), ['keyed']],
    ['before', () => ({ scheduledBefore: middle }), ['plain']],
    ['after', () => ({ scheduledAfter: middle, kind: 'scheduled' }), ['delayed']],
    ['q as an id', () => ({ q: made['tagged'] as string }), ['tagged']],
    ['q as the beginning of a type', () => ({ q: 'compute:al' }), ['plain', 'delayed', 'tagged']],
    ['q as the beginning of a key', () => ({ q: 'order-1' }), ['keyed']],
    ['q whose wildcard is a letter', () => ({ q: 'order-17__' }), []],
    ['q with a percent sign', () => ({ q: '%' }), []],
    [
      'two at once',
      () => ({ queue: 'download', status: 'waiting', channel: '' }),
      ['ada', 'keyed'],
    ],
    ['what nothing matches', () => ({ type: 'no:such' }), []],
  ])('by %s', async (_, query, names) => {
    const page = await app.jobs.list({ tenantId, ...query() });
    const byId = Object.fromEntries(Object.entries(made).map(([name, id]) => [id, name]));
    expect(new Set(page.jobs.map((job) => byId[job.id]))).toEqual(new Set(names));
    expect(page.total).toBe(names.length);
    expect(page.totalIsExact).toBe(true);
  });

  it('by tenant shows no other, and none shows all', async () => {
    expect((await app.jobs.list({ tenantId: 'nobody' })).total).toBe(0);
    expect((await app.jobs.list({ status: 'canceled', q: made['canceled'] as string })).total).toBe(
      1,
    );
  });

  it('by the nil tenant, who is everybody until there is another', async () => {
    const other = await bootJobs({ types: [Alpha], options: { role: 'producer' } });
    const nil = { tenantId: '00000000-0000-0000-0000-000000000000' };
    const { id } = await other.jobs.enqueue(Alpha);
    const found = async (): Promise<unknown[]> => {
      const lists = [nil, { ...nil, status: 'waiting' as const }, { ...nil, order: '-priority' }];
      const pages = await Promise.all(lists.map((query) => other.jobs.list(query)));
      return pages.map(({ total, jobs }) => [total, jobs.map((job) => job.id)]);
    };
    const alone = [1, [id]];
    expect(await found()).toEqual([alone, alone, alone]);
    await other.jobs.enqueue(Alpha, undefined, { tenantId: 'acme' });
    expect(await found()).toEqual([alone, alone, alone]);
    expect((await other.stats.stats(nil)).byStatus.waiting).toBe(1);
    expect((await other.queues.get('compute', nil)).waiting).toBe(1);
  });

  it.each<[string, object]>([
    ['page 0', { page: 0 }],
    ['a negative page', { page: -1 }],
    ['half a page', { page: 1.5 }],
    ['limit 0', { limit: 0 }],
    ['limit 1001', { limit: 1001 }],
    ['a limit that is text', { limit: '10' }],
    ['an unknown order', { order: 'params' }],
    ['an order that is SQL', { order: 'id; DROP TABLE jobs' }],
    ['an order with a hostile word', { order: '-constructor' }],
    ['an empty order', { order: '' }],
    ['the same field twice', { order: 'id,-id' }],
    ['an unknown status', { status: 'done' }],
    ['one unknown status of two', { status: ['waiting', 'done'] }],
    ['an unknown kind', { kind: 'weekly' }],
    ['an unknown field', { colour: 'red' }],
    ['an invalid date', { scheduledAfter: new Date(Number.NaN) }],
    ['a date that is text', { scheduledBefore: 'yesterday' }],
    ['a cursor that is made up', { cursor: 'abc' }],
    ['a cursor of JSON', { cursor: Buffer.from('{"a":1}').toString('base64url') }],
    ['a page beside a cursor', { page: 2, cursor: 'abc' }],
    ['a malformed upstream id', { upstreamJobId: 'x' }],
  ])('refuses %s', async (_, query) => {
    const error = await refusal(app.jobs.list(query));
    expect(error).toMatchObject({ code: 'invalid_request', status: 400 });
    expect(`${error.message} ${JSON.stringify(error.errors)}`).toMatch(
      new RegExp((Object.keys(query)[0] as string).replaceAll(/[A-Z]/g, '_?$&'), 'i'),
    );
  });

  it('refuses pages beyond 10,000 rows and names the cursor', async () => {
    expect((await app.jobs.list({ page: 200, limit: 50 })).page).toBe(200);
    await expect(app.jobs.list({ page: 201, limit: 50 })).rejects.toThrow(/cursor/);
    await expect(app.jobs.list({ page: 11, limit: 1000 })).rejects.toThrow(/cursor/);
  });

  it('refuses a cursor that was made for another order', async () => {
    const { nextCursor } = await app.jobs.list({ tenantId, limit: 1 });
    expect(nextCursor).not.toBeNull();
    const query = { tenantId, limit: 1, order: 'priority', cursor: nextCursor as string };
    expect((await refusal(app.jobs.list(query))).code).toBe('invalid_request');
  });
});

function expectOrder(jobs: readonly Job[], order: string): void {
  const fields: Readonly<Record<string, (job: Job) => string | number>> = {
    id: (job) => job.id,
    scheduled_at: (job) => job.scheduledAt.getTime(),
    run_at: (job) => job.runAt.getTime(),
    updated_at: (job) => job.updatedAt.getTime(),
    priority: (job) => job.priority,
  };
  for (const part of order.split(',')) {
    const read = fields[part.replace('-', '')];
    if (read === undefined) {
      return;
    }
    const values = jobs.map(read);
    const sorted = [...values].sort((a, b) => (a < b ? -1 : Number(a > b)));
    expect(values).toEqual(part.startsWith('-') ? sorted.reverse() : sorted);
    if (new Set(values).size < values.length) {
      return;
    }
  }
}

describe('stats', () => {
  it('count by status, type and queue, for a tenant or for all', async () => {
    const other = await bootJobs({ types: [Alpha, Beta], options: { role: 'producer' } });
    for (let n = 0; n < 3; n += 1) {
      await other.jobs.enqueue(Alpha, undefined, { tenantId: 'a' });
    }
    const { id } = await other.jobs.enqueue(Beta, undefined, { tenantId: 'b' });
    await other.jobs.cancel(id);
    const stats = await other.stats.stats();
    expect(stats.byStatus).toMatchObject({ waiting: 3, canceled: 1, completed: 0 });
    expect(Object.keys(stats.byStatus).sort()).toEqual([...JOB_STATUSES].sort());
    expect(stats.byType).toEqual({ 'compute:alpha': 3, 'download:beta': 1 });
    expect(stats.byQueue).toEqual({ compute: 3, download: 1 });
    expect(stats.oldestWaitingAt).toBeInstanceOf(Date);
    expect(stats.completedLastMinute).toBe(0);
    expect(stats.workers).toBe(0);

    const scoped = await other.stats.stats({ tenantId: 'b' });
    expect(scoped.byStatus).toMatchObject({ waiting: 0, canceled: 1 });
    expect(scoped.oldestWaitingAt).toBeNull();
  });

  it('know what was completed of late and how many workers there are', async () => {
    const other = await bootJobs({ types: [Alpha] });
    await other.run(Alpha);
    await other.run(Alpha);
    const stats = await other.stats.stats();
    expect(stats).toMatchObject({ completedLastMinute: 2, workers: 1 });
    expect(stats.oldestWaitingAt).toBeNull();
  });

  it('say that all is well', async () => {
    const other = await bootJobs({ types: [Alpha] });
    await other.run(Alpha);
    expect((await other.stats.health()).status).toBe('ok');
  });
});

describe('the catalogue', () => {
  it('lists types and groups, and says not_found for others', async () => {
    const types = app.catalog.types();
    expect(types.map((type) => type.typeId).sort()).toEqual(['compute:alpha', 'download:beta']);
    expect(app.catalog.type('compute:alpha')).toMatchObject({
      typeId: 'compute:alpha',
      group: 'compute',
      name: 'alpha',
      version: 1,
      timeout: 0,
      maxRetries: 0,
      retryDelay: 10_000,
      suspendable: false,
      remote: false,
      params: {},
      paramsSchema: {},
    });
    expect(app.catalog.groups().map((group) => [group.name, group.queueName])).toEqual(
      expect.arrayContaining([
        ['compute', 'compute'],
        ['maintenance', 'maintenance'],
        ['download', 'download'],
        ['default', 'default'],
      ]),
    );
    expect(app.catalog.group('compute').queueName).toBe('compute');
    expect(() => app.catalog.type('no:such')).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
    expect(() => app.catalog.group('nowhere')).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
  });
});
