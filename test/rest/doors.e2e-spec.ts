import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { newId } from '../../lib/model/id.js';
import { SERVERS } from '../support/http.js';
import { aJob, openFakes, type Fakes } from './fakes.js';

const ID = newId();
const OTHER = 'https://elsewhere.example';

function noting() {
  const calls: string[] = [];
  const note = (name: string) => async () => {
    calls.push(name);
    return aJob({ id: ID });
  };
  const fakes: Fakes = {
    jobs: {
      get: note('get'),
      cancel: note('cancel'),
      update: note('update'),
      enqueue: note('enqueue'),
      delete: async () => void calls.push('delete'),
    },
  };
  return { fakes, calls };
}

describe.each(SERVERS)('requests that a foreign page can make a browser send, on %s', (server) => {
  it.each([
    ['a form', { 'Content-Type': 'application/x-www-form-urlencoded' }, 'type=a%3Ab'],
    ['plain text', { 'Content-Type': 'text/plain' }, '{"type":"a:b"}'],
    [
      'text that names JSON',
      { 'Content-Type': 'text/plain; x=application/json' },
      '{"type":"a:b"}',
    ],
    ['a form with a file', { 'Content-Type': 'multipart/form-data; boundary=x' }, '--x--'],
    ['an empty POST from another site', { 'Sec-Fetch-Site': 'cross-site' }, undefined],
    ['an empty POST from a sister site', { 'Sec-Fetch-Site': 'same-site' }, undefined],
    ['an empty POST with a foreign origin', { Origin: OTHER }, undefined],
    ['an empty POST with an opaque origin', { Origin: 'null' }, undefined],
  ])('change nothing: %s', async (_what, headers, text) => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes });
    for (const path of ['/jobs', `/jobs/${ID}/cancel`]) {
      const ask = {
        headers: headers as unknown as Record<string, string>,
        ...(text === undefined ? {} : { text }),
      };
      const { status } = await host.ask('POST', path, ask);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
    expect(calls).toEqual([]);
  });

  it('leaves no body unread without a word', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes });
    const unread: [string, Record<string, string>][] = [
      ['PATCH', { 'Content-Type': 'text/plain' }],
      ['PATCH', { 'Content-Type': 'application/x-www-form-urlencoded' }],
      ['PATCH', {}],
      ['POST', {}],
    ];
    for (const [method, headers] of unread) {
      const path = method === 'POST' ? `/jobs/${ID}/cancel` : `/jobs/${ID}`;
      const { status } = await host.ask(method, path, { text: '{"reason":"x"}', headers });
      // Fastify refuses by itself what no parser of it takes.
      expect([400, 415]).toContain(status);
    }
    expect(calls).toEqual([]);
  });

  it('refuses an empty form too, whoever sends it, with a problem that says how', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes });
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    for (const path of ['/jobs', `/jobs/${ID}/cancel`]) {
      for (const ask of [{ headers }, { headers, text: '' }]) {
        expect(await host.ask('POST', path, ask)).toMatchObject({
          status: 400,
          headers: { 'content-type': 'application/problem+json; charset=utf-8' },
          body: {
            code: 'invalid_request',
            errors: [{ field: 'Content-Type', message: 'must be application/json' }],
          },
        });
      }
    }
    expect(calls).toEqual([]);
  });

  it('leaves JSON to the CORS rules of the host, and programs alone', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes });
    const path = `/jobs/${ID}/cancel`;
    const own = `http://127.0.0.1:${host.port}`;
    const asked: Record<string, string>[] = [
      {},
      { 'Sec-Fetch-Site': 'same-origin', Origin: own },
      { 'Sec-Fetch-Site': 'none' },
      { Origin: own },
    ];
    for (const headers of asked) {
      expect((await host.post(path, undefined, headers)).status).toBe(202);
    }
    const foreign = { 'Sec-Fetch-Site': 'cross-site', Origin: OTHER };
    expect((await host.post(path, {}, foreign)).status).toBe(202);
    expect((await host.ask('DELETE', `/jobs/${ID}`, { headers: foreign })).status).toBe(204);
    const variants = ['application/json; charset=utf-8', 'APPLICATION/JSON'];
    for (const type of variants) {
      expect(
        (await host.ask('POST', path, { text: '{}', headers: { 'Content-Type': type } })).status,
      ).toBe(202);
    }
    expect(calls).toHaveLength(asked.length + 2 + variants.length);
  });

  it('sends no CORS header of its own', async () => {
    const host = await openFakes({ server, fakes: noting().fakes });
    const answer = await host.get(`/jobs/${ID}`, { Origin: OTHER });
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual(
      [],
    );
  });

  it('changes nothing on GET and HEAD', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes });
    for (const verb of ['cancel', 'suspend', 'resume', 'retry', 'skip', 'fail']) {
      for (const method of ['GET', 'HEAD']) {
        expect((await host.ask(method, `/jobs/${ID}/${verb}`)).status).toBe(404);
      }
    }
    expect(calls).toEqual([]);
  });
});

describe.each(SERVERS)('odd ways to write a path, on %s', (server) => {
  const denied = (context: ExecutionContext): boolean =>
    context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-key'] ===
    'k';
  const guard: CanActivate = { canActivate: denied };

  const id = ID;
  const PATHS = [
    `/jobs/${id}`,
    `/jobs/${id}/`,
    `//jobs/${id}`,
    `/jobs//${id}`,
    `/JOBS/${id}`,
    `/jobs/${id};x`,
    `/jobs;x/${id}`,
    `/%6aobs/${id}`,
    `/jobs%2f${id}`,
    `/jobs/%2e/${id}`,
    `/jobs/./${id}`,
    `/x/../jobs/${id}`,
    `/jobs/${id}?`,
    `/jobs/${id}#f`,
    `/jobs/${id}/cancel`,
    `/jobs/${id}/cancel/`,
    `/jobs/${id}%2fcancel`,
    `/jobs/${id}/%63ancel`,
    `/jobs/${id}/events`,
  ];

  it('never get past a guard', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes, api: { guards: [guard] } });
    for (const path of PATHS) {
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'PUT']) {
        const { status } = await host.ask(method, path);
        expect([method, path, status]).toEqual([
          method,
          path,
          status >= 400 ? status : 'a refusal',
        ]);
      }
    }
    expect(calls).toEqual([]);
  });

  it('lead to the plain route or nowhere', async () => {
    const { fakes, calls } = noting();
    const host = await openFakes({ server, fakes, api: { guards: [guard] } });
    for (const path of PATHS) {
      const { status, body } = await host.get(path, { 'X-Key': 'k' });
      expect([path, status]).toEqual([path, [200, 400, 404].find((each) => each === status)]);
      if (status === 200 && !path.endsWith('events')) expect(body).toMatchObject({ id: ID });
    }
    expect(calls.every((call) => call === 'get')).toBe(true);
  });
});
