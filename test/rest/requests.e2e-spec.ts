import { once } from 'node:events';
import http from 'node:http';
import { describe, expect, it } from 'vitest';
import type { JobsIdentity } from '../../lib/jobs.options.js';
import { newId } from '../../lib/model/id.js';
import type { JobQuery } from '../../lib/model/query.js';
import { pathOf } from '../../lib/rest/http.js';
import { SERVERS, type Answer, type HttpApp, type Json } from '../support/http.js';
import { aJob, openFakes, type Fakes } from './fakes.js';

/** The services as they are called. */
function spies() {
  const calls: unknown[][] = [];
  const note =
    <T>(answer: T) =>
    (...args: unknown[]): Promise<T> => {
      calls.push(args);
      return Promise.resolve(answer);
    };
  const page = { page: 1, limit: 50, total: 0, totalIsExact: true, order: '', nextCursor: null };
  const fakes: Fakes = {
    jobs: {
      enqueue: note(aJob()),
      enqueueMany: note([]),
      list: note({ ...page, jobs: [] }),
      update: note(aJob()),
      cancel: note(aJob()),
      fail: note(aJob()),
      delete: note(undefined),
      logs: note({ lines: [], nextAfter: 0 }),
      wait: note(aJob()),
      get: note(aJob()),
    },
    queues: {
      pause: note({
        name: 'q',
        capacity: 1,
        paused: true,
        waiting: 0,
        running: 0,
        oldestWaitingAt: null,
      }),
      get: note({
        name: 'q',
        capacity: 1,
        paused: true,
        waiting: 0,
        running: 0,
        oldestWaitingAt: null,
      }),
      cancelWaiting: note(3),
    },
  };
  return { fakes, calls };
}

const ID = newId();
const identify = (): JobsIdentity => ({ tenantId: 'acme', userId: 'ann', operator: true });

function fieldsOf(answer: Answer): unknown {
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  return (answer.body as { errors?: { field: string }[] } | undefined)?.errors?.map(
    (error) => error.field,
  );
}

