import type { ServerResponse } from 'node:http';
import { Webhook as Verifier } from 'standardwebhooks';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  JobType,
  type JobContext,
  type JobHandler,
  type Webhook,
  type WebhookDelivery,
  type WebhookWithSecret,
} from '../../lib/index.js';
import { PausedQueues } from '../../lib/engine/paused-queues.js';
import { newId } from '../../lib/model/id.js';
import { DeliveryScripts } from '../../lib/store/typeorm/delivery.scripts.js';
import { WebhookScripts } from '../../lib/store/typeorm/webhook.scripts.js';
import { bootJobs, type Boot, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { codeOf } from '../support/refusals.js';
import { until } from '../support/waiting.js';

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
    options: {
      webhooks: { ...LOOPBACK, retry: ['1s', '1s'], ...webhooks },
    },
    ...more,
  });
}

/** A receiver that answers when it is told to, the oldest request first. */
async function slowReceiver(): Promise<{
  readonly receiver: Receiver;
  readonly answer: (status: number) => void;
}> {
  const waiting: ServerResponse[] = [];
  const receiver = await Receiver.open((_hook, _nth, response) => {
    waiting.push(response);
    return undefined;
  });
  return { receiver, answer: (status) => waiting.shift()?.writeHead(status).end() };
}

async function settled(app: BootedJobs, id: string): Promise<WebhookDelivery> {
  return until(async () => {
    const [delivery] = await app.webhooks.deliveries(id);
    return delivery !== undefined && delivery.status !== 'pending' && delivery;
  }, 'the delivery to be over');
}

/** Whoever sends now is taken for dead. */
async function leasesEnd(app: BootedJobs): Promise<void> {
  await app.sql('UPDATE job_deliveries SET lease_until_ms = 0 WHERE lease_until_ms IS NOT NULL');
}

describe('an endpoint that is disabled', () => {
  it('gets in order what has waited, and what happens while it is enabled', async () => {
    let isUp = false;
    const receiver = await Receiver.open(() => (isUp ? 204 : 503));
    const app = await boot({ retry: Array.from({ length: 30 }, () => '1s') });
    const { id: endpoint } = await app.webhooks.create({ url: receiver.url });
    const { id } = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    for (let n = 0; n < 600; n += 1) {
      await ctx.checkIn(`before ${n}`);
    }
    await app.webhooks.update(endpoint, { isEnabled: false });
    isUp = true;
    let isEnabled = false;
    const enabled = app.webhooks.update(endpoint, { isEnabled: true }).then(() => {
      isEnabled = true;
    });
    for (let n = 0; !isEnabled || n < 10; n += 1) {
      await ctx.checkIn(`meanwhile ${n}`);
    }
    await enabled;
    release();
    await receiver.told(id, 'job.completed', 60_000);
    const said = receiver.of(id).map(({ event }) => event.data.sequence);
    expect(said).toEqual(said.toSorted((a, b) => a - b));
    expect(new Set(said).size).toBeGreaterThan(602);
  }, 90_000);

  it('is not sent again what it acknowledged meanwhile', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot();
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Quick);
    await receiver.received(1);
    await app.webhooks.update(id, { isEnabled: false });
    answer(204);
    expect(await settled(app, id)).toMatchObject({ status: 'delivered', attempts: 1 });
  });

  it('costs no look, also where events came late', async () => {
    const looks = vi.spyOn(DeliveryScripts.prototype, 'lanes');
    const marks = vi.spyOn(PausedQueues.prototype, 'refresh');
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const receiver = await Receiver.open(() => 503);
    const app = await boot({ retry: ['1h'] });
    const other = await boot({}, { database: app.database });
    const { id } = await app.webhooks.create({ url: receiver.url });
    await app.jobs.enqueue(Quick);
    await receiver.received(1);
    await app.webhooks.update(id, { isEnabled: false });
    // One that somebody wrote who had not heard of it yet.
    await app.sql("UPDATE job_deliveries SET lane = target, due_at_ms = 0, status = 'pending'");
    const busy = async (rounds: number): Promise<void> => {
      const before = marks.mock.calls.length;
      await until(
        async () => {
          await other.run(Quick);
          return marks.mock.calls.length >= before + rounds;
        },
        'looks at the marks',
        30_000,
      );
    };
    await busy(4);
    const before = looks.mock.calls.length;
    await busy(8);
    expect(looks.mock.calls.length - before).toBe(0);
    await app.webhooks.update(id, { isEnabled: true });
    await receiver.received(2);
  });

  it('keeps no job from retention, which takes along what has waited', async () => {
    const receiver = await Receiver.open(() => 503);
    const app = await boot({ retry: ['1h'] });
    const { id } = await app.webhooks.create({ url: receiver.url });
    const job = await app.run(Quick);
    await receiver.received(1);
    const isGone = async (id: string): Promise<boolean> =>
      (await codeOf(app.jobs.get(id))) === 'not_found';
    /** Retention looks when a process starts, and takes along what nobody hears of. */
    const retention = async (): Promise<void> => {
      const unheard = await app.run(Quick, {}, { tenantId: 'other' });
      const options = { retention: { completed: '1ms' } };
      const looking = await bootJobs({ types: [Quick], database: app.database, options });
      await until(() => isGone(unheard.id), 'retention');
      await looking.close();
    };
    await retention();
    expect(await isGone(job.id)).toBe(false);
    await app.webhooks.update(id, { isEnabled: false });
    // One that somebody wrote who had not heard of it yet.
    await app.sql("UPDATE job_deliveries SET lane = target WHERE status = 'pending'");
    await retention();
    expect(await isGone(job.id)).toBe(true);
    const left = `WHERE job_id = '${job.id}'`;
    expect(await app.sql(`SELECT * FROM job_events ${left}`)).toEqual([]);
    expect(await app.sql(`SELECT * FROM job_deliveries ${left}`)).toEqual([]);
  }, 30_000);
});

