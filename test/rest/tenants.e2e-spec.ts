import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { operationsOf } from '../../lib/rest/controller-class.js';
import { SECTIONS } from '../../lib/rest/rest.controllers.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS, type Answer, type Ask, type HttpApp } from '../support/http.js';
import { byHeader, openReal } from './real.js';

const gate = handlerGate();

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const ANN = { 'X-Tenant': 'ann', 'X-User': 'ann@x' };
const BOB = { 'X-Tenant': 'bob', 'X-User': 'bob@x' };

const METHODS: Readonly<Record<number, string>> = {
  0: 'GET',
  1: 'POST',
  2: 'PUT',
  3: 'DELETE',
  4: 'PATCH',
};

/** Every route of the library, read from the classes that serve it. */
const ROUTES = Object.values(SECTIONS).flatMap((mounts) =>
  mounts.flatMap(({ routes, path }) =>
    operationsOf(routes).map(([name, operation]) => {
      const handler: object = Object.getOwnPropertyDescriptor(routes.prototype, name)
        ?.value as object;
      const below = String(Reflect.getMetadata('path', handler)).replace(/^\/$/, '');
      const method = METHODS[Number(Reflect.getMetadata('method', handler))] ?? '?';
      return { route: `${method} /${path}${below === '' ? '' : `/${below}`}`, method, operation };
    }),
  ),
);

/** A body that each writing route accepts. */
const BODIES: Readonly<Record<string, Ask>> = {
  'POST /jobs': { body: { type: 'default:held', delay_sec: 3600 } },
  'POST /jobs/batch': { body: { jobs: [{ type: 'default:held', delay_sec: 3600 }] } },
  'POST /jobs/flow': { body: { jobs: { one: { type: 'default:held', delay_sec: 3600 } } } },
  'PATCH /jobs/:id': { body: { priority: 1 } },
  'POST /webhooks': { body: { url: 'https://example.com/' } },
  'PUT /webhooks/:id': { body: { enabled: true } },
};

/** What each route is about; a new route has to say. */
const ABOUT_JOBS = ROUTES.filter(({ route }) => route.includes('/jobs/:id')).map(
  ({ route }) => route,
);
const ABOUT_WEBHOOKS = ROUTES.filter(({ route }) => /\/webhooks\/.*:id/.test(route)).map(
  ({ route }) => route,
);
const ABOUT_TENANT = [
  'GET /webhooks',
  'POST /webhooks',
  'POST /jobs',
  'POST /jobs/batch',
  'POST /jobs/flow',
  'GET /jobs',
  'GET /queues',
  'GET /queues/:name',
  'POST /queues/:name/cancel-waiting',
  'GET /stats',
  'GET /runs',
];
/** test/rest/schedules.e2e-spec.ts says whose they are. */
const ABOUT_SCHEDULES = ROUTES.filter(({ route }) => route.includes('/schedules')).map(
  ({ route }) => route,
);
const ABOUT_PROCESS = [
  'GET /job-types',
  'GET /job-types/:id',
  'GET /job_types',
  'GET /job_types/:id',
  'GET /job-groups',
  'GET /job-groups/:id',
  'GET /job_groups',
  'GET /job_groups/:id',
  'GET /health/jobs',
];
const FOR_OPERATORS = [
  'POST /queues/:name/pause',
  'POST /queues/:name/resume',
  'GET /workers',
  'GET /workers/:id',
];

it('has an owner for every route', () => {
  const known = [
    ...ABOUT_JOBS,
    ...ABOUT_WEBHOOKS,
    ...ABOUT_TENANT,
    ...ABOUT_SCHEDULES,
    ...ABOUT_PROCESS,
    ...FOR_OPERATORS,
  ];
  expect(ROUTES.map(({ route }) => route).toSorted()).toEqual(known.toSorted());
});

