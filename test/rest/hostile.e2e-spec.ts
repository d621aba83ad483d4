import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Type } from 'class-transformer';
import { IsOptional, ValidateNested } from 'class-validator';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { LIST_JOBS } from '../../lib/rest/schemas/requests.js';
import type { Lifetime } from '../support/cleanup.js';
import { field, SERVERS, type Answer, type HttpApp, type Server } from '../support/http.js';
import { openReal } from './real.js';

@JobType({ name: 'echo' })
class Echo implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

class Tree {
  @IsOptional()
  @ValidateNested()
  @Type(() => Tree)
  next?: Tree;
}

@JobType({ name: 'tree', params: Tree })
class Climb implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

const LATER = 'run_at":4000000000000';

/** A body as text, since JavaScript would repair some of it. */
function withParams(params: string): string {
  return `{"type":"default:echo","${LATER},"params":${params}}`;
}

const deep = (levels: number): string => `${'['.repeat(levels)}1${']'.repeat(levels)}`;
const text = (bytes: number): string => JSON.stringify('x'.repeat(bytes - 2));

/** A host whose parser takes more than we do. */
function openRaised(server: Server, fastify: object = {}, lifetime: Lifetime = 'test') {
  return server === 'express'
    ? openReal({
        server,
        lifetime,
        types: [Echo],
        configure: (app) => (app as NestExpressApplication).useBodyParser('json', { limit: '8mb' }),
      })
    : openReal({
        server,
        lifetime,
        types: [Echo],
        adapter: new FastifyAdapter({ bodyLimit: 8_388_608, ...fastify }),
      });
}

/** No answer may show where the code is, what SQL it runs, or what broke inside. */
function expectDiscreet(answer: Answer): void {
  expect(answer.text).not.toMatch(
    /\bat .+:\d+:\d+|node_modules|SELECT |INSERT |SQLITE|\.ts\b|\/tmp\//,
  );
}

