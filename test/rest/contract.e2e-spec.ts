import { VersioningType } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { handlerGate } from '../support/gate.js';
import { field, SERVERS, type Answer, type HttpApp } from '../support/http.js';
import { until } from '../support/waiting.js';
import { openReal } from './real.js';

/** An id that no job has. */
const NOBODY = '00000000-0000-7000-8000-000000000000';

const gate = handlerGate();

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    ctx.log.info('held', { by: 'a gate' });
    return gate.obey(ctx);
  }
}

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(ctx: JobContext): string {
    ctx.log.info('quick', { as: 'ever' });
    return 'done';
  }
}

/** What other programs are written against: every name, in the order of the documentation. */
const names = (text: string): string[] => text.split(' ').toSorted();
const JOB = names(
  'id tenant_id user_id idempotency_key type type_version group queue channel kind priority status waiting_for scheduled_at run_at updated_at started_at finished_at eta locked_by progress progress_details completed total details timeout_sec max_retries retry_delay_sec retries lost revision error result params state tags meta check_in check_in_at cancel_requested_at status_hook schedule_id upstream_job_id depends_on expires_at',
);
const RUN = names(
  'id job_id revision worker_id started_at updated_at ended_at outcome error completed total',
);
const LINE = names('seq at level run_id message fields');
const TYPE = names(
  'type_id group name description version timeout_sec max_retries retry_delay_sec suspendable remote params params_schema',
);
const GROUP = names('name queue_name description');
const QUEUE = names('name capacity paused waiting running oldest_waiting_at');
const WORKER = names('id host pid version queues started_at heartbeat_at running runs');
const STATS = names('by_status by_type by_queue oldest_waiting_at completed_last_minute workers');
const EVENT = names('sequence type job_id run_id at status progress');
const listOf = (member: string): string[] =>
  names(`page limit total total_is_exact order next_cursor ${member}`);

const keys = (value: unknown): string[] => Object.keys(value as object).toSorted();

/** The members of an answer, once its status is the expected one. */
function members(answer: Answer, status: number): string[] {
  expect([answer.status, answer.text.slice(0, 300)]).toEqual([status, expect.anything()]);
  return keys(answer.body);
}

