import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type Job, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs, type HostOptions } from '../support/boot.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const NIL = '00000000-0000-0000-0000-000000000000';
const order: string[] = [];

@JobType({
  group: 'maintenance',
  name: 'plain',
  version: 3,
  timeout: '10m',
  maxRetries: 4,
  retryDelay: '30s',
})
class Plain implements JobHandler {
  execute(): void {}
}

@JobType({ group: 'compute', name: 'ordered' })
class Ordered implements JobHandler {
  execute(ctx: JobContext<{ name: string }>): void {
    order.push(ctx.params.name);
  }
}

@JobType({ name: 'echo' })
class Echo implements JobHandler {
  execute(ctx: JobContext): unknown {
    return { params: ctx.params, state: ctx.state, meta: ctx.meta, tags: ctx.job.tags };
  }
}

describe('enqueue in a process without workers', () => {
  let app: BootedJobs;

  beforeAll(async () => {
    app = await bootJobs({
      types: [Plain, Ordered, Echo],
      options: { role: 'producer' },
      lifetime: 'file',
    });
  });

  it('gives times of which the caller may change one without the others', async () => {
    const job = await app.jobs.enqueue(Plain);
    const at = job.scheduledAt.getTime();
    job.runAt.setFullYear(2001);
    job.updatedAt.setFullYear(2002);
    expect(job.scheduledAt.getTime()).toBe(at);
    expect(job.runAt.getFullYear()).toBe(2001);
  });

  it('stores a waiting job with every default in place', async () => {
    const before = Date.now();
    const job = await app.jobs.enqueue(Plain);

    expect(job).toMatchObject({
      outcome: 'created',
      tenantId: NIL,
      userId: null,
      idempotencyKey: null,
      type: 'maintenance:plain',
      typeVersion: 3,
      group: 'maintenance',
      queue: 'maintenance',
      channel: '',
      kind: 'generic',
      priority: 0,
      status: 'waiting',
      startedAt: null,
      finishedAt: null,
      eta: null,
      lockedBy: null,
      progress: 0,
      progressDetails: null,
      completed: null,
      total: null,
      details: null,
      timeout: 600_000,
      maxRetries: 4,
      retryDelay: 30_000,
      retries: 0,
      lost: 0,
      revision: 0,
      error: null,
      result: null,
      state: null,
      tags: [],
      meta: {},
      cancelRequestedAt: null,
      upstreamJobId: null,
      expiresAt: null,
    });
    expect(job.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(job.scheduledAt.getTime()).toBeGreaterThanOrEqual(before - 1000);
    expect(job.scheduledAt.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
    expect(job.runAt).toEqual(job.scheduledAt);
    const { outcome, ...stored } = job;
    expect(outcome).toBe('created');
    expect(await app.jobs.get(job.id)).toEqual(stored);
  });

  it('names a type by its class or by its id', async () => {
    expect((await app.jobs.enqueue('maintenance:plain')).type).toBe('maintenance:plain');
    expect((await app.jobs.enqueue(Plain)).type).toBe('maintenance:plain');
  });

  it('gives ids that sort by time', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      ids.push((await app.jobs.enqueue(Plain)).id);
    }
    expect([...ids].sort()).toEqual(ids);
  });

  it('keeps what the options say', async () => {
    const job = await app.jobs.enqueue(Plain, undefined, {
      priority: -7,
      channel: 'gpu',
      timeout: '1.5s',
      maxRetries: 0,
      retryDelay: 250,
      tags: ['a', 'ünïcode'],
      meta: { traceparent: '00-abc', nested: { deep: [1, null] } },
      state: { page: 3 },
      tenantId: 'acme',
      userId: 'ada',
      expiresAt: new Date(Date.now() + 60_000),
    });
    expect(await app.jobs.get(job.id)).toMatchObject({
      priority: -7,
      channel: 'gpu',
      timeout: 1500,
      maxRetries: 0,
      retryDelay: 250,
      tags: ['a', 'ünïcode'],
      meta: { traceparent: '00-abc', nested: { deep: [1, null] } },
      state: { page: 3 },
      tenantId: 'acme',
      userId: 'ada',
    });
  });

  it('calls a job with a future start scheduled, and says that it waits for the time', async () => {
    const at = new Date(Date.now() + 3_600_000);
    const absolute = await app.jobs.enqueue(Plain, undefined, { runAt: at });
    const relative = await app.jobs.enqueue(Plain, undefined, { delay: '2h' });

    expect(absolute).toMatchObject({
      kind: 'scheduled',
      runAt: at,
      waitingFor: 'time',
      status: 'waiting',
    });
    expect(relative).toMatchObject({ kind: 'scheduled', waitingFor: 'time' });
    expect(relative.runAt.getTime() - relative.scheduledAt.getTime()).toBe(7_200_000);
  });

  it('calls a job with a start in the past generic, and runs it by its run_at', async () => {
    const job = await app.jobs.enqueue(Plain, undefined, { runAt: new Date(Date.now() - 60_000) });
    expect(job).toMatchObject({ kind: 'generic', waitingFor: 'worker' });
  });

  it('takes delays of years without firing', async () => {
    const job = await app.jobs.enqueue(Plain, undefined, { delay: '3650d' });
    expect(job.runAt.getTime() - job.scheduledAt.getTime()).toBe(3650 * 86_400_000);
  });

  it('says why a job waits: the pause before the worker, the time before the pause', async () => {
    const due = await app.jobs.enqueue(Ordered, { name: 'x' });
    const later = await app.jobs.enqueue(Ordered, { name: 'y' }, { delay: '1h' });
    expect(due.waitingFor).toBe('worker');

    await app.queues.pause('compute');
    expect((await app.jobs.get(due.id)).waitingFor).toBe('paused');
    expect((await app.jobs.get(later.id)).waitingFor).toBe('time');

    await app.queues.resume('compute');
    expect((await app.jobs.get(due.id)).waitingFor).toBe('worker');
  });

  it('refuses an unknown type and lists the known ones', async () => {
    const error = await refusal(app.jobs.enqueue('reports:monthly'));
    expect(error).toMatchObject({ code: 'unknown_type', status: 400 });
    expect(error.message).toMatch(/reports:monthly/);
    expect(error.message).toMatch(/maintenance:plain/);
    expect(error.message).toMatch(/default:echo/);
  });

  it.each([
    'constructor',
    '__proto__',
    'toString',
    'default:constructor',
    '',
    'default:',
    ':echo',
    'echo',
  ])('does not know the type %j', async (type) => {
    expect(await codeOf(app.jobs.enqueue(type))).toMatch(/^unknown_type$|^invalid_request$/);
  });

  it('refuses a class that is no job type', async () => {
    class NoType implements JobHandler {
      execute(): void {}
    }
    const error = await refusal(app.jobs.enqueue(NoType));
    expect(error.code).toBe('unknown_type');
    expect(error.message).toMatch(/NoType/);
  });

  const tagsOf = (count: number, length: number): string[] =>
    Array.from({ length: count }, (_, n) => String(n).padStart(length, 'x'));

  it.each<[string, HostOptions | object, RegExp]>([
    ['runAt and delay', { runAt: new Date(), delay: 1 }, /runAt|delay/],
    ['a delay that is no duration', { delay: 'soon' }, /delay/],
    ['a negative delay', { delay: -1 }, /delay/],
    ['an invalid date', { runAt: new Date(Number.NaN) }, /runAt/],
    ['a runAt that is text', { runAt: '2030-01-01' }, /runAt/],
    ['a fractional priority', { priority: 1.5 }, /priority/],
    ['a priority that is text', { priority: 'high' }, /priority/],
    ['an endless priority', { priority: Infinity }, /priority/],
    ['a channel of 65 characters', { channel: 'c'.repeat(65) }, /channel/],
    ['a channel that is a number', { channel: 1 }, /channel/],
    ['negative retries', { maxRetries: -1 }, /maxRetries/],
    ['half a retry', { maxRetries: 0.5 }, /maxRetries/],
    ['a bad timeout', { timeout: 'never' }, /timeout/],
    ['a bad retry delay', { retryDelay: {} }, /retryDelay/],
    ['an empty key', { idempotencyKey: '' }, /idempotency_?key/i],
    ['a key of 256 characters', { idempotencyKey: 'k'.repeat(256) }, /idempotency_?key/i],
    ['an empty tenant', { tenantId: '' }, /tenantId/],
    ['a tenant of 65 characters', { tenantId: 't'.repeat(65) }, /tenantId/],
    ['an empty user', { userId: '' }, /userId/],
    ['21 tags', { tags: tagsOf(21, 3) }, /tags/],
    ['a tag of 65 characters', { tags: tagsOf(1, 65) }, /tags/],
    ['an empty tag', { tags: [''] }, /tags/],
    ['tags that are text', { tags: 'a,b' }, /tags/],
    ['meta that is an array', { meta: [1] }, /meta/],
    ['an expiry that is no date', { expiresAt: 'tomorrow' }, /expiresAt/],
    ['an unknown option', { retries: 3 }, /retries/],
    ['dependencies that are no list', { dependsOn: NIL }, /^dependsOn must/],
    ['a dependency that is no id', { dependsOn: [1] }, /^dependsOn\.0/],
    [
      'what follows of a dependency',
      { dependsOn: [{ id: NIL, onFailure: 'x' }] },
      /^dependsOn\.0\.onFailure/,
    ],
    ['uniqueness that is refused', { unique: false }, /unique/],
    ['uniqueness that is a text', { unique: 'k' }, /unique/],
    ['an empty unique key', { unique: { key: '' } }, /unique\.key/],
    ['a unique key of 256 characters', { unique: { key: 'k'.repeat(256) } }, /unique\.key/],
    ['a unique key with NUL', { unique: { key: 'a\0b' } }, /unique\.key/],
    ['an unknown end of uniqueness', { unique: { until: 'completed' } }, /unique\.until/],
    ['a time of uniqueness', { unique: { within: 'long' } }, /unique\.within/],
    ['an unknown way with conflicts', { unique: { onConflict: 'ignore' } }, /unique\.onConflict/],
    ['an unknown part of uniqueness', { unique: { ttl: 1 } }, /unique\.ttl/],
    ['a status hook that nothing signs for', { statusHook: 'https://x' }, /^statusHook/],
    ['a date and a delay', { runAt: new Date(), delay: 1 }, /^delay .*runAt/],
    ['an empty idempotency key', { idempotencyKey: '' }, /^idempotencyKey/],
  ])('refuses %s by name and stores nothing', async (_, options, field) => {
    const before = (await app.jobs.list()).total;
    const error = await refusal(app.jobs.enqueue(Plain, undefined, options));
    expect(error.code).toBe('invalid_request');
    expect(`${error.message} ${JSON.stringify(error.errors)}`).toMatch(field);
    expect((await app.jobs.list()).total).toBe(before);
  });

  it('takes what is just within the limits', async () => {
    const options: HostOptions = {
      tags: tagsOf(20, 64),
      channel: 'c'.repeat(64),
      tenantId: 't'.repeat(64),
      userId: 'u'.repeat(64),
      idempotencyKey: 'k'.repeat(255),
    };
    expect(await app.jobs.enqueue(Plain, undefined, options)).toMatchObject(options);
  });
});

