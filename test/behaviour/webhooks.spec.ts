import { Webhook } from 'standardwebhooks';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  JobType,
  UnrecoverableJobError,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import { PausedQueues } from '../../lib/engine/paused-queues.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import { DeliveryScripts } from '../../lib/store/typeorm/delivery.scripts.js';
import { bootJobs, type Boot, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const gate = handlerGate();

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): object {
    return { done: true };
  }
}

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'talks' })
class Talks implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    await ctx.checkIn('half way');
    throw new UnrecoverableJobError('no further');
  }
}

function boot(webhooks: object = {}, more: Boot = {}): Promise<BootedJobs> {
  return bootJobs({
    types: [Quick, Held, Talks],
    options: { webhooks: { ...LOOPBACK, secret: SECRET, retry: ['1s', '1s'], ...webhooks } },
    ...more,
  });
}

/** What was written down to be told of a job, whether it was or not. */
async function deliveriesOf(app: BootedJobs, id: string): Promise<readonly string[]> {
  const rows = await app.sql(`SELECT event FROM job_deliveries WHERE job_id = '${id}'`);
  return rows.map(({ event }) => String(event)).toSorted((a, b) => a.localeCompare(b));
}

describe('a status hook', () => {
  it('is told each status in order, signed, with the job as it was then', async () => {
    const receiver = await Receiver.open();
    const { jobs } = await boot();
    const job = await jobs.enqueue(Quick, { a: 1 }, { statusHook: receiver.url, tags: ['x'] });
    expect(job.statusHook).toBe(receiver.url);
    await receiver.told(job.id, 'job.completed');
    const hooks = receiver.of(job.id);
    expect(hooks.map(({ event }) => event.type)).toEqual([
      'job.waiting',
      'job.running',
      'job.completed',
    ]);
    expect(hooks.map(({ event }) => event.data)).toMatchObject([
      { sequence: 1, from: 'initializing', to: 'waiting', revision: 0 },
      { sequence: 2, from: 'waiting', to: 'running', revision: 1 },
      { sequence: 3, from: 'running', to: 'completed', revision: 1 },
    ]);
    expect(hooks.map(({ event }) => event.data.job['status'])).toEqual([
      'waiting',
      'running',
      'completed',
    ]);
    expect(hooks[2]?.event.data.job).toMatchObject({
      id: job.id,
      type: 'default:quick',
      params: { a: 1 },
      result: { done: true },
      tags: ['x'],
      status_hook: receiver.url,
    });
    for (const { body, headers, event } of hooks) {
      expect(new Webhook(SECRET).verify(body, headers as Record<string, string>)).toEqual(event);
      expect(new Date(event.timestamp).toISOString()).toBe(event.timestamp);
    }
    expect(new Set(hooks.map(({ headers }) => headers['webhook-id'])).size).toBe(3);
  });

  it('is told of check-ins and of why a job failed', async () => {
    const receiver = await Receiver.open();
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Talks, {}, { statusHook: receiver.url });
    await receiver.told(id, 'job.failed');
    const hooks = receiver.of(id);
    expect(hooks.map(({ event }) => event.type)).toEqual([
      'job.waiting',
      'job.running',
      'job.check_in',
      'job.failed',
    ]);
    expect(hooks[2]?.event.data).toMatchObject({
      message: 'half way',
      to: 'running',
      job: { check_in: 'half way' },
    });
    expect(hooks[3]?.event.data.message).toContain('no further');
  });

  it('is told once that a job runs, whatever is said about it meanwhile', async () => {
    const receiver = await Receiver.open();
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held, {}, { statusHook: receiver.url });
    const { ctx, release } = await gate.entry(id);
    await jobs.update(id, { priority: 1 });
    await jobs.update(id, { priority: 2 }, { actor: 'ada', reason: 'urgent' });
    await ctx.checkIn('half way');
    await jobs.update(id, { priority: 3 }, { actor: 'ada', reason: 'most urgent' });
    release();
    await receiver.told(id, 'job.completed');
    expect(receiver.of(id).map(({ event }) => [event.type, event.data.sequence])).toEqual([
      ['job.waiting', 1],
      ['job.running', 2],
      ['job.check_in', 4],
      ['job.completed', 6],
    ]);
  });

  it('is told once a run that the job runs, by whoever changes it when its claimer died before', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    vi.spyOn(app.get<Engine>(JOBS_ENGINE).store.webhooks, 'claimed').mockResolvedValue(undefined);
    const options = { statusHook: receiver.url, maxRetries: 1, retryDelay: 0 };
    const { id } = await app.jobs.enqueue(Held, {}, options);
    const { fail } = await gate.entry(id);
    await app.jobs.update(id, { priority: 2 }, { actor: 'ada', reason: 'urgent' });
    fail(new Error('again'));
    const { release } = await gate.entry(id, 2);
    await app.jobs.update(id, { priority: 3 }, { actor: 'ada', reason: 'most urgent' });
    release();
    await receiver.told(id, 'job.completed');
    const events = receiver.of(id).map(({ event: { type, data } }) => [type, data.sequence]);
    expect(events).toEqual([
      ['job.waiting', 1],
      ['job.running', 2],
      ['job.waiting', 4],
      ['job.running', 5],
      ['job.completed', 7],
    ]);
    expect(await deliveriesOf(app, id)).toEqual([
      'job.completed',
      'job.running',
      'job.running',
      'job.waiting',
      'job.waiting',
    ]);
  });

  it('is told so once however late its claimer writes it down', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    const { webhooks } = app.get<Engine>(JOBS_ENGINE).store;
    const claimed = webhooks.claimed.bind(webhooks);
    const late: Parameters<typeof claimed>[] = [];
    vi.spyOn(webhooks, 'claimed').mockImplementation(async (...args) => void late.push(args));
    const { id } = await app.jobs.enqueue(Held, {}, { statusHook: receiver.url });
    const { release } = await gate.entry(id);
    await app.jobs.update(id, { priority: 2 }, { actor: 'ada', reason: 'urgent' });
    release();
    await receiver.told(id, 'job.completed');
    expect(late).toHaveLength(1);
    for (const args of late) {
      await claimed(...args);
    }
    expect(await deliveriesOf(app, id)).toEqual(['job.completed', 'job.running', 'job.waiting']);
  });

  it('is refused where it leads nowhere or inside, and nothing is stored', async () => {
    const { jobs } = await boot();
    for (const statusHook of [
      'https://10.0.0.1/',
      'ftp://x/',
      'hook',
      'https://a:b@example.com/',
    ]) {
      const error = await refusal(jobs.enqueue(Quick, {}, { statusHook }));
      expect(error).toMatchObject({ code: 'invalid_request' });
      expect(error.errors?.[0]?.field).toBe('statusHook');
    }
    expect((await jobs.list()).total).toBe(0);
  });

  it('needs a secret to be signed with', async () => {
    const app = await boot({ secret: undefined });
    const error = await refusal(
      app.jobs.enqueue(Quick, {}, { statusHook: 'https://example.com/' }),
    );
    expect(error.message).toContain('webhooks.secret');
  });

  it('is tried again with the same id, and a new time, until it is acknowledged; then never again', async () => {
    const receiver = await Receiver.open((_hook, nth) => (nth < 3 ? 500 : 200));
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Quick, {}, { statusHook: receiver.url });
    await receiver.told(id, 'job.completed');
    const types = receiver.of(id).map(({ event }) => event.type);
    expect(types).toEqual([
      'job.waiting',
      'job.waiting',
      'job.waiting',
      'job.running',
      'job.completed',
    ]);
    const [first, second, third] = receiver.of(id);
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
    expect(second?.body).toBe(first?.body);
    expect(Number(third?.headers['webhook-timestamp'])).toBeGreaterThan(
      Number(first?.headers['webhook-timestamp']),
    );
    // Each wait of the schedule, and no more than a tenth beside it but for a busy machine.
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(990);
  });

  it('is given up with 410, which is said, and harms no job', async () => {
    const receiver = await Receiver.open(() => 410);
    const app = await boot();
    const { id } = await app.jobs.enqueue(Quick, {}, { statusHook: receiver.url });
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
    await until(() => app.log.texts().some((text) => text.includes('410')), 'the warning');
    expect(receiver.of(id)).toHaveLength(1);
  });
});

