import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { field, SERVERS, type Answer } from '../support/http.js';
import { byHeader, openReal } from './real.js';

const ANN = { 'X-Tenant': 'ann' };
const BOB = { 'X-Tenant': 'bob' };

@JobType({ name: 'step' })
class Step implements JobHandler {
  execute(ctx: JobContext<{ fails?: boolean }>): string {
    if (ctx.params.fails === true) {
      throw new Error('step broke');
    }
    return 'done';
  }
}

function idOf(answer: Answer, key: string): string {
  return String(field({ ...answer, body: answer.body?.['jobs']?.[key] }, 'id'));
}

describe.each(SERVERS)('jobs that depend on others, on %s', (server) => {
  const open = () => openReal({ server, types: [Step], options: { identify: byHeader } });
  const later = { type: 'default:step', delay_sec: 3600 };

  it('are created with what they wait for, which is of the same tenant', async () => {
    const host = await open();
    const parent = String(field(await host.post('/jobs', later, ANN), 'id'));
    const body = { type: 'default:step', depends_on: [{ id: parent, on_failure: 'run' }] };
    const child = await host.post('/jobs', body, ANN);
    expect(child).toMatchObject({
      status: 202,
      body: {
        waiting_for: 'dependencies',
        depends_on: [{ id: parent, on_failure: 'run' }],
      },
    });
    expect(await host.post('/jobs', body, BOB)).toMatchObject({
      status: 400,
      body: { code: 'unknown_dependency', title: 'There is no such job to depend on' },
    });
    expect(
      await host.post('/jobs', { type: 'default:step', depends_on: ['x'] }, ANN),
    ).toMatchObject({
      status: 400,
      body: {
        errors: [
          { field: 'depends_on.0', message: expect.stringMatching(/the id of a job/) as string },
        ],
      },
    });
    const related = await host.get(`/jobs/${parent}/dependencies`, ANN);
    expect(related).toMatchObject({
      status: 200,
      body: {
        depends_on: [],
        dependents: [{ id: field(child, 'id'), status: 'waiting', on_failure: 'run' }],
        causes: [],
      },
    });
    expect((await host.get(`/jobs/${parent}/dependencies`, BOB)).status).toBe(404);
    expect(await host.ask('DELETE', `/jobs/${parent}`, { headers: ANN })).toMatchObject({
      status: 409,
      body: { code: 'has_dependents', job_id: field(child, 'id') },
    });
    expect(
      (await host.ask('DELETE', `/jobs/${parent}?cascade=true`, { headers: ANN })).status,
    ).toBe(204);
    expect((await host.get(`/jobs/${String(field(child, 'id'))}`, ANN)).status).toBe(404);
  });

  it.each([
    ['under `jobs`', (flow: object) => ({ jobs: flow })],
    ['as the body', (flow: object) => flow],
  ])('come as a flow %s', async (_, bodyOf) => {
    const host = await open();
    const flow = await host.post(
      '/jobs/flow',
      bodyOf({
        last: { type: 'default:step', depends_on: ['first'] },
        first: { type: 'default:step', params: { fails: true } },
      }),
      ANN,
    );
    expect(flow.status).toBe(202);
    expect(flow.body?.['jobs']?.['last']).toMatchObject({ waiting_for: 'dependencies' });
    const last = await host.get(`/jobs/${idOf(flow, 'last')}/wait?timeout_sec=10`, ANN);
    expect(last).toMatchObject({ status: 200, body: { status: 'failed' } });
    expect((await host.get(`/jobs/${idOf(flow, 'last')}/dependencies`, ANN)).body).toMatchObject({
      depends_on: [{ id: idOf(flow, 'first'), status: 'failed', on_failure: 'fail', result: null }],
      causes: [{ id: idOf(flow, 'first'), type: 'default:step', causes: [] }],
    });
  });

  it('say why they failed without holding up the server, however many ways lead to it', async () => {
    const host = await open();
    const jobs: Record<string, object> = {
      top: { type: 'default:step', params: { fails: true } },
    };
    let above = ['top'];
    for (let layer = 0; layer < 40; layer += 1) {
      const names = [`left${layer}`, `right${layer}`];
      names.forEach((name) => (jobs[name] = { type: 'default:step', depends_on: above }));
      above = names;
    }
    const flow = await host.post('/jobs/flow', { jobs }, ANN);
    const last = `/jobs/${idOf(flow, 'right39')}`;
    expect((await host.get(`${last}/wait?timeout_sec=10`, ANN)).body).toMatchObject({
      status: 'failed',
    });
    const asked = performance.now();
    const { body, text } = await host.get(`${last}/dependencies`, ANN);
    expect(performance.now() - asked).toBeLessThan(2000);
    expect(text.length).toBeLessThan(1_000_000);
    let causes = body?.['causes'];
    for (let layer = 38; layer >= 0; layer -= 1) {
      expect(causes).toMatchObject([
        { id: idOf(flow, `left${layer}`) },
        { id: idOf(flow, `right${layer}`) },
      ]);
      causes = causes?.[0]?.['causes'];
    }
    expect(causes).toMatchObject([{ id: idOf(flow, 'top'), causes: [] }]);
  });

  it('are refused as a whole when one of a flow is', async () => {
    const host = await open();
    const ask = (body: object) => host.post('/jobs/flow', body, ANN);
    const step = { type: 'default:step' };
    expect(
      await ask({ a: { ...step, depends_on: ['b'] }, b: { ...step, depends_on: ['a'] } }),
    ).toMatchObject({
      status: 400,
      body: {
        code: 'invalid_request',
        detail: expect.stringMatching(/circle/) as string,
        errors: [{ field: 'jobs.a.depends_on' }],
      },
    });
    expect(await ask({ a: step, bC: { ...step, depends_on: ['nobody'] } })).toMatchObject({
      status: 400,
      body: {
        code: 'unknown_dependency',
        key: 'bC',
        errors: [{ field: 'jobs.bC.depends_on' }],
        detail: expect.stringMatching(/in a flow its own keys/) as string,
      },
    });
    expect(await ask({ jobs: [step] })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'jobs', message: 'must be object' }] },
    });
    expect(await ask({ a: step, b: { type: 'default:none' } })).toMatchObject({
      status: 400,
      body: { code: 'unknown_type', key: 'b' },
    });
    expect(await ask({ a: step, b: { ...step, params: { x: '\0' } } })).toMatchObject({
      status: 400,
      body: { key: 'b', errors: [{ field: expect.stringMatching(/^jobs\.b\.params/) as string }] },
    });
    const unique = { key: 'taken' };
    const id = field(await host.post('/jobs', { ...step, delay_sec: 60, unique }, ANN), 'id');
    expect(await ask({ a: step, b: { ...step, unique } })).toMatchObject({
      status: 409,
      body: { code: 'duplicate_job', key: 'b', job_id: id },
    });
    await host.ask('DELETE', `/jobs/${String(id)}`, { headers: ANN });
    for (const body of [{ a: 1 }, { jobs: [] }, { a: { ...step, depends_on: 'b' } }, []]) {
      expect(await ask(body)).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    }
    expect((await host.get('/jobs', ANN)).body).toMatchObject({ total: 0 });
  });

  it.each([{}, { jobs: {} }])('are none where a flow has none: %j', async (body) => {
    const host = await open();
    expect(await host.post('/jobs/flow', body, ANN)).toMatchObject({
      status: 202,
      body: { jobs: {} },
    });
  });
});