describe('enqueue beside workers', () => {
  it('starts higher priority first, then the earlier run_at, then the older', async () => {
    order.length = 0;
    const app = await bootJobs({ types: [Ordered] });
    await app.queues.pause('compute');
    const past = (ms: number): Date => new Date(Date.now() - ms);
    const given: [string, HostOptions][] = [
      ['old', { runAt: past(1000) }],
      ['older', { runAt: past(2000) }],
      ['low', { runAt: past(9000), priority: -1 }],
      ['high', { priority: 5, runAt: past(500) }],
      ['higher', { priority: 6, runAt: past(100) }],
    ];
    const ids: string[] = [];
    for (const [name, options] of given) {
      ids.push((await app.jobs.enqueue(Ordered, { name }, options)).id);
    }
    const sameTime = past(50);
    for (const name of ['first', 'second', 'third']) {
      ids.push((await app.jobs.enqueue(Ordered, { name }, { runAt: sameTime })).id);
    }
    await app.queues.resume('compute');
    await Promise.all(ids.map((id) => waitForEnd(app.jobs, id)));
    expect(order).toEqual(['higher', 'high', 'older', 'old', 'first', 'second', 'third', 'low']);
  });

  it('starts a delayed job when it is due and not before', async () => {
    const app = await bootJobs({ types: [Echo] });
    const job = await app.run(Echo, undefined, { delay: 300 });
    expect(job.status).toBe('completed');
    expect((job.startedAt as Date).getTime()).toBeGreaterThanOrEqual(job.runAt.getTime());
    expect((job.startedAt as Date).getTime() - job.runAt.getTime()).toBeLessThan(1500);
    expect(job.kind).toBe('scheduled');
  });

  it('runs what is due while jobs of years ahead wait', async () => {
    const app = await bootJobs({ types: [Echo] });
    const far = await app.jobs.enqueue(Echo, undefined, { delay: '30d' });
    expect((await app.run(Echo)).status).toBe('completed');
    expect(await app.jobs.get(far.id)).toMatchObject({
      status: 'waiting',
      waitingFor: 'time',
      revision: 0,
    });
  });

  it('gives handlers the state, the meta and the tags', async () => {
    const app = await bootJobs({ types: [Echo] });
    const job = await app.run(
      Echo,
      { a: 1 },
      { state: { page: 2 }, meta: { trace: 'x' }, tags: ['t'] },
    );
    expect(job.result).toEqual({
      params: { a: 1 },
      state: { page: 2 },
      meta: { trace: 'x' },
      tags: ['t'],
    });
  });

  it('serves only its channels', async () => {
    const app = await bootJobs({ types: [Echo], options: { channels: ['', 'gpu'] } });
    const foreign = await app.jobs.enqueue(Echo, undefined, { channel: 'GPU' });
    expect((await app.run(Echo, undefined, { channel: 'gpu' })).status).toBe('completed');
    expect((await app.run(Echo)).status).toBe('completed');
    expect((await app.jobs.get(foreign.id)).status).toBe('waiting');
  });

  it('serves a channel that is as long as a channel may be', async () => {
    const channel = '💥'.repeat(64);
    const app = await bootJobs({ types: [Echo], options: { channels: [channel] } });
    expect((await app.run(Echo, undefined, { channel })).status).toBe('completed');
  });

  it("serves every channel with '*'", async () => {
    const app = await bootJobs({ types: [Echo], options: { channels: '*' } });
    expect((await app.run(Echo, undefined, { channel: 'anything' })).status).toBe('completed');
  });
});

