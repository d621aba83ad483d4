import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS } from '../support/http.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { until } from '../support/waiting.js';
import { byHeader, openReal } from './real.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const ANN = { 'X-Tenant': 'ann', 'X-User': 'ann@x' };
const OPERATOR = { 'X-Tenant': 'ops', 'X-User': 'olga', 'X-Operator': 'yes' };

describe.each(SERVERS)('webhooks on %s', (server) => {
  const open = (webhooks: object = {}) =>
    openReal({
      server,
      types: [Held],
      options: {
        identify: byHeader,
        webhooks: { ...LOOPBACK, secret: SECRET, retry: ['1s'], ...webhooks },
      },
    });

  it('are added, shown, changed, tested and deleted', async () => {
    const receiver = await Receiver.open();
    const host = await open();
    const made = await host.post(
      '/webhooks',
      { url: receiver.url, events: ['job.completed'] },
      ANN,
    );
    expect(made).toMatchObject({
      status: 201,
      body: { url: receiver.url, events: ['job.completed'], enabled: true, tenant_id: 'ann' },
    });
    const id = String(field(made, 'id'));
    expect(made.headers.location).toBe(`/webhooks/${id}`);
    expect(String(field(made, 'secret'))).toMatch(/^whsec_/);
    const shown = await host.get(`/webhooks/${id}`, ANN);
    expect(shown.body).not.toHaveProperty('secret');
    expect((await host.get('/webhooks', ANN)).body).toMatchObject({
      total: 1,
      webhooks: [shown.body],
    });
    const changed = await host.ask('PUT', `/webhooks/${id}`, {
      body: { events: null, rotate_secret: true },
      headers: ANN,
    });
    expect(changed).toMatchObject({ status: 200, body: { events: null } });
    expect(field(changed, 'secret')).not.toBe(field(made, 'secret'));
    const tested = await host.post(`/webhooks/${id}/test`, {}, ANN);
    expect(tested).toMatchObject({
      status: 200,
      body: { webhook_id: id, status: 'delivered', event: 'webhook.test', answer: { status: 204 } },
    });
    expect(receiver.hooks[0]?.event.type).toBe('webhook.test');
    const deliveries = await host.get(`/webhooks/${id}/deliveries`, ANN);
    expect(deliveries).toMatchObject({
      status: 200,
      body: { next_cursor: null, deliveries: [tested.body] },
    });
    const gone = await host.ask('DELETE', `/webhooks/${id}`, { headers: ANN });
    expect(gone.status).toBe(204);
    expect((await host.get(`/webhooks/${id}`, ANN)).status).toBe(404);
  });

  it('carry the job of POST /jobs, and page and repeat what was delivered', async () => {
    const receiver = await Receiver.open();
    const host = await open();
    const made = await host.post('/webhooks', { url: receiver.url }, ANN);
    const id = String(field(made, 'id'));
    const body = { type: 'default:held', status_hook: receiver.url, params: { a: 1 } };
    const job = await host.post('/jobs', body, ANN);
    expect(job).toMatchObject({ status: 202, body: { status_hook: receiver.url, check_in: null } });
    const jobId = String(field(job, 'id'));
    const { ctx, release } = await gate.entry(jobId);
    await ctx.checkIn('half way');
    expect((await host.get(`/jobs/${jobId}`, ANN)).body).toMatchObject({ check_in: 'half way' });
    release();
    // Both the endpoint and the hook are told of four events.
    await until(() => receiver.of(jobId).length === 8, 'eight deliveries', 30_000);
    const last = await receiver.told(jobId, 'job.completed');
    expect(last.event.data.job).toEqual((await host.get(`/jobs/${jobId}`, ANN)).body);
    const page = (query: string) => host.get(`/webhooks/${id}/deliveries${query}`, ANN);
    const idsOf = ({ text }: { text: string }): string[] =>
      (JSON.parse(text) as { deliveries: { id: string }[] }).deliveries.map((each) => each.id);
    await until(
      async () => idsOf(await page('?status=delivered')).length === 4,
      'the deliveries to be noted',
    );
    const first = await page('?limit=3');
    const cursor = String(field(first, 'next_cursor'));
    const second = await page(`?limit=3&cursor=${cursor}`);
    expect(second.body).toMatchObject({
      next_cursor: null,
      deliveries: [{ event: 'job.waiting' }],
    });
    const again = await host.post(`/webhooks/deliveries/${idsOf(second)[0]}/redeliver`, {}, ANN);
    expect(again).toMatchObject({ status: 202, body: { status: 'pending', event: 'job.waiting' } });
    await until(() => receiver.of(jobId).length === 9, 'the repeated one', 30_000);
  });

  it('refuse what is wrong, naming the field, and store nothing', async () => {
    const host = await open();
    const wrong: [object, string][] = [
      [{}, 'url'],
      [{ url: 'ftp://example.com/' }, 'url'],
      [{ url: 'https://10.0.0.1/' }, 'url'],
      [{ url: 'https://example.com/', events: ['job.done'] }, 'events.0'],
      [{ url: 'https://example.com/', secret: 'short' }, 'secret'],
      [{ url: 'https://example.com/', tenant_id: 'bob' }, 'tenant_id'],
    ];
    for (const [body, name] of wrong) {
      const answer = await host.post('/webhooks', body, ANN);
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
      expect(answer.text).toContain(`"field":"${name}"`);
    }
    const hooked = { type: 'default:held', status_hook: 'http://169.254.169.254/' };
    expect(await host.post('/jobs', hooked, ANN)).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'status_hook' }] },
    });
    expect((await host.get('/webhooks', ANN)).body).toMatchObject({ total: 0 });
    expect((await host.get('/jobs', ANN)).body).toMatchObject({ total: 0 });
  });

  it('of the options are for operators to see, and to switch off and on', async () => {
    const receiver = await Receiver.open();
    const host = await open({ endpoints: [{ url: receiver.url, secret: SECRET }] });
    const list = (): Promise<{ body: unknown }> => host.get('/webhooks', OPERATOR);
    const found = await until(async () => {
      const { webhooks } = (await list()).body as { webhooks: { id: string }[] };
      return webhooks[0];
    }, 'the endpoint');
    expect((await host.get('/webhooks', ANN)).body).toMatchObject({ total: 0 });
    expect((await host.get(`/webhooks/${found.id}`, ANN)).status).toBe(404);
    const put = (body: object) =>
      host.ask('PUT', `/webhooks/${found.id}`, { body, headers: OPERATOR });
    expect(await put({ enabled: false })).toMatchObject({ status: 200, body: { enabled: false } });
    expect((await put({ url: receiver.url })).status).toBe(403);
  });

  it('of the options are sent again what operators say, whosever job it was', async () => {
    const receiver = await Receiver.open();
    const host = await open({ endpoints: [{ url: receiver.url, secret: SECRET }] });
    await until(
      async () => field(await host.get('/webhooks', OPERATOR), 'total') === 1,
      'the endpoint',
    );
    const body = { type: 'default:held', delay_sec: 3600 };
    const jobId = String(field(await host.post('/jobs', body, ANN), 'id'));
    const { headers } = await receiver.told(jobId, 'job.waiting');
    const id = String(headers['webhook-id']);
    const again = (by: Record<string, string>) =>
      host.post(`/webhooks/deliveries/${id}/redeliver`, {}, by);
    expect((await again(ANN)).status).toBe(404);
    expect((await again({ ...OPERATOR, 'X-Operator': '' })).status).toBe(404);
    await until(async () => (await again(OPERATOR)).status === 202, 'the delivery to be over');
    await until(() => receiver.of(jobId).length === 2, 'it to be repeated', 30_000);
  });

  it('and streams say who did what', async () => {
    const host = await open();
    const body = { type: 'default:held', delay_sec: 3600 };
    const id = String(field(await host.post('/jobs', body, ANN), 'id'));
    await host.ask('PATCH', `/jobs/${id}`, { body: { priority: 3 }, headers: ANN });
    await host.post(`/jobs/${id}/cancel`, { reason: 'no more' }, ANN);
    const { text } = await host.ask('GET', `/jobs/${id}/events`, {
      headers: { ...ANN, 'Last-Event-ID': '1' },
    });
    expect(text).toContain('"actor":"ann@x"');
    expect([...text.matchAll(/^id: (\d+)$/gm)].map(([, at]) => at)).toEqual(['2', '3']);
    expect(text).toMatch(/"status":"canceled".*"message":"no more","actor":"ann@x"/);
  });
});
