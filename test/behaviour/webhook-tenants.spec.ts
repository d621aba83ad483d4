import dns from 'node:dns';
import type { ServerResponse } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { JobSchedule, JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { NIL_TENANT } from '../../lib/model/tenant.js';
import { bootJobs, type Boot, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until } from '../support/waiting.js';
import { nameServer } from '../webhooks/name-server.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const gate = handlerGate();

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

function boot(webhooks: object = {}, more: Boot = {}): Promise<BootedJobs> {
  return bootJobs({
    types: [Quick, Held],
    options: { webhooks: { ...LOOPBACK, secret: SECRET, retry: ['1s'], ...webhooks } },
    ...more,
  });
}

const portOf = (receiver: Receiver): string => new URL(receiver.url).port;

describe('a tenant', () => {
  it('whose receivers do not answer has half of the room for requests, and others the rest', async () => {
    let open = 0;
    let most = 0;
    const dead = await Receiver.open((_hook, _nth, response: ServerResponse) => {
      open += 1;
      most = Math.max(most, open);
      response.on('close', () => (open -= 1));
      return undefined;
    });
    const healthy = await Receiver.open();
    const app = await boot();
    const events = ['job.completed'] as const;
    for (let nth = 0; nth < 12; nth += 1) {
      await app.webhooks.create({ url: `${dead.url}/${nth}`, events }, { tenantId: 'ann' });
    }
    await app.webhooks.create({ url: healthy.url, events }, { tenantId: 'bob' });
    await app.jobs.enqueueMany(
      Array.from({ length: 60 }, () => ({ type: Quick, tenantId: 'ann' })),
    );
    await until(() => most >= 100, 'requests that are not answered', 30_000);
    const job = await app.run(Quick, {}, { tenantId: 'bob' });
    await healthy.told(job.id, 'job.completed');
    expect(most).toBeLessThanOrEqual(128);
  });

  it('whose names are not answered for holds up nobody else', async () => {
    const asked = new Set<string>();
    const names = await nameServer((_question, name) => {
      asked.add(name);
      return name.startsWith('slow') ? undefined : ['127.0.0.1'];
    });
    const servers = dns.getServers();
    dns.setServers([names.address]);
    onTestFinished(() => dns.setServers(servers));
    const receiver = await Receiver.open();
    const app = await boot();
    const slow = Array.from({ length: 100 }, (_, nth) => ({
      type: Quick,
      tenantId: 'ann',
      statusHook: `http://slow-${nth}.test:${portOf(receiver)}/`,
    }));
    await app.jobs.enqueueMany(slow);
    await until(() => asked.size >= 10, 'names that are asked for', 30_000);
    const { id } = await app.jobs.enqueue(
      Quick,
      {},
      { tenantId: 'bob', statusHook: `http://quick.test:${portOf(receiver)}/` },
    );
    await receiver.told(id, 'job.completed');
    expect(receiver.hooks.every(({ headers }) => headers.host?.startsWith('quick'))).toBe(true);
  });

  it('has so many endpoints and no more, also when they are added at once', async () => {
    const { webhooks, database } = await boot({ maxEndpoints: 3 });
    const others = [await boot({ maxEndpoints: 3 }, { database })];
    others.push(await boot({ maxEndpoints: 3 }, { database }));
    const add = (tenantId: string, by = webhooks) =>
      by.create({ url: 'https://example.com/' }, { tenantId });
    const adders = [webhooks, ...others.map((other) => other.webhooks)];
    const adds = adders.flatMap((by) => Array.from({ length: 4 }, () => add('ann', by)));
    const results = await Promise.allSettled(adds);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    const error = await refusal(add('ann'));
    expect(error.code).toBe('forbidden');
    expect(error.message).toMatch(/3 .*webhooks.maxEndpoints/);
    await add('bob');
    const [first] = await webhooks.list({ tenantId: 'ann' });
    await webhooks.delete(first?.id ?? '');
    await add('ann');
  });

  it('names hosts that it may name, and is sent to no other', async () => {
    const receiver = await Receiver.open();
    const hosts = (tenantId: string): string[] | undefined =>
      tenantId === 'ann' ? ['127.0.0.1', '*.example.com'] : undefined;
    const app = await boot({ allowHosts: hosts });
    const create = (url: string, tenantId = 'ann') => app.webhooks.create({ url }, { tenantId });
    for (const url of ['https://example.com/', 'https://example.org/', 'https://badexample.com/']) {
      const error = await refusal(create(url));
      expect(error).toMatchObject({ code: 'invalid_request', errors: [{ field: 'url' }] });
      expect(error.message).toContain('webhooks.allowHosts');
      const hook = app.jobs.enqueue(Quick, {}, { statusHook: url, tenantId: 'ann' });
      expect((await refusal(hook)).errors?.[0]?.field).toBe('statusHook');
      await create(url, 'bob');
    }
    await create('https://a.b.example.com/');
    await create('https://EXAMPLE.com./', 'bob');
    const { id } = await create(receiver.url);
    expect(
      await codeOf(app.webhooks.update(id, { url: 'https://example.org/' }, { tenantId: 'ann' })),
    ).toBe('invalid_request');
    expect((await app.webhooks.test(id)).status).toBe('delivered');
    const stricter = await boot({ allowHosts: ['*.example.com'] }, { database: app.database });
    expect((await stricter.webhooks.test(id)).answer?.error).toContain('webhooks.allowHosts');
    expect(receiver.hooks).toHaveLength(1);
  });

  it('whose hosts are not known now costs no try, and hears nothing of why', async () => {
    const receiver = await Receiver.open();
    let isKnown = true;
    const allowHosts = (): undefined => {
      if (!isKnown) {
        throw new Error('no route to 10.1.2.3');
      }
    };
    const app = await boot({ allowHosts });
    const endpoint = { url: receiver.url, events: ['job.completed'] as const };
    const { id } = await app.webhooks.create(endpoint);
    isKnown = false;
    for (const refused of [
      app.webhooks.create(endpoint),
      app.webhooks.test(id),
      app.jobs.enqueue(Quick, {}, { statusHook: receiver.url }),
    ]) {
      const error = await refusal(refused);
      expect(error.code).toBe('try_later');
      expect(error.message).toMatch(/webhooks.allowHosts/);
      expect(error.message).not.toContain('10.1.2.3');
    }
    await app.run(Quick);
    const [delivery] = await until(async () => {
      const found = await app.webhooks.deliveries(id);
      return found[0] !== undefined && found[0].answer !== null && found;
    }, 'the reason to be noted');
    expect(delivery).toMatchObject({ status: 'pending', attempts: 0 });
    expect(delivery?.answer?.error).toMatch(/webhooks.allowHosts/);
    expect(delivery?.answer?.error).not.toContain('10.1.2.3');
    expect(app.log.texts().filter((text) => text.includes('10.1.2.3'))).toHaveLength(1);
    const other = await boot({}, { database: app.database });
    await until(
      async () => (await other.webhooks.deliveries(id))[0]?.status === 'delivered',
      'somebody else to send it',
    );
    expect(receiver.hooks).toHaveLength(1);
    expect((await other.webhooks.deliveries(id))[0]?.attempts).toBe(1);
  });

  it('may be named a host by a schedule of the code, which belongs to the tenant of all', async () => {
    const receiver = await Receiver.open();
    const asked = new Set<string>();
    @JobType({ name: 'timed' })
    @JobSchedule({ every: '1h', options: { statusHook: receiver.url } })
    class Timed implements JobHandler {
      execute(): void {}
    }
    const allowHosts = (tenantId: string): string[] => {
      asked.add(tenantId);
      return tenantId === NIL_TENANT ? ['127.0.0.1'] : [];
    };
    await bootJobs({
      types: [Timed],
      options: { webhooks: { ...LOOPBACK, secret: SECRET, allowHosts } },
    });
    expect(asked).toEqual(new Set([NIL_TENANT]));
  });

  it.each([[['*']], [['https://example.com']], ['example.com'], [[7]]])(
    'cannot be given %j for hosts',
    async (allowHosts) => {
      await expect(boot({ allowHosts })).rejects.toThrow(/webhooks.allowHosts/);
    },
  );
});

it('tests an endpoint twice at a time, and no more often', async () => {
  const waiting: ServerResponse[] = [];
  const receiver = await Receiver.open((_hook, _nth, response) => {
    waiting.push(response);
    return undefined;
  });
  const { webhooks } = await boot();
  const { id } = await webhooks.create({ url: receiver.url });
  const tests = [webhooks.test(id), webhooks.test(id)];
  await until(() => waiting.length === 2, 'two tests');
  const error = await refusal(webhooks.test(id));
  expect(error).toMatchObject({ code: 'try_later', retryAfterSec: 5 });
  waiting.forEach((response) => response.writeHead(204).end());
  const done = await Promise.all(tests);
  expect(done.map(({ status }) => status)).toEqual(['delivered', 'delivered']);
});

it('leaves nothing of a delivery whose job is deleted while it is sent, and harms no other', async () => {
  let isHeld = true;
  const waiting: ServerResponse[] = [];
  const receiver = await Receiver.open((_hook, _nth, response) => {
    if (!isHeld) {
      return 204;
    }
    waiting.push(response);
    return undefined;
  });
  const app = await boot({ retry: [] });
  const { id } = await app.webhooks.create({ url: receiver.url });
  const job = await app.jobs.enqueue(Held, {}, { delay: '1h' });
  await until(() => waiting.length === 1, 'the delivery');
  await app.jobs.delete(job.id);
  isHeld = false;
  // The schedule is over with this one, but it is nobody's any more.
  waiting.forEach((response) => response.writeHead(500).end());
  const next = await app.run(Quick);
  await receiver.told(next.id, 'job.completed');
  expect((await app.webhooks.get(id)).isEnabled).toBe(true);
  expect(receiver.of(job.id)).toHaveLength(1);
  const deliveries = await app.webhooks.deliveries(id);
  expect(deliveries.filter(({ jobId }) => jobId === job.id)).toEqual([]);
});
