import { IsInt, IsOptional, IsString, Max, Min, ValidateNested } from 'class-validator';
import { Type as Nested } from 'class-transformer';
import { describe, expect, it } from 'vitest';
import {
  JobType,
  UnrecoverableJobError,
  type Job,
  type JobContext,
  type JobHandler,
  type OnJobInit,
  type OnJobSuspend,
} from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS, type Answer, type HttpApp } from '../support/http.js';
import { until } from '../support/waiting.js';
import { openReal } from './real.js';

const gate = handlerGate();

class Size {
  @IsInt() @Min(1) @Max(10) width = 1;
}

class DrawParams {
  @IsString() title = 'untitled';
  @IsOptional() @IsString() note?: string;
  @ValidateNested() @Nested(() => Size) size = new Size();
}

@JobType({
  group: 'art',
  name: 'draw',
  description: 'Draws',
  params: DrawParams,
  timeout: '10m',
  maxRetries: 3,
  retryDelay: '2s',
})
class Draw implements JobHandler<DrawParams> {
  execute(ctx: JobContext<DrawParams>): object {
    ctx.log.info('drawing', { title: ctx.params.title });
    ctx.log.warn('almost done');
    return { drawn: ctx.params.title };
  }
}

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler, OnJobInit, OnJobSuspend {
  onJobInit(job: Job): void {
    if (job.tags.includes('refuse-init')) throw new Error('not today');
  }
  onJobSuspend(job: Job): void {
    if (job.tags.includes('refuse-suspend')) throw new Error('not now');
  }
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'broken' })
class Broken implements JobHandler {
  execute(): never {
    throw new UnrecoverableJobError('broken for good');
  }
}

const TYPES = [Draw, Held, Broken];
const GROUPS = [{ name: 'art', queue: 'compute', description: 'Pictures' }];

async function created(host: HttpApp, body: object): Promise<string> {
  const answer = await host.post('/jobs', body);
  expect(answer.status).toBe(202);
  return String(field(answer, 'id'));
}

function problem(status: number, code: string, more: object = {}): object {
  return { status, body: { status, code, ...more } };
}

