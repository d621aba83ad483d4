import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { field, SERVERS, type HttpApp } from '../support/http.js';
import { until } from '../support/waiting.js';
import { openReal } from './real.js';

@JobType({ name: 'asks' })
class Asks implements JobHandler {
  async execute(ctx: JobContext): Promise<unknown> {
    return { got: await ctx.waitForSignal('a name/with anything') };
  }
}

const PATH = `signals/${encodeURIComponent('a name/with anything')}`;

describe.each(SERVERS)('POST /jobs/:id/signals/:name on %s', (server) => {
  const create = async (host: HttpApp, more: object = {}): Promise<string> =>
    String(field(await host.post('/jobs', { type: 'default:asks', ...more }), 'id'));

  it('wakes the job that waits, and answers 202 with it', async () => {
    const host = await openReal({ server, types: [Asks] });
    const id = await create(host);
    await until(
      async () => field(await host.get(`/jobs/${id}`), 'waiting_for') === 'signal',
      'the job to wait',
    );
    expect(await host.post(`/jobs/${id}/${PATH}`, { payload: { by: 'ann' } })).toMatchObject({
      status: 202,
      body: { id, status: 'waiting' },
    });
    expect(await host.get(`/jobs/${id}/wait`)).toMatchObject({
      status: 200,
      body: { status: 'completed', result: { got: { by: 'ann' } } },
    });
    expect(await host.post(`/jobs/${id}/${PATH}`)).toMatchObject({
      status: 409,
      body: { code: 'already_ended' },
    });
  });

  it('keeps an early one, without a body too', async () => {
    const host = await openReal({ server, types: [Asks] });
    const id = await create(host, { delay_sec: 3600 });
    expect((await host.post(`/jobs/${id}/${PATH}`)).status).toBe(202);
    await host.ask('PATCH', `/jobs/${id}`, { body: { run_at: 0 } });
    expect((await host.get(`/jobs/${id}/wait`)).body).toMatchObject({ result: { got: null } });
  });

  it('refuses what does not fit', async () => {
    const host = await openReal({ server, types: [Asks], options: { limits: { result: 100 } } });
    const id = await create(host, { delay_sec: 3600 });
    const post = async (path: string, body?: object) => {
      const answer = await host.post(path, body);
      return [answer.status, field(answer, 'code')];
    };
    expect(await post(`/jobs/${newId()}/signals/x`)).toEqual([404, 'not_found']);
    expect(await post(`/jobs/${id}/signals/%00`)).toEqual([400, 'invalid_request']);
    expect(await post(`/jobs/${id}/signals/x`, { value: 1 })).toEqual([400, 'invalid_request']);
    expect(await post(`/jobs/${id}/signals/x`, { payload: 'x'.repeat(200) })).toEqual([
      413,
      'too_large',
    ]);
  });
});