it('keeps no job any more whose hook nobody has been able to sign for a week', async () => {
  const receiver = await Receiver.open(() => 503);
  const app = await boot({ secret: SECRET, retry: ['1h'] });
  const hooked = { statusHook: receiver.url };
  const [late, recent] = [await app.run(Quick, {}, hooked), await app.run(Quick, {}, hooked)];
  await receiver.received(2);
  await until(
    async () =>
      (await app.sql('SELECT 1 FROM job_deliveries WHERE holder IS NOT NULL')).length === 0,
    'both tries to be noted',
  );
  await app.close();
  const options = { retention: { completed: '1ms' }, webhooks: LOOPBACK };
  const without = await boot({}, { database: app.database, options: { role: 'producer' } });
  for (const [{ id }, days] of [
    [late, 8],
    [recent, 6],
  ] as const) {
    const dueAtMs = Date.now() - days * 86_400_000;
    await without.sql(`UPDATE job_deliveries SET due_at_ms = ${dueAtMs} WHERE job_id = '${id}'`);
  }
  await boot({}, { database: app.database, options });
  await until(async () => (await codeOf(without.jobs.get(late.id))) === 'not_found', 'retention');
  expect((await without.jobs.get(recent.id)).status).toBe('completed');
  const left = await without.sql<{ job_id: string }>('SELECT job_id FROM job_deliveries');
  expect(new Set(left.map(({ job_id }) => job_id))).toEqual(new Set([recent.id]));
}, 60_000);

/** What was told an endpoint: many rows of one job, or none. */
async function historyOf(app: BootedJobs, id: string, count: number, seq: number): Promise<void> {
  for (let from = 1; from <= count; from += 500) {
    const rows = Array.from(
      { length: Math.min(500, count - from + 1) },
      (_, n) =>
        `('${newId()}', '${id}', NULL, NULL, ${seq}, ${from + n}, '', 'x', 'delivered', 1, 0, 0, 0)`,
    );
    await app.sql(
      `INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, tenant_id, event,
         status, attempts, lost, created_at_ms, updated_at_ms) VALUES ${rows.join(', ')}`,
    );
  }
}