describe.each(SERVERS)('hostile requests on %s', (server) => {
  const open = () => openRaised(server);
  let shared: ReturnType<typeof openRaised> | undefined;
  /** For tests that store nothing: a refused request leaves the host as it was. */
  const openShared = () => (shared ??= openRaised(server, {}, 'file'));
  const post = (host: HttpApp, body: string, path = '/jobs'): Promise<Answer> =>
    host.ask('POST', path, { text: body, headers: { 'Content-Type': 'application/json' } });

  it.each([
    ['10,000 levels', withParams(deep(10_000)), 400, 'invalid_params'],
    ['65 levels', withParams(deep(65)), 400, 'invalid_params'],
    ['a NUL', withParams('"a\\u0000b"'), 400, 'invalid_params'],
    ['a NUL in a key', withParams('{"a\\u0000b":1}'), 400, 'invalid_params'],
    ['half a surrogate pair', withParams('"\\ud800"'), 400, 'invalid_params'],
    ['more than 256 kB', withParams(text(262_145)), 413, 'too_large'],
    [
      'more keys than anyone reads',
      withParams(`{${Array.from({ length: 10_001 }, (_, i) => `"k${i}":1`).join()}}`),
      400,
      'invalid_params',
    ],
    [
      'a state of 10,000 levels',
      `{"type":"default:echo","state":${deep(10_000)}}`,
      400,
      'invalid_request',
    ],
    [
      'a state that is too large',
      `{"type":"default:echo","state":${text(262_145)}}`,
      413,
      'too_large',
    ],
    [
      'a meta that is too large',
      `{"type":"default:echo","meta":{"a":${text(16_384)}}}`,
      413,
      'too_large',
    ],
    [
      'a meta of 10,000 levels',
      `{"type":"default:echo","meta":{"a":${deep(10_000)}}}`,
      400,
      'invalid_request',
    ],
    [
      'levels where a number belongs',
      `{"type":"default:echo","priority":${deep(10_000)}}`,
      400,
      'invalid_request',
    ],
    ['levels where the body belongs', deep(10_000), 400, 'invalid_request'],
  ])('refuses %s', async (_what, body, status, code) => {
    const host = await openShared();
    const answer = await post(host, body);
    expect(answer).toMatchObject({ status, body: { code } });
    expectDiscreet(answer);
    const batch = await post(host, `{"jobs":[${body}]}`, '/jobs/batch');
    expect(batch.status).toBe(status);
    expect((await host.get('/jobs')).body).toMatchObject({ total: 0 });
    expect(host.log.texts('error')).toEqual([]);
  });

  it('refuses a key __proto__, and pollutes nothing', async () => {
    const host = await openShared();
    for (const body of [
      withParams('{"__proto__":{"polluted":1}}'),
      withParams('{"a":[{"__proto__":null}]}'),
      '{"type":"default:echo","__proto__":{"polluted":1}}',
      '{"type":"default:echo","meta":{"__proto__":{"polluted":1}}}',
      '{"__proto__":{"type":"default:echo"}}',
    ]) {
      const answer = await post(host, body);
      expect(answer.status).toBe(400);
      expectDiscreet(answer);
    }
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect((await host.get('/jobs')).body).toMatchObject({ total: 0 });
  });

  it('keeps keys that only look dangerous as data, where the parser lets them through', async () => {
    const host = await openRaised(server, { onConstructorPoisoning: 'ignore' });
    const params =
      '{"constructor":{"prototype":1},"prototype":[],"toString":"x","hasOwnProperty":null}';
    const answer = await post(host, withParams(params));
    expect(answer).toMatchObject({ status: 202 });
    expect(JSON.stringify(answer.body?.['params'])).toBe(params);
  });

  it('takes JSON up to each limit, to the byte', async () => {
    const host = await open();
    for (const body of [
      withParams(text(262_144)),
      withParams(deep(64)),
      `{"type":"default:echo","${LATER},"state":${text(262_144)}}`,
      `{"type":"default:echo","${LATER},"meta":{"a":${text(16_384 - 6)}}}`,
      withParams('"\\ud83d\\ude00"'),
      withParams('null'),
    ]) {
      expect((await post(host, body)).status).toBe(202);
    }
  });

  it('takes params as deep as the option allows at most, of a class as well', async () => {
    const host = await openReal({
      server,
      types: [Echo, Climb],
      options: { limits: { depth: 256 } },
    });
    const tree = `${'{"next":'.repeat(255)}{}${'}'.repeat(255)}`;
    for (const [type, params] of [
      ['default:echo', deep(256)],
      ['default:tree', tree],
    ] as const) {
      const job = await post(host, `{"type":"${type}","idempotency_key":"k","params":${params}}`);
      expect(job.status).toBe(202);
      const ended = await host.get(`/jobs/${String(field(job, 'id'))}/wait`);
      expect(ended).toMatchObject({ status: 200, body: { status: 'completed' } });
      expect(JSON.stringify(ended.body?.['result'])).toBe(params);
      await host.ask('DELETE', `/jobs/${String(field(job, 'id'))}`);
    }
  });

  it('refuses a batch of more than 5 MB, however it is sent', async () => {
    const host = await openShared();
    const items = Array.from({ length: 25 }, () => withParams(text(220_000)));
    const batch = `{"jobs":[${items.join()}]}`;
    const headers = { 'Content-Type': 'application/json' };
    for (const isChunked of [false, true]) {
      const answer = await host.ask('POST', '/jobs/batch', { text: batch, headers, isChunked });
      expect(answer).toMatchObject({ status: 413, body: { code: 'too_large' } });
    }
    expect((await host.get('/jobs')).body).toMatchObject({ total: 0 });
  });

  it('leaves malformed JSON to the parser of the host', async () => {
    const host = await openShared();
    for (const body of ['{', '{"type":', 'nonsense', '{"type":"default:echo"}}']) {
      const answer = await post(host, body);
      expect(answer.status).toBe(400);
    }
  });

  it('answers every fuzzed query with 200 or 400, discreetly', async () => {
    const host = await open();
    await post(host, withParams('1'));
    const names = [...Object.keys(LIST_JOBS.properties), 'x', '__proto__', 'filter[a]'];
    const evil = fc.constantFrom(
      "' OR 1=1 --",
      '1; DROP TABLE jobs',
      '%',
      '_',
      '\\',
      '%_\\%',
      "'); --",
      '$1',
      '?',
      ':id',
      '{"$gt":""}',
      '../../etc/passwd',
      '${7*7}',
      '\u202e',
      '-1',
      '1e309',
      'NaN',
      '9'.repeat(40),
      'null',
      'id DESC',
      '(CASE WHEN 1=1 THEN id END)',
    );
    const value = fc.oneof(
      evil,
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc.nat().map(String),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), value, async (name, given) => {
        const answer = await host.get(
          `/jobs?${encodeURIComponent(name)}=${encodeURIComponent(given)}`,
        );
        expect([200, 400]).toContain(answer.status);
        expectDiscreet(answer);
      }),
      { numRuns: 400 },
    );
    expect(host.log.texts('error')).toEqual([]);
  });

  it('refuses cursors that are made up, whatever is in them', async () => {
    const host = await open();
    await post(host, withParams('1'));
    await post(host, withParams('2'));
    const next = String(field(await host.get('/jobs?limit=1'), 'next_cursor'));
    expect((await host.get(`/jobs?cursor=${next}`)).status).toBe(200);
    const [order, at, id] = JSON.parse(Buffer.from(next, 'base64url').toString()) as unknown[];
    const made = [
      [order, at, 'x'],
      [order, at, ''],
      [order, at, "' OR 1=1 --"],
      [order, at, `${String(id)}x`],
      [order, at, null],
      [order, 1.5, id],
      [order, '1', id],
      [order, at, id, id],
      [order, at],
      [],
      {},
      null,
    ].map((each) => JSON.stringify(each));
    for (const text of [...made, `["${String(order)}",1e400,"${String(id)}"]`, '[', '']) {
      const answer = await host.get(`/jobs?cursor=${Buffer.from(text).toString('base64url')}`);
      expect([text, answer]).toMatchObject([
        text,
        { status: 400, body: { code: 'invalid_request' } },
      ]);
      expectDiscreet(answer);
    }
    expect(host.log.texts('error')).toEqual([]);
  });

  it('answers every fuzzed body and id with an error of the client, discreetly', async () => {
    const host = await open();
    const id = newId();
    const name = fc.constantFrom(
      'type',
      'params',
      'priority',
      'tags',
      'meta',
      'state',
      'run_at',
      'reason',
      'jobs',
      'x',
    );
    const body = fc.oneof(
      fc.dictionary(name, fc.jsonValue({ maxDepth: 4 })),
      fc.jsonValue({ maxDepth: 3 }),
    );
    const path = fc.constantFrom(
      '/jobs',
      '/jobs/batch',
      `/jobs/${id}/cancel`,
      `/jobs/${id}/fail`,
      `/jobs/${id}/signals/x`,
      '/jobs/x/retry',
      '/queues/default/pause/',
      '/queues/x/pause',
    );
    await fc.assert(
      fc.asyncProperty(path, body, async (to, given) => {
        const answer = await post(host, JSON.stringify(given), to);
        expect(answer.status).toBeLessThan(500);
        expectDiscreet(answer);
      }),
      { numRuns: 300 },
    );
    expect(host.log.texts('error')).toEqual([]);
  });
});