describe.each(SERVERS)('tenants on %s', (server) => {
  const open = () => openReal({ server, types: [Held], options: { identify: byHeader } });

  const send = (
    host: HttpApp,
    route: string,
    id: string,
    headers: Record<string, string>,
  ): Promise<Answer> => {
    const [method = '', path = ''] = route.split(' ');
    const ask = BODIES[route] ?? {};
    return host.ask(method, path.replace(':id', id).replace(':name', 'default'), {
      ...ask,
      headers,
    });
  };

  const enqueue = async (
    host: HttpApp,
    headers: Record<string, string>,
    more: object = {},
  ): Promise<string> => {
    const answer = await host.post(
      '/jobs',
      { type: 'default:held', delay_sec: 3600, ...more },
      headers,
    );
    expect(answer.status).toBe(202);
    return String(field(answer, 'id'));
  };

  it.each(ABOUT_JOBS)('%s: own, foreign, random and malformed ids', async (route) => {
    const host = await open();
    const foreign = await enqueue(host, BOB);
    const before = (await host.get(`/jobs/${foreign}`, BOB)).text;
    const random = newId();
    const toForeign = await send(host, route, foreign, ANN);
    const toRandom = await send(host, route, random, ANN);
    expect(toForeign).toMatchObject({ status: 404, body: { code: 'not_found', resource: 'job' } });
    // Nothing tells a job that is somebody else's from one that is not there.
    expect(toForeign.text.replaceAll(foreign, random)).toBe(toRandom.text);
    expect(toForeign.status).toBe(toRandom.status);
    expect((await host.get(`/jobs/${foreign}`, BOB)).text).toBe(before);
    for (const id of ['1', "'", `${foreign}0`, '*']) {
      expect(await send(host, route, id, ANN)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      });
    }
    expect(await send(host, route, foreign, {})).toMatchObject({ status: 401 });
    if (route.endsWith('/wait') || route.endsWith('/events')) return;
    const own = await enqueue(host, ANN);
    const { status } = await send(host, route, own, ANN);
    expect(status === 409 || status < 300).toBe(true);
  });

  it.each(ABOUT_WEBHOOKS)('%s: foreign, random and malformed ids', async (route) => {
    const host = await open();
    const made = await host.post('/webhooks', { url: 'https://example.com/' }, BOB);
    expect(made.status).toBe(201);
    const foreign = String(field(made, 'id'));
    const before = (await host.get(`/webhooks/${foreign}`, BOB)).text;
    const random = newId();
    const toForeign = await send(host, route, foreign, ANN);
    const toRandom = await send(host, route, random, ANN);
    expect(toForeign).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(toForeign.text.replaceAll(foreign, random)).toBe(toRandom.text);
    expect((await host.get(`/webhooks/${foreign}`, BOB)).text).toBe(before);
    expect((await host.get('/webhooks', ANN)).body).toMatchObject({ total: 0 });
    for (const id of ['1', `${foreign}0`, '*']) {
      expect((await send(host, route, id, ANN)).status).toBe(400);
    }
    expect(await send(host, route, foreign, {})).toMatchObject({ status: 401 });
  });

  it('sees and changes nothing of another tenant by filter, key, list or count', async () => {
    const host = await open();
    const parent = await enqueue(host, BOB, { idempotency_key: 'shared', tags: ['t'] });
    const own = await enqueue(host, ANN, { idempotency_key: 'shared' });
    expect(own).not.toBe(parent);
    for (const query of [
      'idempotency_key=shared',
      'tag=t',
      `q=${parent}`,
      'user_id=bob@x',
      `upstream_job_id=${parent}`,
      '',
    ]) {
      const { text } = await host.get(`/jobs?${query}`, ANN);
      expect(text).not.toContain(parent);
      expect(text).not.toContain('bob');
    }
    const { body } = await host.get(`/jobs?limit=1&order=id`, BOB);
    expect(body).toMatchObject({
      total: 1,
      jobs: [{ id: parent, user_id: 'bob@x', tenant_id: 'bob' }],
    });
    const canceled = await host.post('/queues/default/cancel-waiting', {}, ANN);
    expect(canceled).toMatchObject({ status: 202, body: { canceled: 1 } });
    expect((await host.get(`/jobs/${parent}`, BOB)).body).toMatchObject({ status: 'waiting' });
  });

  it('answers the same whether another tenant has no job or many', async () => {
    const host = await open();
    await enqueue(host, ANN);
    const paths = [
      '/jobs',
      '/jobs?order=id&limit=1',
      '/queues',
      '/queues/default',
      '/stats',
      '/job-types',
      '/job-groups',
    ];
    const look = async (): Promise<string[]> => {
      const answers: Answer[] = [];
      for (const path of paths) answers.push(await host.get(path, ANN));
      return answers.map(({ status, text }) => `${status} ${text}`);
    };
    const before = await look();
    await host.post(
      '/jobs/batch',
      { jobs: Array.from({ length: 300 }, () => ({ type: 'default:held' })) },
      BOB,
    );
    // Counts may be a second old; another caller's are of that moment.
    expect((await host.get('/jobs', BOB)).body).toMatchObject({ total: 300 });
    expect(await look()).toEqual(before);
  });

  it('counts the jobs of the caller alone', async () => {
    const host = await open();
    await enqueue(host, ANN);
    await enqueue(host, BOB);
    await enqueue(host, BOB);
    for (const [headers, count] of [
      [ANN, 1],
      [BOB, 2],
    ] as const) {
      expect((await host.get('/stats', headers)).body).toMatchObject({
        by_status: { waiting: count },
        by_type: { 'default:held': count },
        by_queue: { default: count },
      });
    }
  });

  it('takes the tenant from identify alone', async () => {
    const host = await open();
    const foreign = await enqueue(host, BOB);
    for (const name of ['tenantId', 'tenant_id', 'user_id', 'userId']) {
      const body = { type: 'default:held', [name]: 'bob' };
      expect(await host.post('/jobs', body, ANN)).toMatchObject({ status: 400 });
      expect(await host.post('/jobs/batch', { jobs: [body] }, ANN)).toMatchObject({ status: 400 });
      expect(await host.post('/jobs/flow', { jobs: { one: body } }, ANN)).toMatchObject({
        status: 400,
      });
      expect((await host.get(`/jobs/${foreign}?${name}=bob`, ANN)).status).toBe(400);
      expect((await host.get(`/stats?${name}=bob`, ANN)).status).toBe(400);
      expect((await host.get(`/queues?${name}=bob`, ANN)).status).toBe(400);
      expect((await host.get(`/jobs/${foreign}/events?${name}=bob`, ANN)).status).toBe(400);
      const patched = await host.ask('PATCH', `/jobs/${foreign}`, {
        body: { [name]: 'ann' },
        headers: BOB,
      });
      expect(patched.status).toBe(400);
    }
  });

  it('lets operators pause, and shows them the counts of their tenant', async () => {
    const host = await open();
    for (const route of FOR_OPERATORS) {
      expect(await send(host, route, newId(), ANN)).toMatchObject({
        status: 403,
        body: { code: 'forbidden' },
      });
    }
    await enqueue(host, BOB);
    const operator = { ...ANN, 'X-Operator': 'yes' };
    expect(await send(host, 'POST /queues/:name/pause', '', operator)).toMatchObject({
      status: 202,
      body: { paused: true, waiting: 0 },
    });
    expect((await host.get('/queues/default', BOB)).body).toMatchObject({
      paused: true,
      waiting: 1,
    });
    expect(await send(host, 'GET /workers', '', operator)).toMatchObject({ status: 200 });
    expect(await send(host, 'GET /workers/:id', newId(), operator)).toMatchObject({ status: 404 });
    expect(await send(host, 'POST /queues/:name/resume', '', operator)).toMatchObject({
      status: 202,
    });
  });
});
