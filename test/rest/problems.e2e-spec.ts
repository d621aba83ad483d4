import {
  ForbiddenException,
  HttpException,
  NotFoundException,
  ServiceUnavailableException,
  UnauthorizedException,
} from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { JOBS_ERROR_STATUS, JobsError, type JobsErrorCode } from '../../lib/model/errors.js';
import { newId } from '../../lib/model/id.js';
import { SERVERS } from '../support/http.js';
import { openFakes } from './fakes.js';

/** Codes that never reach a client, and what it is told instead. */
const HIDDEN: readonly string[] = ['internal_error', 'invalid_options', 'schema_mismatch'];
const FIXED: readonly string[] = ['database_busy', 'database_unavailable'];
const CODES = Object.keys(JOBS_ERROR_STATUS) as JobsErrorCode[];

function failing(error: unknown) {
  return { jobs: { get: () => Promise.reject(error) } };
}

describe.each(SERVERS)('problem documents on %s', (server) => {
  it.each(CODES.filter((code) => !HIDDEN.includes(code) && !FIXED.includes(code)))(
    'answers %s with its status, code and sentence',
    async (code) => {
      const error = new JobsError(code, 'What happened, and what to do.', {
        errors: [{ field: 'maxRetries', message: 'is odd' }],
        members: { job_id: 'j1', code: 'not me', status: 1 },
      });
      const host = await openFakes({ server, fakes: failing(error) });
      const path = `/jobs/${newId()}`;
      const answer = await host.get(`${path}?`);
      expect(answer.status).toBe(JOBS_ERROR_STATUS[code]);
      expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8');
      expect(answer.body).toEqual({
        type: `urn:nestjs-jobs:problem:${code}`,
        title: expect.stringMatching(/\w+/),
        status: JOBS_ERROR_STATUS[code],
        detail: 'What happened, and what to do.',
        code,
        errors: [{ field: 'max_retries', message: 'is odd' }],
        job_id: 'j1',
        instance: path,
      });
      expect(host.log.texts('error')).toEqual([]);
    },
  );

  it('names fields of options as the wire does, and leaves those of params alone', async () => {
    const fields = [
      'jobs.3.retryDelay',
      'delay',
      'params.maxRetries.0',
      'jobs.0.params.runAt',
      'runAt',
    ];
    const error = new JobsError('invalid_params', 'No.', {
      errors: fields.map((field) => ({ field, message: 'no' })),
    });
    const host = await openFakes({ server, fakes: failing(error) });
    const { body } = await host.get(`/jobs/${newId()}`);
    expect(body).toMatchObject({
      errors: [
        { field: 'jobs.3.retry_delay_sec' },
        { field: 'delay_sec' },
        { field: 'params.maxRetries.0' },
        { field: 'jobs.0.params.runAt' },
        { field: 'run_at' },
      ],
    });
  });

  it.each([
    ['try_later', 423, undefined, '1'],
    ['job_active', 423, 7, '7'],
    ['database_busy', 503, 0.2, '1'],
    ['database_unavailable', 503, 4.2, '5'],
  ] as const)('says with %s when to try again', async (code, status, retryAfterSec, header) => {
    const options = retryAfterSec === undefined ? {} : { retryAfterSec };
    const error = new JobsError(code, 'Later.', options);
    const host = await openFakes({ server, fakes: failing(error) });
    const answer = await host.get(`/jobs/${newId()}`);
    expect(answer).toMatchObject({ status, headers: { 'retry-after': header }, body: { code } });
  });

  it.each([
    new Error('SELECT * FROM secrets at /srv/app.js'),
    'postgres://user:secret@db',
    null,
    new JobsError('invalid_options', 'The file /srv/secret.db cannot be read.'),
    new JobsError('schema_mismatch', 'SELECT version FROM secret'),
    Object.assign(new Error('secret'), { status: 400, statusCode: 400, expose: true }),
  ])('tells nothing of %s, and logs it once', async (thrown) => {
    const host = await openFakes({ server, fakes: failing(thrown) });
    const answer = await host.get(`/jobs/${newId()}`);
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error', status: 500 } });
    expect(answer.text).not.toMatch(/secret|SELECT|srv|\.js/);
    expect(host.log.texts('error')).toHaveLength(1);
  });

  it('tells nothing of what a database driver said', async () => {
    const error = new JobsError('database_busy', 'SQLITE_BUSY in /srv/secret.db');
    const host = await openFakes({ server, fakes: failing(error) });
    const answer = await host.get(`/jobs/${newId()}`);
    expect(answer).toMatchObject({ status: 503, body: { code: 'database_busy' } });
    expect(answer.text).not.toMatch(/srv|SQLITE/);
  });

  it.each([
    [new UnauthorizedException('Token expired'), 401, 'unauthorized', 'Token expired'],
    [new ForbiddenException(), 403, 'forbidden', 'Forbidden'],
    [new NotFoundException('No such tenant'), 404, 'not_found', 'No such tenant'],
    [new HttpException('Slow down', 429), 429, 'invalid_request', 'Slow down'],
    [new ServiceUnavailableException('Until five'), 503, 'internal_error', 'Until five'],
  ])('makes a problem of the exception %s of a guard', async (thrown, status, code, detail) => {
    const guard = {
      canActivate: () => {
        throw thrown;
      },
    };
    const host = await openFakes({ server, api: { guards: [guard] } });
    const answer = await host.get('/jobs');
    expect(answer).toMatchObject({ status, body: { status, code, detail } });
    expect(answer.headers['content-type']).toContain('application/problem+json');
  });

  it('makes 403 of a guard that says no', async () => {
    const host = await openFakes({ server, api: { guards: [{ canActivate: () => false }] } });
    const answer = await host.get('/jobs');
    expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
  });

  it('does not tell the message of an error inside an exception', async () => {
    const thrown = new UnauthorizedException(new Error('secret'));
    const guard = {
      canActivate: () => {
        throw thrown;
      },
    };
    const host = await openFakes({ server, api: { guards: [guard] } });
    const answer = await host.get('/jobs');
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    expect(answer.text).not.toContain('secret');
  });
});