describe('expiry', () => {
  it('skips a job that has not started in time, with the details "expired"', async () => {
    const app = await bootJobs({ types: [Echo] });
    await app.queues.pause('default');
    const { id } = await app.jobs.enqueue(Echo, undefined, {
      expiresAt: new Date(Date.now() + 100),
    });
    const job = await waitForStatus(app.jobs, id, 'skipped');
    expect(job).toMatchObject({ details: 'expired', startedAt: null, revision: 0 });
    expect(job.finishedAt).toBeInstanceOf(Date);
  });

  it('never runs an expired job, even when it comes to its turn', async () => {
    const app = await bootJobs({ types: [Ordered] });
    order.length = 0;
    await app.queues.pause('compute');
    const expired = await app.jobs.enqueue(
      Ordered,
      { name: 'late' },
      { expiresAt: new Date(Date.now() + 50) },
    );
    const expiresAt = expired.expiresAt as Date;
    await until(() => Date.now() > expiresAt.getTime() + 20, 'the expiry');
    await app.queues.resume('compute');
    expect(await waitForEnd(app.jobs, expired.id)).toMatchObject({
      status: 'skipped',
      details: 'expired',
    });
    expect(order).toEqual([]);
  });

  it('leaves a job alone that has started', async () => {
    const app = await bootJobs({ types: [Waits] });
    const expiresAt = new Date(Date.now() + 700);
    const { id } = await app.jobs.enqueue(
      Waits,
      { until: expiresAt.getTime() + 500 },
      { expiresAt },
    );
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', expiresAt });
  });

  it('leaves a job alone that has started once and waits for its retry', async () => {
    const app = await bootJobs({ types: [FailsOnce] });
    // Late enough for the first start on a busy machine, and over before the second.
    const expiresAt = new Date(Date.now() + 2500);
    const { id } = await app.jobs.enqueue(FailsOnce, undefined, {
      expiresAt,
      maxRetries: 1,
      retryDelay: 2600,
    });
    const job: Job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'completed', retries: 1 });
  });
});

@JobType({ name: 'waits' })
class Waits implements JobHandler {
  async execute(ctx: JobContext<{ until: number }>): Promise<void> {
    await until(() => Date.now() > ctx.params.until, 'the time given');
  }
}

@JobType({ name: 'fails-once' })
class FailsOnce implements JobHandler {
  execute(ctx: JobContext): void {
    if (ctx.attempt === 1) {
      throw new Error('not yet');
    }
  }
}
