import { IsString } from 'class-validator';
import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type EnqueueItem, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { refusal } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

class NamedParams {
  @IsString()
  name = 'nobody';
}

@JobType({ name: 'named', params: NamedParams })
class Named implements JobHandler<NamedParams, string> {
  execute(ctx: JobContext<NamedParams>): string {
    return ctx.params.name;
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Named], lifetime: 'file' });
});

const later = { delay: '1h' } as const;
const bad: EnqueueItem = { type: Named, params: { name: 42 }, ...later };

async function total(): Promise<number> {
  return (await app.jobs.list()).total;
}

describe('enqueueMany', () => {
  it('creates all in the order given', async () => {
    const outcomes = await app.jobs.enqueueMany(
      ['a', 'b', 'c'].map((name) => ({ type: Named, params: { name }, priority: 1 })),
    );
    expect(outcomes.map((each) => each.outcome)).toEqual(['created', 'created', 'created']);
    expect(outcomes.map((each) => each.job?.params)).toEqual([
      { name: 'a' },
      { name: 'b' },
      { name: 'c' },
    ]);
    const results = await Promise.all(
      outcomes.map((each) => waitForEnd(app.jobs, each.job?.id ?? '')),
    );
    expect(results.map((job) => job.result)).toEqual(['a', 'b', 'c']);
  });

  it('stores nothing when one item is bad, and says which', async () => {
    const before = await total();
    const error = await refusal(app.jobs.enqueueMany([{ type: Named, ...later }, bad]));
    expect(error.code).toBe('invalid_params');
    expect(error.errors?.[0]?.field).toBe('jobs.1.params.name');
    expect(await total()).toBe(before);
  });

  it('stores nothing when one key is taken by another request, and says which', async () => {
    await app.jobs.enqueue(Named, { name: 'first' }, { ...later, idempotencyKey: 'taken' });
    const before = await total();
    const error = await refusal(
      app.jobs.enqueueMany([
        { type: Named, ...later },
        { type: Named, params: { name: 'second' }, idempotencyKey: 'taken', ...later },
      ]),
    );
    expect(error.code).toBe('idempotency_conflict');
    expect(`${error.message} ${JSON.stringify(error.errors)}`).toMatch(/jobs\.1/);
    expect(await total()).toBe(before);
  });

  it('stores nothing when two of its own items ask for different things under one key', async () => {
    const before = await total();
    const error = await refusal(
      app.jobs.enqueueMany([
        { type: Named, params: { name: 'one' }, idempotencyKey: 'twin', ...later },
        { type: Named, params: { name: 'other' }, idempotencyKey: 'twin', ...later },
      ]),
    );
    expect(error.code).toBe('idempotency_conflict');
    expect(`${error.message} ${JSON.stringify(error.errors)}`).toMatch(/jobs\.1/);
    expect(await total()).toBe(before);
  });

  it("with onConflict 'ignore' tells what became of each", async () => {
    const known = await app.jobs.enqueue(
      Named,
      { name: 'x' },
      { ...later, idempotencyKey: 'known' },
    );
    const before = await total();
    const outcomes = await app.jobs.enqueueMany(
      [
        { type: Named, params: { name: 'new' }, ...later },
        bad,
        { type: 'no:such', ...later },
        { type: Named, params: { name: 'x' }, idempotencyKey: 'known', ...later },
        { type: Named, params: { name: 'y' }, idempotencyKey: 'known', ...later },
      ],
      { onConflict: 'ignore' },
    );
    expect(outcomes.map((each) => each.outcome)).toEqual([
      'created',
      'rejected',
      'rejected',
      'replayed',
      'rejected',
    ]);
    expect(outcomes.map((each) => each.error?.code)).toEqual([
      undefined,
      'invalid_params',
      'unknown_type',
      undefined,
      'idempotency_conflict',
    ]);
    expect(outcomes[3]?.job?.id).toBe(known.id);
    expect(await total()).toBe(before + 1);
  });

  it('replays a key that occurs twice in one call', async () => {
    const item: EnqueueItem = {
      type: Named,
      params: { name: 'twin' },
      idempotencyKey: 'twin',
      ...later,
    };
    const before = await total();
    const outcomes = await app.jobs.enqueueMany([item, item]);
    expect(outcomes.map((each) => each.outcome)).toEqual(['created', 'replayed']);
    expect(outcomes[1]?.job?.id).toBe(outcomes[0]?.job?.id);
    expect(await total()).toBe(before + 1);
  });

  it('of nothing is nothing', async () => {
    expect(await app.jobs.enqueueMany([])).toEqual([]);
  });

  it('takes thousands', async () => {
    const before = await app.stats.stats();
    const items = Array.from({ length: 3000 }, (_, n) => ({
      type: Named,
      params: { name: `n${n}` },
      ...later,
    }));
    const outcomes = await app.jobs.enqueueMany(items);
    expect(new Set(outcomes.map((each) => each.job?.id)).size).toBe(3000);
    expect(before).toBeDefined();
    expect((await app.jobs.list({ type: 'default:named', limit: 1 })).total).toBeGreaterThanOrEqual(
      3000,
    );
  });
});