describe('the history of an endpoint', () => {
  const countOf = async (app: BootedJobs): Promise<number> => {
    const rows = await app.sql<{ n: unknown }>('SELECT COUNT(*) AS n FROM job_deliveries');
    return Number(rows[0]?.n);
  };

  it('has each test, also of those that are over at the same time', async () => {
    const receiver = await Receiver.open();
    const { webhooks } = await boot();
    const { id } = await webhooks.create({ url: receiver.url });
    const tests: string[] = [];
    for (let round = 0; round < 20; round += 1) {
      const two = await Promise.all([webhooks.test(id), webhooks.test(id)]);
      tests.push(...two.map((each) => each.id));
    }
    const shown = await webhooks.deliveries(id, { limit: 1000 });
    expect(new Set(shown.map((each) => each.id))).toEqual(new Set(tests));
  });

  it('has the last hundred tests', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    const { id } = await app.webhooks.create({ url: receiver.url });
    await historyOf(app, id, 150, 0);
    // As if they had been made just now.
    await app.sql(`UPDATE job_deliveries SET sequence = sequence + ${Date.now() - 1000}`);
    const last = await app.webhooks.test(id);
    const shown = await app.webhooks.deliveries(id, { limit: 1000 });
    expect(shown).toHaveLength(100);
    expect(shown.map((each) => each.id)).toContain(last.id);
  });

  it('has no test that is over when the endpoint is gone', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot();
    const { id } = await app.webhooks.create({ url: receiver.url });
    const test = app.webhooks.test(id);
    await receiver.received(1);
    await app.webhooks.delete(id);
    answer(204);
    expect((await test).status).toBe('delivered');
    expect(await countOf(app)).toBe(0);
  });

  it('goes bit by bit when it is deleted, and keeps nobody waiting', async () => {
    const producer = await boot({}, { options: { role: 'producer', webhooks: LOOPBACK } });
    const [gone, kept] = [
      await producer.webhooks.create({ url: 'http://127.0.0.1:9/gone' }),
      await producer.webhooks.create({ url: 'http://127.0.0.1:9/kept' }),
    ];
    await historyOf(producer, gone.id, 5000, 7);
    await historyOf(producer, kept.id, 10, 8);
    await producer.webhooks.delete(gone.id);
    expect(await countOf(producer)).toBeGreaterThan(2000);
    expect(await codeOf(producer.webhooks.deliveries(gone.id))).toBe('not_found');
    await boot({}, { database: producer.database });
    await until(async () => (await countOf(producer)) === 10, 'the rest to go', 60_000);
    expect(await producer.webhooks.deliveries(kept.id)).toHaveLength(10);
  }, 90_000);
});

describe('a try', () => {
  it('whose process is not heard of again is no try, and what it says later is not heard', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot({ retry: ['1s'] });
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Quick);
    await receiver.received(1);
    await leasesEnd(app);
    await receiver.received(2);
    // The first, which holds it no more.
    answer(410);
    answer(500);
    await receiver.received(3);
    answer(204);
    expect(await settled(app, id)).toMatchObject({ status: 'delivered', attempts: 2 });
    expect((await app.webhooks.get(id)).isEnabled).toBe(true);
  });

  it('that a stop cuts off is given back at once, and is no try', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot({ retry: [] });
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Held, {}, { delay: '1h' });
    await receiver.received(1);
    await app.close();
    const producer = await boot(
      {},
      { database: app.database, options: { role: 'producer', webhooks: LOOPBACK } },
    );
    expect(
      await producer.sql('SELECT status, holder, lease_until_ms, attempts FROM job_deliveries'),
    ).toMatchObject([{ status: 'pending', holder: null, lease_until_ms: null }]);
    expect(await producer.webhooks.deliveries(id)).toMatchObject([{ attempts: 0 }]);
    await boot({}, { database: app.database });
    await receiver.received(2);
    answer(500);
    answer(204);
    expect(await settled(producer, id)).toMatchObject({ status: 'delivered', attempts: 1 });
  });

  it('at which processes vanish again and again is one at last, and is not sent for ever', async () => {
    const { receiver } = await slowReceiver();
    const app = await boot({ retry: [] });
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Quick);
    for (let n = 1; n <= 4; n += 1) {
      await receiver.received(n);
      await leasesEnd(app);
    }
    const delivery = await settled(app, id);
    expect(delivery).toMatchObject({ status: 'failed', answer: { status: null } });
    expect(delivery.answer?.error).toContain('vanished');
    expect(receiver.hooks).toHaveLength(4);
    expect((await app.webhooks.get(id)).disabledReason).toContain('vanished');
  });

  it('that began before somebody enabled the endpoint does not disable it, and starts anew', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot({ retry: [] });
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Quick);
    await receiver.received(1);
    await app.webhooks.update(id, { isEnabled: false });
    await app.webhooks.update(id, { isEnabled: true });
    answer(410);
    await receiver.received(2);
    answer(204);
    expect(await settled(app, id)).toMatchObject({ status: 'delivered', attempts: 1 });
    expect((await app.webhooks.get(id)).isEnabled).toBe(true);
  });

  it('of a status hook that somebody else makes again does not end the hook', async () => {
    const { receiver, answer } = await slowReceiver();
    const app = await boot({ secret: SECRET, retry: [] });
    const { id } = await app.jobs.enqueue(Quick, {}, { statusHook: receiver.url });
    await receiver.received(1);
    await leasesEnd(app);
    await receiver.received(2);
    answer(410);
    answer(204);
    await receiver.told(id, 'job.running');
    answer(204);
    await receiver.told(id, 'job.completed');
    expect(app.log.texts().filter((text) => text.includes('status hook of job'))).toEqual([]);
  });
});

