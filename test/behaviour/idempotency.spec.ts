import { IsInt } from 'class-validator';
import { describe, expect, it } from 'vitest';
import {
  JobType,
  type InitializingJob,
  type JobContext,
  type JobHandler,
  type OnJobInit,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase, isFile } from '../support/databases.js';
import { isLockAwaited } from '../support/locks.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

class CountParams {
  @IsInt()
  n = 1;
}

let calls = 0;
let inits = 0;

@JobType({ name: 'count', params: CountParams })
class Count implements JobHandler<CountParams, number>, OnJobInit<CountParams> {
  onJobInit(_job: InitializingJob<CountParams>): void {
    inits += 1;
  }

  execute(ctx: JobContext<CountParams>): number {
    calls += 1;
    return ctx.params.n;
  }
}

@JobType({ name: 'other' })
class Other implements JobHandler {
  execute(): void {}
}

function boot(
  role: 'both' | 'producer' = 'both',
  database = createDatabase(),
): Promise<BootedJobs> {
  calls = 0;
  inits = 0;
  return bootJobs({ types: [Count, Other], options: { role }, database });
}

describe('an idempotency key', () => {
  it('gives the same job to the same request, runs it once and says replayed', async () => {
    const app = await boot();
    const first = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' });
    await waitForEnd(app.jobs, first.id);
    const second = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' });

    expect(first.outcome).toBe('created');
    expect(second).toMatchObject({
      outcome: 'replayed',
      id: first.id,
      status: 'completed',
      result: 1,
    });
    expect([calls, inits]).toEqual([1, 1]);
    expect((await app.jobs.list()).total).toBe(1);
  });

  it('is looked up before validation and hooks', async () => {
    const app = await boot('producer');
    await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' });
    expect(
      await codeOf(
        app.jobs.enqueue('default:count', { n: 'not a number' }, { idempotencyKey: 'k' }),
      ),
    ).toBe('idempotency_conflict');
    expect(inits).toBe(1);
  });

  it('compares canonical JSON: the order of keys does not matter', async () => {
    const app = await boot('producer');
    const first = await app.jobs.enqueue(
      Other,
      { a: 1, b: { c: 2, d: 3 } },
      { idempotencyKey: 'k' },
    );
    const second = await app.jobs.enqueue(
      Other,
      { b: { d: 3, c: 2 }, a: 1 },
      { idempotencyKey: 'k' },
    );
    expect(second).toMatchObject({ id: first.id, outcome: 'replayed' });
  });

  it('compares params as received, before defaults', async () => {
    const app = await boot('producer');
    await app.jobs.enqueue(Count, undefined, { idempotencyKey: 'k' });
    expect(await codeOf(app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' }))).toBe(
      'idempotency_conflict',
    );
  });

  it.each<[string, () => [typeof Count | typeof Other, unknown]]>([
    ['other params', () => [Count, { n: 2 }]],
    ['another type', () => [Other, { n: 1 }]],
  ])('is refused for %s and keeps the job as it was', async (_, request) => {
    const app = await boot('producer');
    const first = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' });
    const [type, params] = request();
    await expect(
      app.jobs.enqueue(type, params as object, { idempotencyKey: 'k' }),
    ).rejects.toMatchObject({
      code: 'idempotency_conflict',
      status: 409,
    });
    expect(await app.jobs.get(first.id)).toMatchObject({ params: { n: 1 }, status: 'waiting' });
    expect((await app.jobs.list()).total).toBe(1);
  });

  it('does not compare options', async () => {
    const app = await boot('producer');
    const first = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k', priority: 1 });
    const second = await app.jobs.enqueue(
      Count,
      { n: 1 },
      { idempotencyKey: 'k', priority: 2, tags: ['x'] },
    );
    expect(second).toMatchObject({ id: first.id, outcome: 'replayed', priority: 1, tags: [] });
  });

  it('belongs to its tenant', async () => {
    const app = await boot('producer');
    const a = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k', tenantId: 'a' });
    const b = await app.jobs.enqueue(Count, { n: 2 }, { idempotencyKey: 'k', tenantId: 'b' });
    expect(b.outcome).toBe('created');
    expect(b.id).not.toBe(a.id);
    expect((await app.jobs.findByIdempotencyKey('k', { tenantId: 'a' }))?.id).toBe(a.id);
    expect((await app.jobs.findByIdempotencyKey('k', { tenantId: 'b' }))?.id).toBe(b.id);
    expect(await app.jobs.findByIdempotencyKey('k', { tenantId: 'c' })).toBeUndefined();
  });

  it('lives as long as the job: after its deletion it is free again', async () => {
    const app = await boot('producer');
    const first = await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: 'k' });
    await app.jobs.delete(first.id);
    const second = await app.jobs.enqueue(Count, { n: 2 }, { idempotencyKey: 'k' });
    expect(second.outcome).toBe('created');
    expect(second.id).not.toBe(first.id);
  });

  it.each([
    'k',
    'K',
    'k ',
    ' k',
    'é',
    'é',
    '💥',
    "'; DROP TABLE jobs; --",
    '%',
    '_',
    'a'.repeat(255),
  ])('is any text, compared exactly: %j', async (key) => {
    const app = await boot('producer');
    await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: `${key}`.slice(0, 255) });
    await app.jobs.enqueue(Count, { n: 2 }, { idempotencyKey: 'entirely different' });
    expect((await app.jobs.findByIdempotencyKey(key))?.params).toEqual({ n: 1 });
    expect((await app.jobs.enqueue(Count, { n: 1 }, { idempotencyKey: key })).outcome).toBe(
      'replayed',
    );
  });

  it('tells keys apart that differ only in case, in a trailing space or in their composition', async () => {
    const app = await boot('producer');
    const keys = ['key', 'KEY', 'key ', ' key', 'ke\u0301y', 'k\u00e9y'];
    for (const [n, key] of keys.entries()) {
      expect((await app.jobs.enqueue(Count, { n }, { idempotencyKey: key })).outcome).toBe(
        'created',
      );
    }
    expect((await app.jobs.list()).total).toBe(keys.length);
  });

  it('raced by 50 callers makes one job', async () => {
    const app = await boot();
    const all = await Promise.all(
      Array.from({ length: 50 }, () =>
        app.jobs.enqueue(Count, { n: 7 }, { idempotencyKey: 'race' }),
      ),
    );
    expect(new Set(all.map((job) => job.id)).size).toBe(1);
    expect(all.filter((job) => job.outcome === 'created')).toHaveLength(1);
    expect(all.filter((job) => job.outcome === 'replayed')).toHaveLength(49);
    await waitForEnd(app.jobs, all[0]?.id ?? '');
    expect(calls).toBe(1);
  });

  it('raced by callers tells each of them what the one job depends on, and whom it tells', async () => {
    const app = await bootJobs({
      types: [Count, Other],
      options: { role: 'producer', webhooks: { secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' } },
    });
    const { id: parent } = await app.jobs.enqueue(Other);
    const said = {
      dependsOn: [{ id: parent, onFailure: 'fail' }],
      statusHook: 'https://example.com/hook',
    };
    const options = { idempotencyKey: 'race', dependsOn: [parent], statusHook: said.statusHook };
    const all = await Promise.all(
      Array.from({ length: 10 }, () => app.jobs.enqueue(Count, { n: 7 }, options)),
    );
    expect(all).toMatchObject(all.map(() => said));
    const items = [1, 2].map(() => ({ type: Other, ...options, idempotencyKey: 'many' }));
    const many = await app.jobs.enqueueMany(items);
    expect(many.map(({ outcome }) => outcome)).toEqual(['created', 'replayed']);
    expect(many.map(({ job }) => job)).toMatchObject([said, said]);
    expect((await app.jobs.list()).total).toBe(3);
  });

  it('that a transaction of the host has taken is answered with what stands beside its job', async () => {
    const app = await boot('producer');
    const { id: parent } = await app.jobs.enqueue(Other);
    const racing = await app.dataSource.transaction(async (manager) => {
      const options = { idempotencyKey: 'held', dependsOn: [parent], manager };
      await app.jobs.enqueue(Count, { n: 7 }, options);
      const other = app.jobs.enqueue(Count, { n: 7 }, { idempotencyKey: 'held' });
      await until(
        async () => isFile || (await isLockAwaited(app)),
        'the other to wait for the key',
      );
      return { other };
    });
    expect(await racing.other).toMatchObject({
      outcome: 'replayed',
      dependsOn: [{ id: parent, onFailure: 'fail' }],
    });
  });

  it('raced by 50 callers with different params makes one job and 49 refusals', async () => {
    const app = await boot('producer');
    const codes = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        codeOf(app.jobs.enqueue(Count, { n }, { idempotencyKey: 'race' })),
      ),
    );
    expect(codes.filter((code) => code === 'ok')).toHaveLength(1);
    expect(codes.filter((code) => code === 'idempotency_conflict')).toHaveLength(49);
    expect((await app.jobs.list()).total).toBe(1);
  });

  it('raced across two applications on one database makes one job', async () => {
    const database = createDatabase();
    const apps = [await boot('producer', database), await boot('producer', database)];
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        (apps[n % 2] as BootedJobs).jobs.enqueue(Count, { n: 7 }, { idempotencyKey: 'race' }),
      ),
    );
    expect(new Set(all.map((job) => job.id)).size).toBe(1);
    expect(all.filter((job) => job.outcome === 'created')).toHaveLength(1);
  });
});
