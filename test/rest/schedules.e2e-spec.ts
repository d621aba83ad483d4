import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { field, SERVERS } from '../support/http.js';
import { byHeader, openReal } from './real.js';

@JobType({ name: 'tick' })
class Tick implements JobHandler {
  execute(): void {}
}

const DAILY = {
  name: 'daily',
  type: 'default:tick',
  params: { a: 1 },
  cron: '30 2 * * *',
  time_zone: 'Europe/Berlin',
  options: { priority: 2, timeout_sec: 1.5, retry_delay_sec: 3, tags: ['x'] },
};

describe.each(SERVERS)('schedules over HTTP on %s', (server) => {
  const open = (options: object = {}) =>
    openReal({ server, types: [Tick], options: { role: 'producer', ...options } });

  it('are made, read, replaced, previewed, paused, resumed, run and deleted', async () => {
    const api = await open();
    const made = await api.post('/schedules', DAILY);
    expect(made).toMatchObject({
      status: 201,
      headers: { location: '/schedules/daily' },
      body: {
        name: 'daily',
        type: 'default:tick',
        params: { a: 1 },
        cron: '30 2 * * *',
        time_zone: 'Europe/Berlin',
        every_sec: null,
        after_sec: null,
        start_at: null,
        end_at: null,
        overlap: 'skip',
        misfire: 'once',
        paused: false,
        options: { priority: 2, timeout_sec: 1.5, retry_delay_sec: 3, tags: ['x'] },
        last_run_at: null,
        last_job_id: null,
      },
    });
    expect((await api.post('/schedules', DAILY)).status).toBe(200);
    expect((await api.get('/schedules/daily')).body).toEqual(
      (await api.get('/schedules')).body?.['schedules']?.[0],
    );

    const put = await api.ask('PUT', '/schedules/daily', {
      body: { type: 'default:tick', every_sec: 90.5, cron: null, overlap: 'allow', misfire: 'all' },
    });
    expect(put).toMatchObject({
      status: 200,
      body: { id: field(made, 'id'), every_sec: 90.5, cron: null, time_zone: null, params: {} },
    });
    const preview = await api.get('/schedules/daily/preview?n=3');
    const next = preview.body?.['next'] as unknown as number[];
    expect(next).toHaveLength(3);
    expect((next[1] ?? 0) - (next[0] ?? 0)).toBe(90_500);
    expect(next[0]).toBe(field(put, 'next_run_at'));

    expect(await api.post('/schedules/daily/pause')).toMatchObject({
      status: 202,
      body: { paused: true, next_run_at: null },
    });
    expect(await api.post('/schedules/daily/resume')).toMatchObject({
      status: 202,
      body: { paused: false },
    });
    const run = await api.post('/schedules/daily/run');
    expect(run).toMatchObject({
      status: 202,
      body: { kind: 'periodic', schedule_id: field(made, 'id'), status: 'waiting' },
    });
    const jobs = await api.get('/schedules/daily/jobs?status=waiting&limit=5');
    expect(jobs).toMatchObject({
      status: 200,
      body: { total: 1, limit: 5, jobs: [{ id: field(run, 'id') }] },
    });
    const filtered = await api.get(`/jobs?schedule_id=${String(field(made, 'id'))}`);
    expect(filtered).toMatchObject({ body: { total: 1 } });
    expect((await api.ask('DELETE', '/schedules/daily?cancel_waiting=true')).status).toBe(204);
    expect(await api.get(`/jobs/${String(field(run, 'id'))}`)).toMatchObject({
      body: { status: 'canceled' },
    });
    expect(await api.get('/schedules/daily')).toMatchObject({
      status: 404,
      body: { code: 'not_found', resource: 'schedule' },
    });
  });

  it('take where their jobs tell their statuses, by the rules of an enqueue', async () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const api = await open({ webhooks: { secret } });
    const options = { status_hook: 'https://example.com/hooks' };
    const body = { ...DAILY, options };
    expect(await api.post('/schedules', body)).toMatchObject({ status: 201, body });
    expect(await api.get('/schedules/daily')).toMatchObject({ body: { options } });
    expect(await api.post('/schedules/daily/run')).toMatchObject({ status: 202, body: options });
    const bad = { ...DAILY, name: 'bad', options: { status_hook: 'https://10.0.0.1/' } };
    expect(await api.post('/schedules', bad)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ field: 'options.status_hook' }] },
    });
    expect(await api.get('/schedules')).toMatchObject({ body: { total: 1 } });
  });

  it.each<[over: object, field: string, says: RegExp]>([
    [{ cron: null }, 'cron', /cron or every_sec or after_sec must be given/],
    [{ every_sec: 60 }, 'cron', /cron or every_sec or after_sec must be given/],
    [{ cron: null, every_sec: 60 }, 'time_zone', /time_zone is for cron/],
    [{ time_zone: 'Mars/Base' }, 'time_zone', /time_zone is "Mars\/Base"/],
    [{ end_at: 1e12 }, 'cron', /^cron would never be due before its end/],
    [{ start_at: 2e12, end_at: 1.9e12 }, 'end_at', /^end_at must not be earlier than the start/],
    [{ options: { status_hook: 'x' } }, 'options.status_hook', /^options\.status_hook /],
  ])('refuse %j by its name', async (over, name, says) => {
    const api = await open();
    expect(await api.post('/schedules', { ...DAILY, ...over })).toMatchObject({
      status: 400,
      body: {
        code: 'invalid_request',
        detail: expect.stringMatching(says) as string,
        errors: [{ field: name }],
      },
    });
    expect(await api.get('/schedules')).toMatchObject({ body: { total: 0 } });
  });

  it('take what the jobs are unique by, and answer 200 for a job that is there', async () => {
    const api = await open();
    const unique = { key: 'k', until: 'started', within_sec: 1.5, on_conflict: 'return' };
    const body = { ...DAILY, overlap: 'allow', options: { unique } };
    expect(await api.post('/schedules', body)).toMatchObject({ status: 201, body });
    const made = await api.post('/schedules/daily/run');
    expect(made).toMatchObject({ status: 202 });
    expect(await api.post('/schedules/daily/run')).toMatchObject({
      status: 200,
      body: { id: field(made, 'id') },
    });
    await api.post('/schedules', { ...body, options: { unique: true } });
    expect(await api.get('/schedules/daily')).toMatchObject({
      body: { options: { unique: true } },
    });
  });

  it('have any name that fits into a path', async () => {
    const api = await open();
    const name = 'täglich um 3/2 %';
    const made = await api.ask('PUT', `/schedules/${encodeURIComponent(name)}`, {
      body: { type: 'default:tick', after_sec: 60 },
    });
    expect(made).toMatchObject({ status: 201, body: { name } });
    expect(await api.get(`/schedules/${encodeURIComponent(name)}`)).toMatchObject({
      body: { name, after_sec: 60 },
    });
  });

  it('are listed in pages, those of the tenant alone', async () => {
    const api = await open({ identify: byHeader });
    const ann = { 'X-Tenant': 'ann', 'X-User': 'a' };
    const bob = { 'X-Tenant': 'bob' };
    for (const name of ['c', 'a', 'b']) {
      await api.post('/schedules', { ...DAILY, name }, ann);
    }
    expect(await api.get('/schedules?limit=2', ann)).toMatchObject({
      body: {
        page: 1,
        limit: 2,
        total: 3,
        order: 'name',
        schedules: [{ name: 'a' }, { name: 'b' }],
      },
    });
    expect(await api.get('/schedules', bob)).toMatchObject({ body: { total: 0 } });
    for (const ask of [
      api.get('/schedules/a', bob),
      api.post('/schedules/a/run', undefined, bob),
      api.post('/schedules/a/pause', undefined, bob),
      api.ask('DELETE', '/schedules/a', { headers: bob }),
      api.get('/schedules/a/jobs', bob),
      api.get('/schedules/a/preview', bob),
    ]) {
      expect(await ask).toMatchObject({ status: 404, body: { code: 'not_found' } });
    }
  });

  const refused: readonly (readonly [body: object, field: string, says: RegExp])[] = [
    [{ ...DAILY, cron: `${'1,'.repeat(200)}1 * * * *` }, 'cron', /256.*ranges/],
    [{ ...DAILY, cron: '0 0 30 2 *' }, 'cron', /never be due/],
    [{ ...DAILY, cron: '0 0 1-7 * +1#2' }, 'cron', /never be due.*leave out the \+/],
    [{ ...DAILY, cron: '0 0 1-20 * +0L,1L,2L,3L,4L,5L,6L' }, 'cron', /never be due/],
    [{ ...DAILY, cron: 'noon' }, 'cron', /five fields/],
    [{ ...DAILY, time_zone: 'Mars/Base' }, 'time_zone', /Europe\/Berlin/],
    [
      { name: 'x', type: 'default:tick', every_sec: 60, end_at: 1000 },
      'end_at',
      /^is 1970-.*still to come/,
    ],
    [{ name: 'x', type: 'default:tick', every_sec: 0.5 }, 'every_sec', /one second/],
    [{ name: 'x', type: 'default:tick', after_sec: 0 }, 'after_sec', /one second/],
    [{ name: 'x', type: 'default:tick' }, 'cron', /one of them/],
    [{ ...DAILY, overlap: 'maybe' }, 'overlap', /skip, queue, allow, cancel/],
    [{ ...DAILY, end_at: 1000 }, 'cron', /still to come/],
    [{ ...DAILY, nonsense: 1 }, 'nonsense', /not known/],
    [{ ...DAILY, options: { run_at: 1 } }, 'options.run_at', /not known/],
    [{ ...DAILY, options: { unique: { until: 'x' } } }, 'options.unique.until', /started/],
    [
      { ...DAILY, options: { status_hook: 'https://a.example/' } },
      'options.status_hook',
      /webhooks\.secret/,
    ],
    [{ ...DAILY, name: '' }, 'name', /fewer than 1/],
    [{ ...DAILY, name: '..' }, 'name', /no URL/],
  ];
  it.each(refused)('%j is refused, which says what to write instead', async (body, name, says) => {
    const api = await open();
    const answer = await api.post('/schedules', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const errors = answer.body?.['errors'] as unknown as { field: string; message: string }[];
    expect(errors).toContainEqual({ field: name, message: expect.stringMatching(says) as string });
    expect(await api.get('/schedules')).toMatchObject({ body: { total: 0 } });
  });

  it('refuse names that differ, unknown types and unknown parameters', async () => {
    const api = await open();
    expect(await api.ask('PUT', '/schedules/other', { body: DAILY })).toMatchObject({
      status: 400,
    });
    expect(await api.post('/schedules', { ...DAILY, type: 'default:nobody' })).toMatchObject({
      status: 400,
      body: { code: 'unknown_type', known_types: ['default:tick'] },
    });
    await api.post('/schedules', DAILY);
    for (const path of [
      '/schedules/daily/preview?n=0',
      '/schedules/daily/preview?n=1001',
      '/schedules/daily/preview?m=1',
      '/schedules/daily/jobs?schedule_id=x',
      '/schedules?order=x',
    ]) {
      expect(await api.get(path)).toMatchObject({ status: 400 });
    }
    expect(await api.ask('DELETE', '/schedules/daily?cancel_waiting=yes')).toMatchObject({
      status: 400,
    });
  });
});