describe.each(SERVERS)('requests on %s', (server) => {
  const refused = spies();
  let shared: Promise<HttpApp> | undefined;
  /** One application for all requests that get no further than the edge. */
  const open = () => (shared ??= openFakes({ server, fakes: refused.fakes, lifetime: 'file' }));

  it('gives the service what the wire says, in its own units', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    const answer = await host.post('/jobs', {
      type: 'a:b',
      idempotency_key: 'k',
      params: { maxRetries: 1, __private: null },
      delay_sec: 1.5,
      priority: -3,
      channel: '',
      timeout_sec: 0.25,
      max_retries: 0,
      retry_delay_sec: 2,
      state: null,
      tags: ['x'],
      meta: { a: 1 },
      expires_at: 1_900_000_000_000,
    });
    expect(answer.status).toBe(202);
    expect(calls).toEqual([
      [
        'a:b',
        { maxRetries: 1, __private: null },
        {
          idempotencyKey: 'k',
          delay: 1500,
          priority: -3,
          channel: '',
          timeout: 250,
          maxRetries: 0,
          retryDelay: 2000,
          state: null,
          tags: ['x'],
          meta: { a: 1 },
          expiresAt: new Date(1_900_000_000_000),
          tenantId: 'acme',
          userId: 'ann',
        },
      ],
    ]);
  });

  it('sets no option that the body leaves out', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    await host.post('/jobs', { type: 'a:b', run_at: 5 });
    const [[, params, options] = []] = calls;
    expect(params).toBeUndefined();
    expect(options).toEqual({
      runAt: new Date(5),
      tenantId: '00000000-0000-0000-0000-000000000000',
      userId: null,
    });
  });

  it.each([
    [{}, ['type']],
    [{ type: 1 }, ['type']],
    [{ type: '' }, ['type']],
    [{ type: 'a:b', tenant_id: 't' }, ['tenant_id']],
    [{ type: 'a:b', tenantId: 't' }, ['tenantId']],
    [{ type: 'a:b', user_id: 'u' }, ['user_id']],
    [{ type: 'a:b', status: 'completed' }, ['status']],
    [{ type: 'a:b', created_at: 1, revision: 2 }, ['created_at', 'revision']],
    [{ type: 'a:b', depends_on: ['x'] }, ['depends_on.0']],
    [
      {
        type: 'a:b',
        depends_on: [{ id: '00000000-0000-7000-8000-000000000000', on_failure: 'x' }],
      },
      ['depends_on.0.on_failure'],
    ],
    [{ type: 'a:b', unique: false }, ['unique']],
    [{ type: 'a:b', unique: 'mine' }, ['unique']],
    [{ type: 'a:b', unique: { key: '' } }, ['unique.key']],
    [{ type: 'a:b', unique: { key: 'x'.repeat(256) } }, ['unique.key']],
    [{ type: 'a:b', unique: { key: 'a\0b' } }, ['unique.key']],
    [{ type: 'a:b', unique: { until: 'ended' } }, ['unique.until']],
    [{ type: 'a:b', unique: { within_sec: -1 } }, ['unique.within_sec']],
    [{ type: 'a:b', unique: { within: '1h' } }, ['unique.within']],
    [{ type: 'a:b', unique: { on_conflict: 'ignore' } }, ['unique.on_conflict']],
    [{ type: 'a:b', status_hook: 7 }, ['status_hook']],
    [{ type: 'a:b', constructor: 1 }, ['constructor']],
    [{ type: 'a:b', priority: '1' }, ['priority']],
    [{ type: 'a:b', priority: 1.5 }, ['priority']],
    [{ type: 'a:b', priority: null }, ['priority']],
    [{ type: 'a:b', priority: 2 ** 31 }, ['priority']],
    [{ type: 'a:b', run_at: '2026-01-01' }, ['run_at']],
    [{ type: 'a:b', run_at: 1.5 }, ['run_at']],
    [{ type: 'a:b', run_at: 1e15 }, ['run_at']],
    [{ type: 'a:b', run_at: 1, delay_sec: 1 }, ['delay_sec']],
    [{ type: 'a:b', delay_sec: -1 }, ['delay_sec']],
    [{ type: 'a:b', timeout_sec: '10m' }, ['timeout_sec']],
    [{ type: 'a:b', max_retries: -1 }, ['max_retries']],
    [{ type: 'a:b', idempotency_key: '' }, ['idempotency_key']],
    [{ type: 'a:b', idempotency_key: 'x'.repeat(256) }, ['idempotency_key']],
    [{ type: 'a:b', channel: 'x'.repeat(65) }, ['channel']],
    [{ type: 'a:b', channel: 'a\u0000b' }, ['channel']],
    [{ type: 'a:b', tags: ['\ud800'] }, ['tags.0']],
    [{ type: 'a:b', tags: 'x' }, ['tags']],
    [{ type: 'a:b', tags: ['x'.repeat(65)] }, ['tags.0']],
    [{ type: 'a:b', tags: Array.from({ length: 21 }, (_, i) => `t${i}`) }, ['tags']],
    [{ type: 'a:b', meta: [] }, ['meta']],
    [{ type: 'a:b', meta: null }, ['meta']],
    [[], ['body']],
    [[{ type: 'a:b' }], ['body']],
  ])('refuses POST /jobs %j and names the field', async (body, fields) => {
    const host = await open();
    expect(fieldsOf(await host.post('/jobs', body))).toEqual(fields);
    expect(refused.calls).toEqual([]);
  });

  it('refuses POST /jobs without a body', async () => {
    const host = await openFakes({ server });
    expect(fieldsOf(await host.post('/jobs'))).toEqual(['body']);
  });

  it('tells at most twenty of the fields that are wrong', async () => {
    const host = await openFakes({ server });
    const body = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`f${i}`, 1]));
    expect(fieldsOf(await host.post('/jobs', body))).toHaveLength(20);
    const many = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`f${i}`, 1]));
    expect(fieldsOf(await host.post('/jobs', many))).toEqual(['body']);
  });

  it('takes the idempotency key from the header, the body, or both when they agree', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    const header = { 'Idempotency-Key': 'k' };
    await host.post('/jobs', { type: 'a:b' }, header);
    await host.post('/jobs', { type: 'a:b', idempotency_key: 'k' }, header);
    const keys = calls.map(
      ([, , options]) => (options as { idempotencyKey: string }).idempotencyKey,
    );
    expect(keys).toEqual(['k', 'k']);
    const differs = await host.post('/jobs', { type: 'a:b', idempotency_key: 'other' }, header);
    expect(fieldsOf(differs)).toEqual(['Idempotency-Key']);
    const long = { 'Idempotency-Key': 'x'.repeat(256) };
    expect(fieldsOf(await host.post('/jobs', { type: 'a:b' }, long))).toEqual(['Idempotency-Key']);
    const batch = await host.post('/jobs/batch', { jobs: [] }, header);
    expect(fieldsOf(batch)).toEqual(['Idempotency-Key']);
    expect(calls).toHaveLength(2);
  });

  it('refuses more than one idempotency key, which Node would make one of', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    for (const keys of [
      ['a', 'b'],
      ['a', 'a'],
    ]) {
      const request = http.request({ port: host.port, path: '/jobs', method: 'POST' });
      request.setHeader('Content-Type', 'application/json');
      request.setHeader('idempotency-Key', keys);
      request.end(JSON.stringify({ type: 'a:b' }));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const problem = JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as Json;
      expect(response.statusCode).toBe(400);
      expect(problem).toMatchObject({
        code: 'invalid_request',
        errors: [{ field: 'Idempotency-Key' }],
      });
    }
    expect(calls).toEqual([]);
  });

  it('reads an idempotency key of any characters from the header', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    // Before a body of bytes, Node writes headers byte by byte.
    const send = async (headerBytes: string, key?: string): Promise<number> => {
      const request = http.request({
        port: host.port,
        host: '127.0.0.1',
        path: '/jobs',
        method: 'POST',
        headers: { 'Idempotency-Key': headerBytes, 'Content-Type': 'application/json' },
      });
      request.end(Buffer.from(JSON.stringify({ type: 'a:b', idempotency_key: key })));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      response.resume();
      return response.statusCode ?? 0;
    };
    for (const key of ['ключ', 'é', '😀'.repeat(255)]) {
      expect(await send(Buffer.from(key).toString('latin1'), key)).toBe(202);
    }
    // Latin-1, as HTTP had it once.
    expect(await send('é', 'é')).toBe(202);
    expect(await send(Buffer.from('ж'.repeat(256)).toString('latin1'))).toBe(400);
    expect(calls).toHaveLength(4);
  });

  it('links to where it is, whatever origin the request names', async () => {
    const host = await openFakes({
      server,
      fakes: { jobs: { enqueue: async () => aJob({ id: ID }) } },
    });
    const answer = await host.post('http://elsewhere.example/jobs', { type: 'a:b' });
    expect(answer).toMatchObject({ status: 202, headers: { location: `/jobs/${ID}` } });
  });

  it('answers with the outcome: 202 created, 200 there already, both with Location', async () => {
    for (const [outcome, status] of [
      ['created', 202],
      ['replayed', 200],
      ['existing', 200],
      ['replaced', 200],
    ] as const) {
      const job = aJob({ id: ID, outcome });
      const host = await openFakes({ server, fakes: { jobs: { enqueue: async () => job } } });
      const answer = await host.post('/jobs?', { type: 'a:b' });
      expect(answer).toMatchObject({ status, headers: { location: `/jobs/${ID}` } });
    }
  });

  it('shows every field of a job, absent values null, durations in seconds', async () => {
    const job = aJob({ id: ID });
    const host = await openFakes({ server, fakes: { jobs: { get: async () => job } } });
    const { body } = await host.get(`/jobs/${ID}`);
    const at = 1_800_000_000_000;
    expect(body).toEqual({
      id: ID,
      tenant_id: '00000000-0000-0000-0000-000000000000',
      user_id: null,
      idempotency_key: null,
      type: 'default:noop',
      type_version: 1,
      group: 'default',
      queue: 'default',
      channel: '',
      kind: 'generic',
      priority: 0,
      status: 'waiting',
      waiting_for: 'worker',
      scheduled_at: at,
      run_at: at,
      updated_at: at,
      started_at: null,
      finished_at: null,
      eta: null,
      locked_by: null,
      progress: 0,
      progress_details: null,
      completed: null,
      total: null,
      details: null,
      timeout_sec: 1.5,
      max_retries: 2,
      retry_delay_sec: 0.25,
      retries: 0,
      lost: 0,
      revision: 0,
      error: null,
      result: null,
      params: {},
      state: null,
      tags: [],
      meta: {},
      check_in: null,
      check_in_at: null,
      cancel_requested_at: null,
      status_hook: null,
      schedule_id: null,
      upstream_job_id: null,
      depends_on: [],
      expires_at: null,
    });
  });

  it('reads every list parameter', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    const answer = await host.get(
      `/jobs?page=2&limit=10&order=priority,-run_at&status=waiting,failed&type=a:b,c:d&group=g&queue=q&channel=&kind=scheduled&tag=t&user_id=u&upstream_job_id=${ID.toUpperCase()}&idempotency_key=k&scheduled_after=1&scheduled_before=2&q=a`,
    );
    expect(answer.status).toBe(200);
    const query: JobQuery = {
      tenantId: 'acme',
      page: 2,
      limit: 10,
      order: 'priority,-run_at',
      status: ['waiting', 'failed'],
      type: ['a:b', 'c:d'],
      group: 'g',
      queue: 'q',
      channel: '',
      kind: 'scheduled',
      tag: 't',
      userId: 'u',
      upstreamJobId: ID,
      idempotencyKey: 'k',
      scheduledAfter: new Date(1),
      scheduledBefore: new Date(2),
      q: 'a',
    };
    expect(calls).toEqual([[query]]);
  });

  it('takes page_size for limit, and a cursor instead of a page', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    await host.get('/jobs?page_size=7');
    await host.get('/jobs?cursor=abc&limit=9');
    await host.get('/jobs?q=');
    const tenantId = '00000000-0000-0000-0000-000000000000';
    expect(calls).toEqual([
      [{ tenantId, page: 1, limit: 7 }],
      [{ tenantId, limit: 9, cursor: 'abc' }],
      [{ tenantId, page: 1, limit: 50 }],
    ]);
  });

  it.each([
    ['page=0', 'page'],
    ['page=-1', 'page'],
    ['page=1.5', 'page'],
    ['page=', 'page'],
    ['page=0x10', 'page'],
    ['page=1e2', 'page'],
    ['page=%201', 'page'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['page_size=1001', 'page_size'],
    ['limit=5&page_size=5', 'page_size'],
    ['limit=5&limit=6', 'limit'],
    ['limit[]=5', 'limit[]'],
    ['limit[a]=5', 'limit[a]'],
    ['page=2&cursor=x', 'cursor'],
    ['page=21&limit=500', 'page'],
    ['cursor=', 'cursor'],
    ['order=', 'order'],
    ['order=result', 'order'],
    ['order=-scheduled_at;drop', 'order'],
    ['order=--run_at', 'order'],
    ['order=run_at%20desc', 'order'],
    ['status=', 'status.0'],
    ['status=done', 'status.0'],
    ['status=waiting,', 'status.1'],
    ['status=waiting&status=failed', 'status'],
    ['kind=cron', 'kind'],
    ['type=', 'type.0'],
    ['upstream_job_id=1', 'upstream_job_id'],
    ['scheduled_after=2026-01-01', 'scheduled_after'],
    ['scheduled_before=-1', 'scheduled_before'],
    ['queue=a%00b', 'queue'],
    ['schedule_id=x', 'schedule_id'],
    ['tenant_id=x', 'tenant_id'],
    ['tenantId=x', 'tenantId'],
    ['__proto__=x', '__proto__'],
    ['toString=x', 'toString'],
    ['sort=id', 'sort'],
  ])('refuses GET /jobs?%s', async (query, field) => {
    const host = await open();
    expect(fieldsOf(await host.get(`/jobs?${query}`))).toEqual([field]);
    expect(refused.calls).toEqual([]);
  });

  it('points to the cursor when a page is too far', async () => {
    const host = await openFakes({ server });
    const answer = await host.get('/jobs?page=11&limit=1000');
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('cursor');
  });

  it.each(['1', 'x', `${ID}x`, `${ID.slice(1)}`, '%00', 'null', '..%2f'])(
    'refuses the malformed job id %s on every route',
    async (id) => {
      const host = await open();
      const asked: [string, string][] = [
        ['GET', ''],
        ['PATCH', ''],
        ['DELETE', ''],
        ['GET', '/wait'],
        ['GET', '/runs'],
        ['GET', '/logs'],
        ['GET', '/events'],
        ...['cancel', 'suspend', 'resume', 'retry', 'skip', 'fail'].map(
          (verb) => ['POST', `/${verb}`] as [string, string],
        ),
      ];
      for (const [method, below] of asked) {
        const answer = await host.ask(method, `/jobs/${id}${below}`);
        expect([method, below, fieldsOf(answer)]).toEqual([method, below, ['id']]);
      }
      expect(refused.calls).toEqual([]);
    },
  );

  it('takes job ids in capitals', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    expect(await host.get(`/jobs/${ID.toUpperCase()}`)).toMatchObject({ status: 200 });
    expect(calls).toEqual([[ID, { tenantId: '00000000-0000-0000-0000-000000000000' }]]);
  });

  it('updates what the body names, and nothing else can be written', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    const patch = {
      priority: 1,
      run_at: 5,
      timeout_sec: 1,
      max_retries: 2,
      retry_delay_sec: 3,
      tags: [],
    };
    expect(await host.ask('PATCH', `/jobs/${ID}`, { body: patch })).toMatchObject({ status: 200 });
    expect(calls).toEqual([
      [
        ID,
        {
          priority: 1,
          runAt: new Date(5),
          timeout: 1000,
          maxRetries: 2,
          retryDelay: 3000,
          tags: [],
        },
        { tenantId: 'acme', actor: 'ann' },
      ],
    ]);
    for (const field of [
      'status',
      'state',
      'params',
      'result',
      'revision',
      'channel',
      'tenant_id',
    ]) {
      const answer = await host.ask('PATCH', `/jobs/${ID}`, { body: { [field]: 1 } });
      expect(fieldsOf(answer)).toEqual([field]);
    }
  });

  it('runs operations with and without a body, with reason and actor', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    expect(await host.post(`/jobs/${ID}/cancel`)).toMatchObject({ status: 202 });
    expect(await host.post(`/jobs/${ID}/cancel`, {})).toMatchObject({ status: 202 });
    expect(await host.post(`/jobs/${ID}/cancel`, { reason: 'r' })).toMatchObject({ status: 202 });
    expect(await host.post(`/jobs/${ID}/fail`, { result: null })).toMatchObject({ status: 202 });
    const by = { tenantId: 'acme', actor: 'ann' };
    expect(calls).toEqual([
      [ID, by],
      [ID, by],
      [ID, { ...by, reason: 'r' }],
      [ID, { ...by, result: null }],
    ]);
    expect(fieldsOf(await host.post(`/jobs/${ID}/cancel`, { result: 1 }))).toEqual(['result']);
    expect(fieldsOf(await host.post(`/jobs/${ID}/cancel`, { reason: 1 }))).toEqual(['reason']);
    expect(fieldsOf(await host.post(`/jobs/${ID}/cancel`, { reason: 'a\u0000' }))).toEqual([
      'reason',
    ]);
  });

  it('refuses parameters that a route does not know', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes });
    expect(fieldsOf(await host.get(`/jobs/${ID}?tenantId=x`))).toEqual(['tenantId']);
    expect(fieldsOf(await host.ask('DELETE', `/jobs/${ID}?cascades=true`))).toEqual(['cascades']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/events?tenant_id=x`))).toEqual(['tenant_id']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/wait?timeout_sec=61`))).toEqual(['timeout_sec']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/wait?timeout_sec=-1`))).toEqual(['timeout_sec']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/logs?level=fatal`))).toEqual(['level']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/logs?limit=1001`))).toEqual(['limit']);
    expect(fieldsOf(await host.get(`/jobs/${ID}/logs?after=-1`))).toEqual(['after']);
    expect(calls).toEqual([]);
  });

  it('reads the parameters of wait and logs', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    await host.get(`/jobs/${ID}/wait`);
    await host.get(`/jobs/${ID}/wait?timeout_sec=0.5`);
    await host.get(`/jobs/${ID}/logs?after=3&level=warn&limit=5&tail=2`);
    const signal = expect.any(AbortSignal) as AbortSignal;
    expect(calls).toEqual([
      [ID, { tenantId: 'acme', timeout: 30_000, signal }],
      [ID, { tenantId: 'acme', timeout: 500, signal }],
      [ID, { tenantId: 'acme', after: 3, level: 'warn', limit: 5, tail: 2 }],
    ]);
  });

  it('maps the items of a batch, and names them by index', async () => {
    const { fakes, calls } = spies();
    const host = await openFakes({ server, fakes, identify });
    const jobs = [
      { type: 'a:b', delay_sec: 1 },
      { type: 'c:d', params: 7 },
    ];
    expect(await host.post('/jobs/batch', { jobs, on_conflict: 'ignore' })).toMatchObject({
      status: 202,
      body: { jobs: [] },
    });
    const by = { tenantId: 'acme', userId: 'ann' };
    expect(calls).toEqual([
      [
        [
          { type: 'a:b', delay: 1000, ...by },
          { type: 'c:d', params: 7, ...by },
        ],
        { onConflict: 'ignore' },
      ],
    ]);
    const at = async (...items: object[]): Promise<unknown> =>
      fieldsOf(await host.post('/jobs/batch', { jobs: items }));
    expect(await at({ type: 'a:b' }, { type: 'a:b', tenant_id: 't' })).toEqual([
      'jobs.1.tenant_id',
    ]);
    expect(await at({ type: 'a:b' }, {})).toEqual(['jobs.1.type']);
    expect(await at({ type: 'a:b', run_at: 1, delay_sec: 1 })).toEqual(['jobs.0.delay_sec']);
    expect(fieldsOf(await host.post('/jobs/batch', {}))).toEqual(['jobs']);
    expect(fieldsOf(await host.post('/jobs/batch', { jobs: [], x: 1 }))).toEqual(['x']);
    expect(fieldsOf(await host.post('/jobs/batch', { jobs: [], on_conflict: 'x' }))).toEqual([
      'on_conflict',
    ]);
  });

  it('reads what workers run for those of the page alone', async () => {
    const asked: unknown[] = [];
    const fakes: Fakes = {
      workers: {
        ids: () => Promise.resolve(['c', 'a', 'b']),
        list: (options) => {
          asked.push(options);
          return Promise.resolve([]);
        },
      },
    };
    const host = await openFakes({ server, fakes });
    const first = await host.get('/workers?limit=2');
    expect(first).toMatchObject({ status: 200, body: { total: 3, workers: [] } });
    const cursor = Buffer.from('b').toString('base64url');
    expect(first.body).toMatchObject({ next_cursor: cursor });
    await host.get(`/workers?limit=2&cursor=${cursor}`);
    expect(asked).toEqual([{ ids: ['a', 'b'] }, { ids: ['c'] }]);
  });

  it('pauses queues for operators only, and cancels what waits for anyone', async () => {
    const { fakes, calls } = spies();
    const someone = { tenantId: 'acme', userId: 'ann' };
    const host = await openFakes({ server, fakes, identify: () => someone });
    for (const verb of ['pause', 'resume']) {
      const answer = await host.post(`/queues/q/${verb}`);
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
    expect(calls).toEqual([]);
    expect(await host.post('/queues/q/cancel-waiting', { reason: 'r' })).toMatchObject({
      status: 202,
      body: { canceled: 3 },
    });
    expect(calls).toEqual([['q', { tenantId: 'acme', reason: 'r', actor: 'ann' }]]);
  });
});

it.each([
  ['/jobs?x=1', '/jobs'],
  ['/api/jobs/', '/api/jobs'],
  ['//elsewhere.example/jobs', '/elsewhere.example/jobs'],
  ['/', '/'],
])('links to what is below %s without leaving the site', (originalUrl, path) => {
  const request = { method: 'GET', url: '/', originalUrl, headers: {}, params: {}, query: {} };
  expect(pathOf(request)).toBe(path);
});