describe.each(SERVERS)('the routes on %s', (server) => {
  const open = () => openReal({ server, types: TYPES, options: { groups: GROUPS } });

  it('run a job from its creation to its result', async () => {
    const host = await open();
    const answer = await host.post('/jobs', {
      type: 'art:draw',
      params: { title: 'Sea' },
      tags: ['a'],
    });
    expect(answer).toMatchObject({
      status: 202,
      body: {
        type: 'art:draw',
        group: 'art',
        queue: 'compute',
        params: { title: 'Sea', size: { width: 1 } },
        timeout_sec: 600,
        max_retries: 3,
        retry_delay_sec: 2,
        kind: 'generic',
        revision: 0,
        tags: ['a'],
        user_id: null,
      },
    });
    const id = String(field(answer, 'id'));
    expect(answer.headers.location).toBe(`/jobs/${id}`);
    const waited = await host.get(`/jobs/${id}/wait`);
    expect(waited).toMatchObject({
      status: 200,
      body: {
        id,
        status: 'completed',
        result: { drawn: 'Sea' },
        progress: 1,
        revision: 1,
        error: null,
      },
    });
    expect((await host.get(`/jobs/${id}`)).body).toEqual(waited.body);
    const { body } = await host.get(`/jobs/${id}/runs`);
    expect(body).toMatchObject({
      runs: [{ job_id: id, revision: 1, outcome: 'completed', error: null }],
    });
    expect((await host.get(`/jobs/${id}/logs`)).body).toMatchObject({
      lines: [
        { level: 'info', message: 'drawing', fields: { title: 'Sea' } },
        { level: 'warn', message: 'almost done', fields: null },
      ],
    });
    expect((await host.get(`/jobs/${id}/logs?level=warn`)).body).toMatchObject({
      lines: [{ level: 'warn' }],
    });
    expect((await host.get(`/jobs/${id}/logs?tail=1`)).body).toMatchObject({
      lines: [{ level: 'warn' }],
    });
    const first = await host.get(`/jobs/${id}/logs?limit=1`);
    const rest = await host.get(`/jobs/${id}/logs?after=${field(first, 'next_after')}`);
    expect(rest.body).toMatchObject({ lines: [{ message: 'almost done' }] });
    expect(await host.ask('DELETE', `/jobs/${id}`)).toMatchObject({ status: 204, text: '' });
    for (const below of ['', '/runs', '/logs', '/wait', '/events']) {
      expect(await host.get(`/jobs/${id}${below}`)).toMatchObject(
        problem(404, 'not_found', { resource: 'job' }),
      );
    }
  });

  it('refuse what cannot become a job, and store nothing', async () => {
    const host = await open();
    expect(await host.post('/jobs', { type: 'no:such' })).toMatchObject(
      problem(400, 'unknown_type'),
    );
    const answer = await host.post('/jobs', { type: 'no:such' });
    expect(answer.text).toContain('art:draw');
    const params = { title: 5, size: { width: 11 }, extra: 1 };
    const invalid = await host.post('/jobs', { type: 'art:draw', params });
    expect(invalid).toMatchObject(problem(400, 'invalid_params'));
    const fields = (invalid.body as { errors?: { field: string }[] } | undefined)?.errors ?? [];
    expect(fields.map((error) => error.field)).toEqual(
      expect.arrayContaining(['params.title', 'params.size.width', 'params.extra']),
    );
    const refused = await host.post('/jobs', { type: 'default:held', tags: ['refuse-init'] });
    expect(refused).toMatchObject(problem(400, 'init_failed'));
    expect((await host.get('/jobs')).body).toMatchObject({ total: 0, jobs: [] });
  });

  it('replay an idempotency key, and refuse it for something else', async () => {
    const host = await open();
    const body = { type: 'art:draw', params: { title: 'A' } };
    const headers = { 'Idempotency-Key': 'once' };
    const first = await host.post('/jobs', body, headers);
    const second = await host.post('/jobs', { ...body, idempotency_key: 'once' });
    expect([first.status, second.status]).toEqual([202, 200]);
    expect(field(second, 'id')).toBe(field(first, 'id'));
    expect(second.headers.location).toBe(first.headers.location);
    const other = await host.post('/jobs', { type: 'art:draw', params: {} }, headers);
    expect(other).toMatchObject(problem(409, 'idempotency_conflict'));
    const raced = await Promise.all(
      Array.from({ length: 20 }, () => host.post('/jobs', body, { 'Idempotency-Key': 'race' })),
    );
    expect(raced.filter((answer) => answer.status === 202)).toHaveLength(1);
    expect(new Set(raced.map((answer) => field(answer, 'id'))).size).toBe(1);
  });

  it('enqueue many: all or nothing, or an outcome each', async () => {
    const host = await open();
    const good = { type: 'default:held' };
    const bad = { type: 'art:draw', params: { title: 1 } };
    const refused = await host.post('/jobs/batch', { jobs: [good, bad] });
    expect(refused).toMatchObject(problem(400, 'invalid_params'));
    expect(refused.text).toContain('jobs.1.params.title');
    expect((await host.get('/jobs')).body).toMatchObject({ total: 0 });
    const accepted = await host.post('/jobs/batch', {
      jobs: [good, bad, { ...good, idempotency_key: 'k' }, { ...good, idempotency_key: 'k' }],
      on_conflict: 'ignore',
    });
    expect(accepted).toMatchObject({
      status: 202,
      body: {
        jobs: [
          { outcome: 'created', job: { type: 'default:held' } },
          { outcome: 'rejected', error: { code: 'invalid_params', status: 400 } },
          { outcome: 'created' },
          { outcome: 'replayed' },
        ],
      },
    });
    expect((await host.get('/jobs')).body).toMatchObject({ total: 2 });
    expect(await host.post('/jobs/batch', { jobs: [] })).toMatchObject({
      status: 202,
      body: { jobs: [] },
    });
  });

  it('take a thousand jobs in one batch, and no more', async () => {
    const host = await open();
    const jobs = Array.from({ length: 1001 }, () => ({ type: 'default:held' }));
    expect(await host.post('/jobs/batch', { jobs })).toMatchObject(problem(413, 'too_large'));
    const { status, body } = await host.post('/jobs/batch', { jobs: jobs.slice(1) });
    expect([status, (body as { jobs?: unknown[] } | undefined)?.jobs?.length]).toEqual([202, 1000]);
  });

  it('list, filter, order and page', async () => {
    const host = await open();
    for (let i = 0; i < 5; i += 1) {
      await created(host, {
        type: i % 2 === 0 ? 'art:draw' : 'default:held',
        run_at: Date.now() + 3_600_000 + i,
        priority: i,
        tags: [`t${i}`],
        idempotency_key: `key-${i}`,
      });
    }
    const priorities = async (query: string): Promise<unknown> => {
      const { status, body } = await host.get(`/jobs?${query}`);
      expect(status).toBe(200);
      return (body as { jobs: { priority: number }[] } | undefined)?.jobs.map(
        (job) => job.priority,
      );
    };
    expect((await host.get('/jobs')).body).toMatchObject({
      page: 1,
      limit: 50,
      total: 5,
      total_is_exact: true,
      order: '-scheduled_at',
      next_cursor: null,
    });
    expect(await priorities('order=priority')).toEqual([0, 1, 2, 3, 4]);
    expect(await priorities('order=-run_at&limit=2&page=2')).toEqual([2, 1]);
    expect(await priorities('type=art:draw&order=priority')).toEqual([0, 2, 4]);
    expect(await priorities('type=art:draw,default:held&order=priority')).toHaveLength(5);
    expect(await priorities('status=completed')).toEqual([]);
    expect(await priorities('status=waiting,failed')).toHaveLength(5);
    expect(await priorities('group=art&order=priority')).toEqual([0, 2, 4]);
    expect(await priorities('queue=compute&order=priority')).toEqual([0, 2, 4]);
    expect(await priorities('kind=scheduled')).toHaveLength(5);
    expect(await priorities('kind=generic')).toEqual([]);
    expect(await priorities('channel=')).toHaveLength(5);
    expect(await priorities('channel=x')).toEqual([]);
    expect(await priorities('tag=t3')).toEqual([3]);
    expect(await priorities('idempotency_key=key-2')).toEqual([2]);
    expect(await priorities('q=key-4')).toEqual([4]);
    expect(await priorities('q=key-&order=priority')).toEqual([0, 1, 2, 3, 4]);
    expect(await priorities('q=art&order=priority')).toEqual([0, 2, 4]);
    expect(await priorities('q=%25')).toEqual([]);
    expect(await priorities('q=_')).toEqual([]);
    expect(await priorities(`scheduled_after=${Date.now() + 60_000}`)).toEqual([]);
    expect(await priorities(`scheduled_before=${Date.now() + 60_000}`)).toHaveLength(5);
    const seen: unknown[] = [];
    let cursor: string | number | null = '';
    for (let pages = 0; cursor !== null && pages < 10; pages += 1) {
      const suffix = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page: Answer = await host.get(`/jobs?order=priority&limit=2${suffix}`);
      seen.push(...((page.body as { jobs?: { priority: number }[] } | undefined)?.jobs ?? []));
      cursor = field(page, 'next_cursor');
    }
    expect(seen).toMatchObject([0, 1, 2, 3, 4].map((priority) => ({ priority })));
    for (const bad of ['cursor=nonsense', `cursor=${Buffer.from('[1]').toString('base64url')}`]) {
      expect(await host.get(`/jobs?${bad}`)).toMatchObject(problem(400, 'invalid_request'));
    }
  });

  it('update a job, but not one that has ended', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:held', delay_sec: 3600 });
    const patch = {
      priority: 7,
      tags: ['x'],
      timeout_sec: 1.5,
      max_retries: 2,
      retry_delay_sec: 0.25,
    };
    expect(await host.ask('PATCH', `/jobs/${id}`, { body: patch })).toMatchObject({
      status: 200,
      body: { id, ...patch },
    });
    expect((await host.ask('PATCH', `/jobs/${id}`, { body: {} })).body).toMatchObject({
      id,
      ...patch,
    });
    await host.post(`/jobs/${id}/cancel`);
    const late = await host.ask('PATCH', `/jobs/${id}`, { body: patch });
    expect(late).toMatchObject(problem(409, 'already_ended'));
  });

  it('cancel, suspend, resume, retry, skip and fail, with reasons', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:held', delay_sec: 3600 });
    const act = (verb: string, body?: object) => host.post(`/jobs/${id}/${verb}`, body);
    expect(await act('suspend', { reason: 'later' })).toMatchObject({
      status: 202,
      body: { status: 'suspended', details: 'later' },
    });
    expect(await act('suspend')).toMatchObject({ status: 202, body: { status: 'suspended' } });
    expect(await act('skip')).toMatchObject(problem(409, 'illegal_transition'));
    expect(await act('resume')).toMatchObject({ status: 202 });
    expect(await act('retry')).toMatchObject(problem(409, 'illegal_transition'));
    expect(await act('cancel', { reason: 'enough' })).toMatchObject({ status: 202 });
    expect((await host.get(`/jobs/${id}/wait`)).body).toMatchObject({
      status: 'canceled',
      details: 'enough',
    });
    expect(await act('suspend')).toMatchObject(problem(409, 'illegal_transition'));
    expect(await act('resume')).toMatchObject(problem(409, 'illegal_transition'));
    expect(await act('retry')).toMatchObject({ status: 202, body: { id } });
    expect(await host.ask('DELETE', `/jobs/${id}`)).toMatchObject({
      status: expect.any(Number) as number,
    });
    const second = await created(host, { type: 'default:held', delay_sec: 3600 });
    const skipped = await host.post(`/jobs/${second}/skip`, { reason: 'not needed' });
    expect(skipped).toMatchObject({
      status: 202,
      body: { status: 'skipped', details: 'not needed' },
    });
    const third = await created(host, { type: 'default:held', delay_sec: 3600 });
    const failed = await host.post(`/jobs/${third}/fail`, {
      reason: 'no use',
      result: { partial: 1 },
    });
    expect(failed).toMatchObject({
      status: 202,
      body: { status: 'failed', details: 'no use', error: 'no use', result: { partial: 1 } },
    });
    const draw = await created(host, { type: 'art:draw', delay_sec: 3600 });
    expect(await host.post(`/jobs/${draw}/suspend`)).toMatchObject(problem(409, 'not_suspendable'));
    const stubborn = await created(host, {
      type: 'default:held',
      delay_sec: 3600,
      tags: ['refuse-suspend'],
    });
    expect(await host.post(`/jobs/${stubborn}/suspend`)).toMatchObject(
      problem(409, 'suspend_failed'),
    );
  });

  it('answer 423 with Retry-After for a job at work', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:held' });
    await gate.entry(id);
    const refused = await host.ask('DELETE', `/jobs/${id}`);
    expect(refused).toMatchObject(problem(423, 'job_active'));
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    const waited = await host.get(`/jobs/${id}/wait?timeout_sec=0`);
    expect(waited).toMatchObject({ status: 202, body: { id, status: 'running' } });
    expect(await host.post(`/jobs/${id}/cancel`)).toMatchObject({ status: 202 });
    expect((await host.get(`/jobs/${id}/wait`)).body).toMatchObject({ status: 'canceled' });
  });

  it('stream what happens to a job', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:held' });
    const entry = await gate.entry(id);
    const stream = await host.listen(`/jobs/${id}/events`);
    const [present] = await stream.take(1);
    expect(present).toMatchObject({ event: 'status', data: { job_id: id, status: 'running' } });
    entry.ctx.progress(0.5, 'half');
    entry.release('done');
    const frames = await stream.all();
    const last = frames.at(-1);
    expect(last).toMatchObject({ event: 'status', data: { status: 'completed', progress: 1 } });
    const ids = frames.filter((frame) => frame.event === 'status').map((frame) => Number(frame.id));
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b));
    const resumed = await host.listen(`/jobs/${id}/events`, {
      'Last-Event-ID': String(present?.id),
    });
    expect(await resumed.all()).toMatchObject([{ id: last?.id, data: { status: 'completed' } }]);
    const over = await host.get(`/jobs/${id}/events`, { 'Last-Event-ID': String(last?.id) });
    expect(over).toMatchObject({ status: 204, text: '' });
  });

  it('show job types, groups and queues', async () => {
    const host = await open();
    const envelope = { page: 1, limit: 50, total_is_exact: true, next_cursor: null };
    for (const path of ['/job-types', '/job_types']) {
      expect((await host.get(path)).body).toMatchObject({
        ...envelope,
        total: 3,
        order: 'type_id',
      });
      const one = await host.get(`${path}/art:draw`);
      expect(one).toMatchObject({
        status: 200,
        body: {
          type_id: 'art:draw',
          group: 'art',
          name: 'draw',
          description: 'Draws',
          version: 1,
          timeout_sec: 600,
          max_retries: 3,
          retry_delay_sec: 2,
          suspendable: false,
          remote: false,
          params: { title: 'untitled', size: { width: 1 } },
          params_schema: { type: 'object' },
        },
      });
      expect((await host.get(`${path}/art%3Adraw`)).body).toEqual(one.body);
      expect(await host.get(`${path}/no:such`)).toMatchObject(problem(404, 'not_found'));
      expect(await host.get(`${path}/__proto__`)).toMatchObject(problem(404, 'not_found'));
    }
    const first = await host.get('/job-types?limit=2');
    expect(first.body).toMatchObject({
      total: 3,
      job_types: [{ type_id: 'art:draw' }, { type_id: 'default:broken' }],
    });
    const second = await host.get(`/job-types?limit=2&cursor=${field(first, 'next_cursor')}`);
    expect(second.body).toMatchObject({
      next_cursor: null,
      job_types: [{ type_id: 'default:held' }],
    });
    expect((await host.get('/job-types?limit=2&page=2')).body).toMatchObject({
      job_types: [{ type_id: 'default:held' }],
    });
    for (const path of ['/job-groups', '/job_groups']) {
      expect((await host.get(path)).body).toMatchObject({
        ...envelope,
        total: 2,
        job_groups: [
          { name: 'art', queue_name: 'compute', description: 'Pictures' },
          { name: 'default', queue_name: 'default' },
        ],
      });
      expect((await host.get(`${path}/art`)).body).toMatchObject({ name: 'art' });
      expect(await host.get(`${path}/x`)).toMatchObject(problem(404, 'not_found'));
    }
    expect((await host.get('/queues')).body).toMatchObject({
      ...envelope,
      total: 4,
      queues: [
        {
          name: 'compute',
          capacity: 1,
          paused: false,
          waiting: 0,
          running: 0,
          oldest_waiting_at: null,
        },
        { name: 'default', capacity: 10 },
        { name: 'download', capacity: 10 },
        { name: 'maintenance', capacity: 5 },
      ],
    });
    expect(await host.get('/queues/x')).toMatchObject(
      problem(404, 'not_found', { resource: 'queue' }),
    );
  });

  it('pause and resume queues, and cancel what waits in them', async () => {
    const host = await open();
    expect(await host.post('/queues/default/pause')).toMatchObject({
      status: 202,
      body: { name: 'default', paused: true },
    });
    const id = await created(host, { type: 'default:held' });
    expect((await host.get(`/jobs/${id}`)).body).toMatchObject({
      status: 'waiting',
      waiting_for: 'paused',
    });
    expect((await host.get('/queues/default')).body).toMatchObject({ paused: true, waiting: 1 });
    expect(await host.post('/queues/default/cancel-waiting', { reason: 'closing' })).toMatchObject({
      status: 202,
      body: { canceled: 1 },
    });
    expect((await host.get(`/jobs/${id}`)).body).toMatchObject({
      status: 'canceled',
      details: 'closing',
    });
    expect(await host.post('/queues/default/resume')).toMatchObject({
      status: 202,
      body: { paused: false },
    });
    for (const verb of ['pause', 'resume', 'cancel-waiting']) {
      expect(await host.post(`/queues/x/${verb}`)).toMatchObject(problem(404, 'not_found'));
    }
  });

  it('list the workers, with what they run and how long they were not heard', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:held' });
    await gate.entry(id);
    const listed = await until(async () => {
      const answer = await host.get('/workers');
      return field(answer, 'total') === 1 && answer;
    }, 'the worker in the list');
    expect(listed).toMatchObject({
      status: 200,
      body: { page: 1, limit: 50, total_is_exact: true, order: 'id', next_cursor: null },
    });
    const worker = listed.body?.['workers']?.[0];
    const workerId = String(field({ ...listed, body: worker }, 'id'));
    expect(worker).toMatchObject({
      pid: process.pid,
      running: 1,
      runs: [{ job_id: id, worker_id: workerId, outcome: 'running', ended_at: null }],
    });
    const one = await host.get(`/workers/${workerId}`);
    expect(one).toMatchObject({ status: 200, body: { id: workerId, running: 1 } });
    expect((await host.get('/workers?older_than_sec=60')).body).toMatchObject({
      total: 0,
      workers: [],
    });
    for (const query of ['older_than_sec=-1', 'older_than_sec=x', 'olderThan=1', 'page=0']) {
      expect(await host.get(`/workers?${query}`)).toMatchObject(problem(400, 'invalid_request'));
    }
  });

  it('count, and tell their health', async () => {
    const host = await open();
    const id = await created(host, { type: 'default:broken' });
    await host.get(`/jobs/${id}/wait`);
    expect(await host.get('/stats')).toMatchObject({
      status: 200,
      body: {
        by_status: { failed: 1, waiting: 0 },
        by_type: { 'default:broken': 1 },
        by_queue: { default: 1 },
        oldest_waiting_at: null,
        completed_last_minute: 0,
        workers: 1,
      },
    });
    expect(await host.get('/health/jobs')).toMatchObject({
      status: 200,
      body: { status: 'ok', checks: { database: { status: 'up' } } },
    });
  });

  it('answer 404 for ids that nobody has', async () => {
    const host = await open();
    const id = newId();
    for (const verb of ['cancel', 'suspend', 'resume', 'retry', 'skip', 'fail']) {
      expect(await host.post(`/jobs/${id}/${verb}`)).toMatchObject(problem(404, 'not_found'));
    }
    expect(await host.ask('PATCH', `/jobs/${id}`, { body: { priority: 1 } })).toMatchObject(
      problem(404, 'not_found'),
    );
    expect(await host.ask('DELETE', `/jobs/${id}`)).toMatchObject(problem(404, 'not_found'));
  });
});
