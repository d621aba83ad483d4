import { DataSource } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS } from '../support/http.js';
import { waitForEnd } from '../support/waiting.js';
import { byHeader, openReal } from './real.js';

const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const later = { type: 'default:held', delay_sec: 3600 };

describe.each(SERVERS)('unique jobs over HTTP on %s', (server) => {
  it('answer a duplicate with 409 that names the job that is there, and never with 500', async () => {
    const host = await openReal({ server, types: [Held] });
    const body = { ...later, unique: true };
    const answers = await Promise.all(Array.from({ length: 50 }, () => host.post('/jobs', body)));
    const created = answers.filter(({ status }) => status === 202);
    expect(created).toHaveLength(1);
    const id = created.map((answer) => field(answer, 'id'))[0];
    const refused = answers.filter(({ status }) => status !== 202);
    for (const answer of refused) {
      expect(answer).toMatchObject({
        status: 409,
        body: { status: 409, code: 'duplicate_job', job_id: id },
      });
      expect(answer.headers['content-type']).toContain('application/problem+json');
    }
    expect(field(await host.get('/jobs'), 'total')).toBe(1);
  });

  it('give the one that is there with 200, as it is or replaced', async () => {
    const host = await openReal({ server, types: [Held] });
    const unique = { key: 'k', until: 'final', within_sec: 0.5 };
    const post = (params: object, more: object) =>
      host.post('/jobs', { ...later, params, unique: { ...unique, ...more } });
    const made = await post({ n: 1 }, {});
    expect(made.status).toBe(202);
    const id = String(field(made, 'id'));
    const existing = await post({ n: 2 }, { on_conflict: 'return' });
    expect(existing).toMatchObject({ status: 200, body: { id, params: { n: 1 } } });
    expect(existing.headers.location).toBe(`/jobs/${id}`);
    const runAt = Date.now() + 60_000;
    const replaced = await host.post('/jobs', {
      type: 'default:held',
      run_at: runAt,
      params: { n: 3 },
      unique: { ...unique, on_conflict: 'replace' },
    });
    expect(replaced).toMatchObject({ status: 200, body: { id, params: { n: 3 }, run_at: runAt } });
    expect(replaced.headers.location).toBe(`/jobs/${id}`);
  });

  it('have their keys for within_sec from the enqueue on', async () => {
    const host = await openReal({ server, types: [Held] });
    const body = (key: string, within: number) => ({
      ...later,
      unique: { key, until: 'started', within_sec: within },
    });
    const one = await host.post('/jobs', body('one', 90.5));
    const many = await host.post('/jobs/batch', { jobs: [body('many', 3600), body('short', 0.3)] });
    const flow = await host.post('/jobs/flow', { jobs: { a: body('of a flow', 60) } });
    expect([one.status, many.status, flow.status]).toEqual([202, 202, 202]);
    const rows = (await host.app.get(DataSource).query(
      `SELECT held.unique_key AS name, held.within_until_ms - job.scheduled_at_ms AS ms
       FROM job_uniques held JOIN jobs job ON job.job_id = held.job_id`,
    )) as { name: string; ms: unknown }[];
    expect(Object.fromEntries(rows.map(({ name, ms }) => [name, Number(ms)]))).toEqual({
      one: 90_500,
      many: 3_600_000,
      short: 300,
      'of a flow': 60_000,
    });
  });

  it('have their outcomes in a batch', async () => {
    const host = await openReal({ server, types: [Held] });
    const item = (n: number, unique: object) => ({ ...later, params: { n }, unique });
    const jobs = [
      item(1, { key: 'k' }),
      item(2, { key: 'k' }),
      item(3, { key: 'k', on_conflict: 'return' }),
      item(4, { key: 'k', on_conflict: 'replace' }),
    ];
    const refused = await host.post('/jobs/batch', { jobs });
    expect(refused).toMatchObject({ status: 409, body: { code: 'duplicate_job', index: 1 } });
    expect(field(await host.get('/jobs'), 'total')).toBe(0);
    const answer = await host.post('/jobs/batch', { jobs, on_conflict: 'ignore' });
    expect(answer).toMatchObject({
      status: 202,
      body: {
        jobs: [
          { outcome: 'created' },
          { outcome: 'rejected', error: { code: 'duplicate_job', index: 1 } },
          { outcome: 'existing' },
          { outcome: 'replaced', job: { params: { n: 4 } } },
        ],
      },
    });
  });

  it('belong to their tenants', async () => {
    const host = await openReal({ server, types: [Held], options: { identify: byHeader } });
    const body = { ...later, unique: { key: 'k' } };
    expect((await host.post('/jobs', body, { 'X-Tenant': 'ann' })).status).toBe(202);
    expect((await host.post('/jobs', body, { 'X-Tenant': 'bob' })).status).toBe(202);
    expect((await host.post('/jobs', body, { 'X-Tenant': 'ann' })).status).toBe(409);
  });

  it('are not retried while another one has their key', async () => {
    const host = await openReal({ server, types: [Held] });
    const unique = { key: 'k' };
    const id = String(field(await host.post('/jobs', { type: 'default:held', unique }), 'id'));
    (await gate.entry(id)).fail(new Error('it broke'));
    await waitForEnd(host.jobs, id);
    const second = field(await host.post('/jobs', { ...later, unique }), 'id');
    expect(await host.post(`/jobs/${id}/retry`, {})).toMatchObject({
      status: 409,
      body: { code: 'duplicate_job', job_id: second },
    });
    expect((await host.jobs.get(id)).status).toBe('failed');
  });
});
