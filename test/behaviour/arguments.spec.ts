import { firstValueFrom } from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  JobType,
  type JobContext,
  type JobHandler,
  type JobsError,
  type JobsService,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { refusal } from '../support/refusals.js';
import { until } from '../support/waiting.js';

/** What callers without types may call. */
type Loose<T> = {
  readonly [K in keyof T]: (...args: readonly unknown[]) => Promise<unknown>;
};

let body: (ctx: Loose<JobContext>) => unknown = () => undefined;

@JobType({ name: 'chosen' })
class Chosen implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx as object as Loose<JobContext>);
  }
}

let app: BootedJobs;
let jobs: Loose<Omit<JobsService, 'watch'>>;

beforeAll(async () => {
  app = await bootJobs({ types: [Chosen], lifetime: 'file' });
  jobs = app.jobs as object as typeof jobs;
});

/** The fields that a refusal names; it must be about the request. */
async function named(promise: Promise<unknown>): Promise<string[]> {
  const error: JobsError = await refusal(promise);
  expect(error.code, error.message).toBe('invalid_request');
  return (error.errors ?? []).map((each) => each.field);
}

const UNKNOWN_ID = '00000000-0000-7000-8000-000000000000';
const BY_ID = [
  'get',
  'cancel',
  'suspend',
  'resume',
  'retry',
  'skip',
  'fail',
  'unlock',
  'delete',
  'wait',
  'runs',
  'logs',
] as const;
const NO_ID = [undefined, null, 5, {}, ['x'], Symbol('x')];