describe('a change of an endpoint', () => {
  /** A change that has read the endpoint and does not go on before it is let. */
  async function changing(url = 'http://127.0.0.1:9/'): Promise<{
    readonly app: BootedJobs;
    readonly id: string;
    readonly secret: string;
    readonly change: Promise<WebhookWithSecret>;
    go(): void;
  }> {
    const encryptionKey = 'k'.repeat(32);
    const app = await boot({ encryptionKey });
    const { id, secret = '' } = await app.webhooks.create({ url });
    let go = (): void => undefined;
    const key = new Promise<string>((resolve) => (go = () => resolve(encryptionKey)));
    const other = await boot({ encryptionKey: () => key }, { database: app.database });
    const reads = vi.spyOn(WebhookScripts.prototype, 'find');
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const change = other.webhooks.update(id, { rotateSecret: true });
    change.catch(() => undefined);
    await until(() => reads.mock.calls.length > 0, 'the change to read it');
    // It has come to its key by the time that another look at the endpoint is over.
    await other.webhooks.get(id);
    return { app, id, secret, change, go };
  }

  it('that was deleted meanwhile does not bring it back', async () => {
    const { app, id, change, go } = await changing();
    await app.webhooks.delete(id);
    go();
    expect(await codeOf(change)).toBe('not_found');
    expect(await app.webhooks.list()).toEqual([]);
  });

  it('leaves what others have changed meanwhile', async () => {
    const { app, id, change, go } = await changing();
    await app.webhooks.update(id, { isEnabled: false, events: ['job.failed'] });
    go();
    expect(await change).toMatchObject({ isEnabled: false, events: ['job.failed'] });
    expect(await app.webhooks.get(id)).toMatchObject({ isEnabled: false, events: ['job.failed'] });
  });

  it('of its secret takes no other new one away: both sign, and the old one for a while', async () => {
    const receiver = await Receiver.open();
    const { app, id, secret, change, go } = await changing(receiver.url);
    const { secret: first = '' } = await app.webhooks.update(id, { rotateSecret: true });
    go();
    const { secret: second = '' } = await change;
    await app.webhooks.test(id);
    const [hook] = await receiver.received(1);
    for (const each of [secret, first, second]) {
      new Verifier(each).verify(hook?.body ?? '', hook?.headers as Record<string, string>);
    }
  });
});

describe('endpoints of the options', () => {
  const declared = ({ url }: Receiver): object => ({ endpoints: [{ url, secret: SECRET }] });
  const only = async (app: BootedJobs): Promise<Webhook> => {
    const [endpoint] = await app.webhooks.list();
    expect(endpoint).toBeDefined();
    return endpoint as Webhook;
  };

  it('stay while any process declares them, as while old and new code run side by side', async () => {
    const [first, second] = [await Receiver.open(), await Receiver.open()];
    const old = await boot(declared(first));
    const next = await boot(declared(second), { database: old.database });
    const none = await boot({}, { database: old.database });
    await until(async () => (await none.webhooks.list()).length === 2, 'both endpoints');
    const { id } = await none.run(Quick);
    // The others may run it before they have heard of all that hear of it.
    await first.told(id, 'job.waiting');
    await second.told(id, 'job.waiting');
    expect((await next.webhooks.list()).map(({ isEnabled }) => isEnabled)).toEqual([true, true]);
  });

  it('are disabled when no process has declared them for a day, until one does again', async () => {
    const receiver = await Receiver.open();
    const old = await boot(declared(receiver));
    const { database } = old;
    const { id } = await until(async () => (await old.webhooks.list())[0], 'the endpoint');
    expect(await codeOf(old.webhooks.delete(id))).toBe('forbidden');
    await old.sql(`UPDATE job_webhooks SET declared_at_ms = declared_at_ms - ${25 * 3_600_000}`);
    await old.close();

    const without = await boot({}, { database });
    await until(async () => !(await only(without)).isEnabled, 'it to be disabled');
    expect((await only(without)).disabledReason).toContain('declared');
    expect(without.log.texts().some((text) => text.includes(id))).toBe(true);

    const again = await boot(declared(receiver), { database });
    await until(async () => (await only(again)).isEnabled, 'it to be enabled');
    const job = await again.run(Quick);
    await receiver.told(job.id, 'job.waiting');
    await again.close();
    await without.webhooks.delete(id);
    expect(await without.webhooks.list()).toEqual([]);
  });

  it('are known by their URLs, of which there are no two alike', async () => {
    const endpoint = { url: 'https://example.com/', secret: SECRET };
    const refused = boot({ endpoints: [endpoint, { ...endpoint, events: ['job.failed'] }] });
    await expect(refused).rejects.toThrow('webhooks.endpoints.1.url');
  });
});