describe('an endpoint', () => {
  it('hears of the jobs of its tenant from then on, and of nothing else', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    await app.run(Quick);
    const made = await app.webhooks.create(
      { url: receiver.url, events: ['job.completed'] },
      { tenantId: 'a' },
    );
    await app.run(Quick, {}, { tenantId: 'b' });
    const job = await app.run(Quick, {}, { tenantId: 'a' });
    const hook = await receiver.told(job.id, 'job.completed');
    expect(receiver.hooks).toHaveLength(1);
    expect(made.secret).toMatch(/^whsec_/);
    new Webhook(made.secret ?? '').verify(hook.body, hook.headers as Record<string, string>);

    const [listed] = await app.webhooks.list({ tenantId: 'a' });
    expect(listed).toMatchObject({ id: made.id, url: receiver.url, events: ['job.completed'] });
    expect(listed).not.toHaveProperty('secret');
    const [delivery] = await until(async () => {
      const found = await app.webhooks.deliveries(made.id);
      return found[0]?.status === 'delivered' && found;
    }, 'the delivery to be noted');
    expect(delivery).toMatchObject({
      id: hook.headers['webhook-id'],
      webhookId: made.id,
      jobId: job.id,
      event: 'job.completed',
      attempts: 1,
      answer: { status: 204, error: null },
    });
  });

  it('is nobody’s but its tenant’s', async () => {
    const receiver = await Receiver.open();
    const { webhooks } = await boot();
    const { id } = await webhooks.create({ url: receiver.url }, { tenantId: 'a' });
    const other = { tenantId: 'b' };
    expect(await codeOf(webhooks.get(id, other))).toBe('not_found');
    expect(await codeOf(webhooks.update(id, { isEnabled: false }, other))).toBe('not_found');
    expect(await codeOf(webhooks.delete(id, other))).toBe('not_found');
    expect(await codeOf(webhooks.test(id, other))).toBe('not_found');
    expect(await codeOf(webhooks.deliveries(id, other))).toBe('not_found');
    expect(await webhooks.list(other)).toEqual([]);
  });

  it('keeps its secret encrypted, and signs with the old one too for a while', async () => {
    const receiver = await Receiver.open();
    const app = await boot({ encryptionKey: 'k'.repeat(32), overlap: '1h' });
    const { id, secret: old = '' } = await app.webhooks.create({ url: receiver.url });
    const { secret: next = '' } = await app.webhooks.update(id, { rotateSecret: true });
    expect(next).not.toBe(old);
    const rows = await app.sql<{ secrets: string }>('SELECT secrets FROM job_webhooks');
    const stored = JSON.stringify(rows);
    expect(stored).not.toContain(old.slice(6));
    expect(stored).not.toContain(next.slice(6));
    await app.webhooks.test(id);
    const [hook] = await receiver.received(1);
    const headers = hook?.headers as Record<string, string>;
    for (const secret of [old, next]) {
      new Webhook(secret).verify(hook?.body ?? '', headers);
    }
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(2);

    const strict = await boot(
      { encryptionKey: 'k'.repeat(32), overlap: 0 },
      { database: app.database },
    );
    await strict.webhooks.update(id, { rotateSecret: SECRET });
    await strict.webhooks.test(id);
    const [, last] = await receiver.received(2);
    const signatures = ((last?.headers ?? {}) as Record<string, string>)['webhook-signature'];
    // The first old one may still sign; the one that was replaced just now does not.
    expect(signatures?.split(' ').length).toBeLessThanOrEqual(2);
    new Webhook(SECRET).verify(last?.body ?? '', last?.headers as Record<string, string>);
    expect(() =>
      new Webhook(next).verify(last?.body ?? '', last?.headers as Record<string, string>),
    ).toThrow();
  });

  it('is disabled when its schedule ends, says so, and gets what has waited when it is enabled', async () => {
    let isUp = false;
    const receiver = await Receiver.open(() => (isUp ? 200 : 503));
    const app = await boot({ retry: ['1s'] });
    const { id } = await app.webhooks.create({ url: receiver.url });
    const job = await app.run(Quick);
    const disabled = await until(
      async () => {
        const webhook = await app.webhooks.get(id);
        return !webhook.isEnabled && webhook;
      },
      'the endpoint to be disabled',
      30_000,
    );
    expect(disabled.disabledReason).toContain('503');
    expect(disabled.disabledAt).toBeInstanceOf(Date);
    await until(() => app.log.texts().some((text) => text.includes(id)), 'the warning');
    expect(receiver.of(job.id).map(({ event }) => event.type)).toEqual([
      'job.waiting',
      'job.waiting',
    ]);
    await app.run(Quick);
    isUp = true;
    await app.webhooks.update(id, { isEnabled: true });
    await receiver.told(job.id, 'job.completed');
    expect(receiver.of(job.id).map(({ event }) => event.type)).toEqual([
      'job.waiting',
      'job.waiting',
      'job.running',
      'job.completed',
    ]);
    const failed = await app.webhooks.deliveries(id, { status: 'failed' });
    expect(failed.map(({ event }) => event)).toEqual(['job.waiting']);
    const again = await app.webhooks.redeliver(failed[0]?.id ?? '');
    expect(again).toMatchObject({ status: 'pending', id: failed[0]?.id });
    const isRepeated = (): boolean =>
      receiver.hooks.filter(({ headers }) => headers['webhook-id'] === failed[0]?.id).length === 3;
    await until(isRepeated, 'the delivery to be repeated');
  });

  it('is disabled by 410 at once', async () => {
    const receiver = await Receiver.open(() => 410);
    const app = await boot();
    const { id } = await app.webhooks.create({ url: receiver.url });
    await app.run(Quick);
    await until(async () => !(await app.webhooks.get(id)).isEnabled, 'the endpoint to be disabled');
    expect(receiver.hooks).toHaveLength(1);
  });

  it('is not told later that a job runs which began before it was there', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    const { id } = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    await app.jobs.update(id, { priority: 1 }, { actor: 'ada', reason: 'urgent' });
    await app.webhooks.create({ url: receiver.url });
    release();
    await receiver.told(id, 'job.completed');
    expect(receiver.of(id).map(({ event }) => event.type)).toEqual(['job.completed']);
  });

  it('waits as long as the receiver asks for', async () => {
    const receiver = await Receiver.open((_hook, nth, response) => {
      if (nth > 1) {
        return 200;
      }
      response.writeHead(503, { 'retry-after': '2' }).end();
      return undefined;
    });
    const app = await boot({ retry: ['0s'] });
    await app.webhooks.create({ url: receiver.url, events: ['job.completed'] });
    await app.run(Quick);
    const [first, second] = await receiver.received(2);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(1900);
  });

  it('that does not answer holds up no other', async () => {
    const dead = await Receiver.open(() => undefined);
    const healthy = await Receiver.open();
    const app = await boot();
    await app.webhooks.create({ url: dead.url, events: ['job.completed'] });
    await app.webhooks.create({ url: healthy.url, events: ['job.completed'] });
    const items = Array.from({ length: 100 }, () => ({ type: Quick }));
    await app.jobs.enqueueMany(items);
    await healthy.received(100);
    expect(dead.hooks.length).toBeLessThanOrEqual(32);
  });

  it('of the options hears of all tenants, and is changed there', async () => {
    const receiver = await Receiver.open();
    const app = await boot({
      endpoints: [{ url: receiver.url, secret: SECRET, events: ['job.completed'] }],
    });
    const [declared] = await until(
      async () => (await app.webhooks.list()).length === 1 && app.webhooks.list(),
      'the endpoint',
    );
    expect(declared).toMatchObject({ isDeclared: true, tenantId: null });
    await until(() => app.log.texts().some((text) => text.includes('127.0.0.1')), 'the note');
    const one = await app.run(Quick, {}, { tenantId: 'a' });
    const other = await app.run(Quick, {}, { tenantId: 'b' });
    await receiver.told(one.id, 'job.completed');
    await receiver.told(other.id, 'job.completed');
    const id = declared?.id ?? '';
    expect(await codeOf(app.webhooks.delete(id))).toBe('forbidden');
    expect(await codeOf(app.webhooks.update(id, { url: receiver.url }))).toBe('forbidden');
    expect((await app.webhooks.update(id, { isEnabled: false })).isEnabled).toBe(false);
  });

  it('is refused with what to write instead', async () => {
    const { webhooks } = await boot();
    for (const input of [
      { url: 'http://10.0.0.1/' },
      { url: 'https://example.com/', events: ['job.done'] },
      { url: 'https://example.com/', events: [] },
      { url: 'https://example.com/', secret: 'short' },
      {},
    ]) {
      expect(await codeOf(webhooks.create(input as never))).toBe('invalid_request');
    }
    expect(await webhooks.list()).toEqual([]);
  });
});

