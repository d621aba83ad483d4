import { ForbiddenException } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import type { JobsIdentity } from '../../lib/jobs.options.js';
import { newId } from '../../lib/model/id.js';
import { SERVERS } from '../support/http.js';
import { aJob, openFakes, type Fakes } from './fakes.js';

const ID = newId();

function scoped() {
  const tenants: (string | undefined)[] = [];
  const fakes: Fakes = {
    jobs: {
      get: async (_id, scope) => {
        tenants.push(scope?.tenantId);
        return aJob({ id: ID });
      },
    },
  };
  return { fakes, tenants };
}

const asHeader = (request: { headers: Record<string, string> }): JobsIdentity => ({
  tenantId: String(request.headers['x-tenant']),
});

describe.each(SERVERS)('identify on %s', (server) => {
  it('confines each request to its own tenant, also at once', async () => {
    const { fakes, tenants } = scoped();
    const identify = async (request: Parameters<typeof asHeader>[0]) => asHeader(request);
    const host = await openFakes({ server, fakes, identify });
    const names = Array.from({ length: 20 }, (_, i) => `t${i}`);
    await Promise.all(names.map((name) => host.get(`/jobs/${ID}`, { 'X-Tenant': name })));
    expect(new Set(tenants)).toEqual(new Set(names));
    expect(tenants).toHaveLength(20);
  });

  it('is one tenant, and everyone an operator, without it', async () => {
    const { fakes, tenants } = scoped();
    const host = await openFakes({ server, fakes });
    await host.get(`/jobs/${ID}`, { 'X-Tenant': 'other' });
    expect(tenants).toEqual(['00000000-0000-0000-0000-000000000000']);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('secret');
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
    [
      'throws an exception of its own',
      () => {
        throw new ForbiddenException('secret');
      },
    ],
    ['throws nothing much', () => Promise.reject(null)],
  ])('answers 401 when identify %s', async (_what, identify) => {
    const { fakes, tenants } = scoped();
    const host = await openFakes({ server, fakes, identify });
    for (const path of [`/jobs/${ID}`, '/job-types', '/queues', '/stats', `/jobs/${ID}/events`]) {
      const answer = await host.get(path);
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
      expect(answer.text).not.toContain('secret');
    }
    expect(tenants).toEqual([]);
  });

  it.each([
    undefined,
    null,
    'tenant',
    {},
    { tenantId: '' },
    { tenantId: 'x'.repeat(65) },
    { tenantId: 7 },
    { tenantId: 'a\u0000' },
    { tenantId: 't', userId: '' },
    { tenantId: 't', userId: 7 },
    { tenantId: 't', operator: 'yes' },
  ])('answers 500 when identify gives %j, and logs what it should give', async (given) => {
    const { fakes, tenants } = scoped();
    const host = await openFakes({ server, fakes, identify: () => given as JobsIdentity });
    const answer = await host.get(`/jobs/${ID}`);
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error' } });
    expect(answer.text).not.toContain('identify');
    expect(host.log.texts('error').join()).toContain('tenantId');
    expect(tenants).toEqual([]);
  });

  it('is complained of once for each kind of mistake, however many requests come', async () => {
    const { fakes } = scoped();
    let given: unknown;
    const host = await openFakes({ server, fakes, identify: () => given as JobsIdentity });
    for (given of [undefined, {}, undefined, { tenantId: 7 }, {}]) {
      expect((await host.get(`/jobs/${ID}`)).status).toBe(500);
    }
    const said = host.log.texts('error');
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(
      /identify gave undefined, .* return \{ tenantId, userId\?, operator\? \}/,
    );
    expect(said[1]).toMatch(/without a fit tenantId/);
  });

  it('is not asked by the health probe', async () => {
    const host = await openFakes({
      server,
      identify: () => {
        throw new Error('nobody');
      },
    });
    expect(await host.get('/health/jobs')).toMatchObject({ status: 200, body: { status: 'ok' } });
  });

  it('is asked before a request is looked at', async () => {
    const host = await openFakes({
      server,
      identify: () => {
        throw new Error('nobody');
      },
    });
    expect((await host.get('/jobs?nonsense=1')).status).toBe(401);
    expect((await host.post('/jobs', { nonsense: 1 })).status).toBe(401);
    expect((await host.get('/jobs/malformed')).status).toBe(401);
  });
});

describe.each(SERVERS)('the health probe on %s', (server) => {
  it.each([
    ['ok', 200],
    ['degraded', 200],
    ['down', 503],
  ] as const)('answers %s with %i', async (status, code) => {
    const checks = { database: { status: 'up', message: 'answers' } } as const;
    const fakes: Fakes = { stats: { health: async () => ({ status, checks }) } };
    const host = await openFakes({ server, fakes });
    expect(await host.get('/health/jobs')).toMatchObject({
      status: code,
      body: { status, checks },
    });
  });
});