it('tells the last of more receivers than one look sees', async () => {
  const receiver = await Receiver.open();
  const app = await boot();
  const rows = Array.from(
    { length: 2500 },
    (_, n) =>
      `('${newId()}', 'away ${n}', '0000 away ${n}', 9000000000000000, 0, ${n}, '', 'x', 'pending', 0, 0, 0, 0)`,
  );
  await app.sql(
    `INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, tenant_id, event,
       status, attempts, lost, created_at_ms, updated_at_ms) VALUES ${rows.join(', ')}`,
  );
  await app.webhooks.create({ url: receiver.url });
  const { id } = await app.run(Quick);
  await receiver.told(id, 'job.completed');
});

it('lists the deliveries of all statuses by age, a page at a time', async () => {
  const receiver = await Receiver.open((_hook, nth) => (nth % 2 === 0 ? 500 : 204));
  const app = await boot({ retry: ['1h'] });
  const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.completed'] });
  for (let n = 0; n < 6; n += 1) {
    await app.run(Quick);
  }
  await receiver.received(6);
  const all = await until(async () => {
    const found = await app.webhooks.deliveries(id);
    return found.every(({ answer }) => answer !== null) && found;
  }, 'all to be noted');
  expect(new Set(all.map(({ status }) => status))).toEqual(new Set(['pending', 'delivered']));
  const ids = all.map((each) => each.id);
  expect(ids).toEqual(ids.toSorted().toReversed());
  const first = await app.webhooks.deliveries(id, { limit: 4 });
  const rest = await app.webhooks.deliveries(id, { limit: 4, before: ids[3] ?? '' });
  expect([...first, ...rest].map((each) => each.id)).toEqual(ids);
});

it('lists what a status hook was sent, by the id of its job, to send it again', async () => {
  const receiver = await Receiver.open();
  const app = await boot({ secret: SECRET });
  const hooked = { statusHook: receiver.url, tenantId: 'a' };
  const { id } = await app.run(Quick, {}, hooked);
  await app.run(Quick, {}, hooked);
  const plain = await app.run(Quick, {}, { tenantId: 'a' });
  const all = await until(async () => {
    const found = await app.webhooks.deliveries(id, { status: 'delivered' });
    return found.length === 3 && found;
  }, 'all to be noted');
  expect(new Set(all.map(({ jobId, webhookId }) => [jobId, webhookId].join()))).toEqual(
    new Set([`${id},`]),
  );
  expect(new Set(all.map(({ sequence }) => sequence))).toEqual(new Set([1, 2, 3]));
  const ids = all.map((each) => each.id);
  expect(ids).toEqual(ids.toSorted().toReversed());
  const rest = await app.webhooks.deliveries(id, { before: ids[0] ?? '', tenantId: 'a' });
  expect(rest.map((each) => each.id)).toEqual(ids.slice(1));
  expect(await app.webhooks.deliveries(id, { status: 'failed' })).toEqual([]);
  expect(await codeOf(app.webhooks.deliveries(id, { tenantId: 'b' }))).toBe('not_found');
  expect(await codeOf(app.webhooks.deliveries(plain.id))).toBe('not_found');
  await app.webhooks.redeliver(ids[0] ?? '');
  await receiver.received(7);
});

describe('answers that are hidden', () => {
  it('tell nothing but whether it was delivered; the log says why it was not', async () => {
    const receiver = await Receiver.open(() => 503);
    const app = await boot({ hideAnswers: true, retry: ['10ms'] });
    const { id } = await app.webhooks.create({ url: receiver.url, events: ['job.waiting'] });
    await app.jobs.enqueue(Quick);
    expect(await settled(app, id)).toMatchObject({ status: 'failed', attempts: 2, answer: null });
    expect(await app.webhooks.get(id)).toMatchObject({
      isEnabled: false,
      disabledReason: 'a delivery failed 2 times',
    });
    expect(app.log.texts().join()).toContain('the last time because it answered 503');
    expect(await app.webhooks.test(id)).toMatchObject({ status: 'failed', answer: null });
    const kept = await app.webhooks.deliveries(id);
    expect(kept.map(({ answer }) => answer)).toEqual([null, null]);
  });
});