it('tells nothing of a transaction that is rolled back, and all of one that commits', async () => {
  const receiver = await Receiver.open();
  const app = await boot();
  await app.webhooks.create({ url: receiver.url });
  const enqueue = (isGood: boolean): Promise<string> =>
    app.dataSource.transaction(async (manager) => {
      const { id } = await app.jobs.enqueue(Quick, {}, { manager });
      if (!isGood) {
        throw new Error('rolled back');
      }
      return id;
    });
  await expect(enqueue(false)).rejects.toThrow('rolled back');
  const id = await enqueue(true);
  await receiver.told(id, 'job.completed');
  expect(new Set(receiver.hooks.map(({ event }) => event.data.job.id))).toEqual(new Set([id]));
});

it('delivers what was stored by a process that is gone, once, whoever is there', async () => {
  const receiver = await Receiver.open();
  const producer = await boot(
    {},
    { options: { role: 'producer', webhooks: { ...LOOPBACK, secret: SECRET } } },
  );
  await producer.webhooks.create({ url: receiver.url });
  const items = Array.from({ length: 50 }, () => ({ type: Quick }));
  const created = await producer.jobs.enqueueMany(items);
  const { database } = producer;
  await producer.close();
  const nodes = await Promise.all([
    boot({}, { database }),
    boot({}, { database }),
    boot({}, { database }),
  ]);
  for (const { job } of created) {
    await receiver.told(job?.id ?? '', 'job.completed');
  }
  await Promise.all(nodes.map((node) => node.close()));
  for (const { job } of created) {
    expect(receiver.of(job?.id ?? '').map(({ event }) => event.data.sequence)).toEqual([1, 2, 3]);
  }
});