describe('a call with a wrong argument is refused by its name:', () => {
  it.each(BY_ID)('%s, the id and the options', async (call) => {
    for (const id of NO_ID) {
      expect(await named(jobs[call](id))).toEqual(['id']);
    }
    const what = call === 'logs' ? 'query' : 'options';
    for (const options of [null, 5, 'x', []]) {
      expect(await named(jobs[call](UNKNOWN_ID, options))).toEqual([what]);
    }
    expect(await named(jobs[call](UNKNOWN_ID, { tenant: 'a' }))).toEqual(['tenant']);
    expect(await named(jobs[call](UNKNOWN_ID, { tenantId: null }))).toEqual(['tenantId']);
    // What is no UUID can be no job's: a slip of the caller, and refused as over REST.
    expect(await named(jobs[call]('no id'))).toEqual(['id']);
    expect((await refusal(jobs[call](UNKNOWN_ID))).code).toBe('not_found');
  });

  it('watch, the id and the options', async () => {
    const watch = (...args: readonly unknown[]): Promise<unknown> =>
      firstValueFrom(app.jobs.watch(...(args as [string])));
    for (const id of NO_ID) {
      expect(await named(watch(id))).toEqual(['id']);
    }
    expect(await named(watch(UNKNOWN_ID, null))).toEqual(['options']);
    expect(await named(watch(UNKNOWN_ID, { after: 'x' }))).toEqual(['after']);
    expect(await named(watch(UNKNOWN_ID, { since: 1 }))).toEqual(['since']);
  });

  it('update, the id, the patch and the scope', async () => {
    expect(await named(jobs.update(null, { priority: 1 }))).toEqual(['id']);
    for (const patch of [undefined, null, 5, []]) {
      expect(await named(jobs.update(UNKNOWN_ID, patch))).toEqual(['patch']);
    }
    expect(await named(jobs.update(UNKNOWN_ID, { priority: 1 }, null))).toEqual(['options']);
  });

  it('the reason, the actor and the signal of operations', async () => {
    expect(await named(jobs.cancel(UNKNOWN_ID, { reason: 5 }))).toEqual(['reason']);
    expect(await named(jobs.fail(UNKNOWN_ID, { actor: null }))).toEqual(['actor']);
    expect(await named(jobs.wait(UNKNOWN_ID, { signal: {} }))).toEqual(['signal']);
  });

  it('list and findByIdempotencyKey', async () => {
    for (const query of [null, 'x', 5, []]) {
      expect(await named(jobs.list(query))).toEqual(['query']);
    }
    expect(await named(jobs.findByIdempotencyKey(5))).toEqual(['key']);
    expect(await named(jobs.findByIdempotencyKey('key', null))).toEqual(['options']);
  });

  it.each(['a\0', 'a\ud800'])(
    'what is looked for, where no database holds it: %j',
    async (text) => {
      for (const field of ['q', 'tag', 'tenantId', 'group', 'channel', 'idempotencyKey', 'type']) {
        expect(await named(jobs.list({ [field]: text }))).toEqual([field]);
      }
      expect(await named(jobs.findByIdempotencyKey(text))).toEqual(['key']);
      expect(await named(jobs.get(UNKNOWN_ID, { tenantId: text }))).toEqual(['tenantId']);
      const workers = app.workers as object as Loose<typeof app.workers>;
      expect(await named(workers.get(text))).toEqual(['id']);
      expect(await named(workers.list({ ids: [text] }))).toEqual(['id']);
      expect(await named(workers.runs({ workerId: text }))).toEqual(['workerId']);
    },
  );

  it('list takes any Date', async () => {
    for (const scheduledBefore of [new Date(8.64e15), new Date(-8.64e15)]) {
      const scheduledAfter = new Date(-scheduledBefore.getTime());
      expect(await jobs.list({ scheduledBefore })).toMatchObject({ jobs: [] });
      expect(await jobs.list({ scheduledAfter })).toMatchObject({ jobs: [] });
    }
  });

  it('enqueue, its options and its manager', async () => {
    for (const options of [null, 5, 'x', []]) {
      expect(await named(jobs.enqueue(Chosen, {}, options))).toEqual(['options']);
    }
    for (const manager of [null, 5, {}, { dataSource: {} }, { connection: 1 }]) {
      expect(await named(jobs.enqueue(Chosen, {}, { manager }))).toEqual(['manager']);
      expect(await named(jobs.enqueueMany([{ type: Chosen }], { manager }))).toEqual(['manager']);
    }
  });

  it('enqueueMany, its items and its options', async () => {
    for (const items of [undefined, null, 'x', 5, { length: 2 }]) {
      expect(await named(jobs.enqueueMany(items))).toEqual(['items']);
    }
    expect(await named(jobs.enqueueMany([], null))).toEqual(['options']);
    expect(await named(jobs.enqueueMany([], { onConflict: 'skip' }))).toEqual(['onConflict']);
    expect(await named(jobs.enqueueMany([], { onconflict: 'fail' }))).toEqual(['onconflict']);
    for (const item of [null, undefined, 5, 'x', []]) {
      expect(await named(jobs.enqueueMany([{ type: Chosen }, item]))).toEqual(['jobs.1.item']);
    }
    expect((await app.jobs.list()).total).toBe(0);
    const outcomes = await jobs.enqueueMany([null, { type: Chosen }, 5], { onConflict: 'ignore' });
    expect(outcomes).toMatchObject([
      { outcome: 'rejected', error: { code: 'invalid_request' } },
      { outcome: 'created' },
      { outcome: 'rejected', error: { code: 'invalid_request' } },
    ]);
  });

  it('the scopes of queues and counts', async () => {
    const queues = app.queues as object as Loose<typeof app.queues>;
    const stats = app.stats as object as Loose<typeof app.stats>;
    expect(await named(queues.list(null))).toEqual(['options']);
    expect(await named(queues.get('default', { tenant: 'a' }))).toEqual(['tenant']);
    expect(await named(queues.cancelWaiting('default', { tenantId: 5 }))).toEqual(['tenantId']);
    expect(await named(stats.stats(null))).toEqual(['options']);
  });

  it('what a handler asks of its context', async () => {
    const wrong: [string, (ctx: Loose<JobContext>) => unknown][] = [
      ['jobId', (ctx) => ctx.lockOn(null)],
      ['policy', (ctx) => ctx.setRetryPolicy(null)],
      ['maxRetry', (ctx) => ctx.setRetryPolicy({ maxRetry: 3 })],
      ['work', (ctx) => ctx.transaction(null)],
      ['options', (ctx) => ctx.transaction(() => 1, null)],
      ['completed', (ctx) => ctx.transaction(() => 1, { completed: true })],
      ['options', (ctx) => ctx.reschedule(null)],
      ['reason', (ctx) => ctx.skip(5)],
      ['options', (ctx) => ctx.enqueue(Chosen, {}, null)],
    ];
    const idle = async (): Promise<boolean> => (await app.stats.stats()).byStatus.completed === 1;
    await until(idle, 'the job of the test before');
    const seen: string[][] = [];
    body = async (ctx) => {
      for (const [, ask] of wrong) {
        seen.push(await named(Promise.resolve().then(() => ask(ctx))));
      }
    };
    const { status, error } = await app.run(Chosen);
    body = () => undefined;
    expect({ status, error }).toEqual({ status: 'completed', error: null });
    expect(seen).toEqual(wrong.map(([field]) => [field]));
  });
});
