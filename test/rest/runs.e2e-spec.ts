import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS, type Answer } from '../support/http.js';
import { byHeader, openReal } from './real.js';

const gate = handlerGate();
const ANN = { 'X-Tenant': 'ann' };
const BOB = { 'X-Tenant': 'bob' };

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

/** Of the jobs whose runs an answer lists. */
function jobIds(answer: Answer): readonly unknown[] {
  return Array.from({ length: Number(field(answer, 'total')) }, (_, n) => n)
    .map((n) => answer.body?.['runs']?.[n]?.['job_id'])
    .filter((id) => id !== undefined);
}

describe.each(SERVERS)('GET /runs on %s', (server) => {
  it('lists the runs under way of the caller’s tenant, page by page', async () => {
    const host = await openReal({ server, types: [Held], options: { identify: byHeader } });
    const ids: string[] = [];
    for (const headers of [ANN, ANN, BOB]) {
      const created = await host.post('/jobs', { type: 'default:held' }, headers);
      ids.push(String(field(created, 'id')));
    }
    await Promise.all(ids.map((id) => gate.entry(id)));
    const all = await host.get('/runs', ANN);
    expect(all).toMatchObject({
      status: 200,
      body: { page: 1, limit: 50, total: 2, total_is_exact: true, order: 'job_id' },
    });
    expect(all.body?.['runs']).toMatchObject([
      { job_id: ids[0], revision: 1, outcome: 'running', ended_at: null },
      { job_id: ids[1] },
    ]);
    expect(all.body?.['runs']?.[0]).toEqual(
      (await host.get(`/jobs/${ids[0]}/runs`, ANN)).body?.['runs']?.[0],
    );
    const workerId = String(field({ ...all, body: all.body?.['runs']?.[0] }, 'worker_id'));
    const shown = async (query: string) => jobIds(await host.get(`/runs?${query}`, ANN));
    expect(await shown(`worker_id=${workerId}`)).toEqual(ids.slice(0, 2));
    expect(await shown('worker_id=nobody')).toEqual([]);
    expect(await shown('older_than_sec=60')).toEqual([]);
    expect(await shown('older_than_sec=0&page_size=1&page=2')).toEqual([ids[1]]);
    const first = await host.get('/runs?limit=1', ANN);
    const next = String(field(first, 'next_cursor'));
    expect(await shown(`limit=5&cursor=${next}`)).toEqual([ids[1]]);
    for (const query of ['older_than_sec=-1', 'cursor=!', 'page=0', 'olderThan=1', 'tenant_id=x']) {
      expect(await host.get(`/runs?${query}`, ANN)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      });
    }
    const errors = [{ field: 'older_than_sec', message: 'must be >= 0' }];
    expect(await host.get('/runs?older_than_sec=-1', ANN)).toMatchObject({ body: { errors } });
    expect((await host.get('/runs')).status).toBe(401);
  });
});