it('looks for deliveries where there are any, and not again and again where there are none', async () => {
  const looks = vi.spyOn(DeliveryScripts.prototype, 'lanes');
  const marks = vi.spyOn(PausedQueues.prototype, 'refresh');
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  const here = await boot();
  const there = await boot({}, { database: here.database });
  await until(() => looks.mock.calls.length >= 2, 'the first looks of both');
  const before = marks.mock.calls.length;
  await until(
    async () => {
      await here.run(Quick);
      return marks.mock.calls.length >= before + 8;
    },
    'both to see what others did, again and again',
    30_000,
  );
  expect(looks).toHaveBeenCalledTimes(2);
  const receiver = await Receiver.open();
  const { id } = await there.jobs.enqueue(Quick, {}, { statusHook: receiver.url });
  await receiver.told(id, 'job.completed');
});

it('writes no row for plain jobs that nobody hears of', async () => {
  const app = await boot();
  await app.run(Quick);
  for (const table of ['job_events', 'job_deliveries', 'job_extras']) {
    expect(await app.sql(`SELECT * FROM ${table}`)).toEqual([]);
  }
});

it('keeps a job until what is on its way has arrived, and takes its events along', async () => {
  let isUp = false;
  const receiver = await Receiver.open(() => (isUp ? 200 : 500));
  const app = await bootJobs({
    types: [Quick],
    options: {
      retention: { completed: '1ms' },
      webhooks: { ...LOOPBACK, secret: SECRET, retry: Array.from({ length: 30 }, () => '1s') },
    },
  });
  const { id } = await app.jobs.enqueue(Quick, {}, { statusHook: receiver.url });
  await receiver.received(1);
  isUp = true;
  await receiver.told(id, 'job.completed');
  await app.jobs.delete(id);
  expect(await app.sql('SELECT * FROM job_events')).toEqual([]);
  expect(await app.sql('SELECT * FROM job_deliveries')).toEqual([]);
});