describe.each(SERVERS)('the wire on %s, behind a prefix and a version', (server) => {
  const open = (): Promise<HttpApp> =>
    openReal({
      server,
      types: [Held, Quick],
      options: { api: { version: '1' } },
      configure: (app) => app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI }),
    });
  const at = '/api/v1';
  const later = { type: 'default:held', delay_sec: 3600 };
  const create = async (host: HttpApp, body: object = later): Promise<string> =>
    String(field(await host.post(`${at}/jobs`, body), 'id'));

  it('has the promised names in every answer', async () => {
    const host = await open();
    const created = await host.post(`${at}/jobs`, { type: 'default:quick' });
    expect(members(created, 202)).toEqual(JOB);
    const id = String(field(created, 'id'));
    expect(created.headers.location).toBe(`${at}/jobs/${id}`);
    expect(members(await host.get(`${at}/jobs/${id}/wait`), 200)).toEqual(JOB);
    expect(members(await host.get(`${at}/jobs/${id}`), 200)).toEqual(JOB);

    const jobs = await host.get(`${at}/jobs`);
    expect(members(jobs, 200)).toEqual(listOf('jobs'));
    expect(keys(jobs.body?.['jobs']?.[0])).toEqual(JOB);
    const runs = await host.get(`${at}/jobs/${id}/runs`);
    expect(members(runs, 200)).toEqual(['runs']);
    expect(keys(runs.body?.['runs']?.[0])).toEqual(RUN);
    const logs = await host.get(`${at}/jobs/${id}/logs`);
    expect(members(logs, 200)).toEqual(['lines', 'next_after']);
    expect(keys(logs.body?.['lines']?.[0])).toEqual(LINE);

    const lists: [string, string, string, string[]][] = [
      ['/job-types', 'job_types', 'default:held', TYPE],
      ['/job_types', 'job_types', 'default:held', TYPE],
      ['/job-groups', 'job_groups', 'default', GROUP],
      ['/job_groups', 'job_groups', 'default', GROUP],
      ['/queues', 'queues', 'default', QUEUE],
    ];
    for (const [path, member, name, expected] of lists) {
      const list = await host.get(`${at}${path}`);
      expect(members(list, 200)).toEqual(listOf(member));
      expect(keys(list.body?.[member]?.[0])).toEqual(expected);
      expect(members(await host.get(`${at}${path}/${name}`), 200)).toEqual(expected);
    }
    expect(members(await host.get(`${at}/runs`), 200)).toEqual(listOf('runs'));
    const workers = await until(async () => {
      const answer = await host.get(`${at}/workers`);
      return field(answer, 'total') === 1 && answer;
    }, 'the worker in the list');
    expect(members(workers, 200)).toEqual(listOf('workers'));
    const worker = workers.body?.['workers']?.[0];
    expect(keys(worker)).toEqual(WORKER);
    const path = `${at}/workers/${field({ ...workers, body: worker }, 'id')}`;
    expect(members(await host.get(path), 200)).toEqual(WORKER);
    expect(members(await host.get(`${at}/stats`), 200)).toEqual(STATS);
    expect(members(await host.get(`${at}/health/jobs`), 200)).toEqual(['checks', 'status']);

    const batch = await host.post(`${at}/jobs/batch`, {
      jobs: [later, { type: 'default:none' }],
      on_conflict: 'ignore',
    });
    expect(members(batch, 202)).toEqual(['jobs']);
    expect(keys(batch.body?.['jobs']?.[0])).toEqual(['job', 'outcome']);
    expect(keys(batch.body?.['jobs']?.[0]?.['job'])).toEqual(JOB);
    expect(keys(batch.body?.['jobs']?.[1])).toEqual(['error', 'outcome']);

    const stream = await host.listen(`${at}/jobs/${id}/events`);
    const [frame] = await stream.all();
    expect([frame?.event, keys(frame?.data)]).toEqual(['status', expect.arrayContaining(EVENT)]);
    expect(Number(frame?.id)).toBe(frame?.data?.['sequence']);
  });

  it('has the promised status for every operation', async () => {
    const host = await open();
    const post = (path: string, body?: object): Promise<Answer> => host.post(`${at}${path}`, body);
    const id = await create(host);
    expect(members(await post(`/jobs/${id}/suspend`, { reason: 'x' }), 202)).toEqual(JOB);
    expect(members(await post(`/jobs/${id}/resume`), 202)).toEqual(JOB);
    expect(
      members(await host.ask('PATCH', `${at}/jobs/${id}`, { body: { priority: 3 } }), 200),
    ).toEqual(JOB);
    expect((await host.get(`${at}/jobs/${id}/wait?timeout_sec=0`)).status).toBe(202);
    expect(members(await post(`/jobs/${id}/cancel`), 202)).toEqual(JOB);
    expect(members(await post(`/jobs/${id}/retry`), 202)).toEqual(JOB);
    const skipped = await create(host);
    expect(members(await post(`/jobs/${skipped}/skip`, { reason: 'y' }), 202)).toEqual(JOB);
    const failing = await create(host);
    const failed = await post(`/jobs/${failing}/fail`, { reason: 'z', result: [1] });
    expect(failed).toMatchObject({
      status: 202,
      body: { status: 'failed', details: 'z', error: 'z', result: [1] },
    });
    expect((await host.ask('DELETE', `${at}/jobs/${skipped}`)).status).toBe(204);
    expect(members(await post('/queues/default/pause'), 202)).toEqual(QUEUE);
    expect(members(await post('/queues/default/resume'), 202)).toEqual(QUEUE);
    await create(host);
    expect(await post('/queues/default/cancel-waiting')).toMatchObject({
      status: 202,
      body: { canceled: 1 },
    });
    const keyed = { ...later, idempotency_key: 'k' };
    expect((await post('/jobs', keyed)).status).toBe(202);
    const again = await post('/jobs', keyed);
    expect(members(again, 200)).toEqual(JOB);
    expect(again.headers.location).toBe(`${at}/jobs/${String(field(again, 'id'))}`);
  });

  it('has a problem document for every refusal', async () => {
    const host = await open();
    const id = await create(host);
    const running = await create(host, { type: 'default:held' });
    await gate.entry(running);
    await create(host, { ...later, unique: { key: 'taken' } });
    const refused: [string, string, object | undefined, number, string][] = [
      ['POST', '/jobs', { type: 'default:none' }, 400, 'unknown_type'],
      ['POST', '/jobs', { ...later, depends_on: ['x'] }, 400, 'invalid_request'],
      ['POST', '/jobs', { ...later, depends_on: [NOBODY] }, 400, 'unknown_dependency'],
      ['POST', '/jobs', { ...later, unique: { within: 1 } }, 400, 'invalid_request'],
      ['POST', '/jobs', { ...later, unique: { key: 'taken' } }, 409, 'duplicate_job'],
      ['POST', '/jobs', { ...later, status_hook: 'https://x' }, 400, 'invalid_request'],
      ['GET', '/jobs?schedule_id=x', undefined, 400, 'invalid_request'],
      ['GET', '/jobs?page=101&limit=100', undefined, 400, 'invalid_request'],
      ['GET', '/jobs/x', undefined, 400, 'invalid_request'],
      ['GET', `/jobs/${newId()}`, undefined, 404, 'not_found'],
      ['GET', '/job-types/none', undefined, 404, 'not_found'],
      ['GET', '/job-groups/none', undefined, 404, 'not_found'],
      ['GET', '/queues/none', undefined, 404, 'not_found'],
      ['POST', '/queues/none/pause', undefined, 404, 'not_found'],
      ['POST', `/jobs/${id}/retry`, undefined, 409, 'illegal_transition'],
      ['DELETE', `/jobs/${id}?cascade=1`, undefined, 400, 'invalid_request'],
      [
        'POST',
        '/jobs/flow',
        { a: { type: 'default:noop', depends_on: ['a'] } },
        400,
        'invalid_request',
      ],
      ['GET', `/jobs/${newId()}/dependencies`, undefined, 404, 'not_found'],
      ['DELETE', `/jobs/${running}`, undefined, 423, 'job_active'],
    ];
    for (const [method, path, body, status, code] of refused) {
      const answer = await host.ask(method, `${at}${path}`, body === undefined ? {} : { body });
      const instance = `${at}${path.split('?')[0]}`;
      expect([path, answer]).toMatchObject([path, { status, body: { status, code, instance } }]);
      expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
      expect(keys(answer.body)).toEqual(
        expect.arrayContaining(['code', 'detail', 'instance', 'status', 'title', 'type']),
      );
      expect(answer.headers['retry-after'] !== undefined).toBe(status === 423);
    }
    const unknown = newId();
    expect(await host.get(`${at}/workers/${unknown}`)).toMatchObject({
      status: 404,
      body: { code: 'not_found', resource: 'worker', instance: `${at}/workers/${unknown}` },
    });
    // Workers elsewhere cannot register yet.
    for (const path of ['/workers', `/workers/${unknown}/heartbeat`, `/workers/${unknown}/claim`]) {
      expect([path, (await host.post(`${at}${path}`, {})).status]).toEqual([path, 404]);
    }
    expect((await host.ask('DELETE', `${at}/workers/${unknown}`)).status).toBe(404);
  });
});
