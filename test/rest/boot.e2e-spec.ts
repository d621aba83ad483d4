import { APP_GUARD, NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { describe, expect, it } from 'vitest';
import { SERVERS, type HttpApp } from '../support/http.js';
import { CapturedLog } from '../support/captured-log.js';
import { until } from '../support/waiting.js';
import { jobsModule, openFakes, type FakeHost } from './fakes.js';

const OPEN_DOOR = /identify nor api\.guards/;
const SMALL_BODIES = /bodies of at most (\d+) bytes/;
const pass = { canActivate: () => true };

async function warnings(host: HttpApp, count: number): Promise<string[]> {
  await until(() => host.log.texts('warn').length >= count, `${count} warnings`);
  return host.log.texts('warn');
}

describe.each(SERVERS)('boot on %s', (server) => {
  it('warns once that everyone is operator, when neither identify nor a guard is set', async () => {
    const host = await openFakes({ server });
    const door = (await warnings(host, 2)).filter((text) => OPEN_DOOR.test(text));
    expect(door).toHaveLength(1);
  });

  it.each<[string, Partial<FakeHost>]>([
    ['identify', { identify: () => ({ tenantId: 't' }) }],
    ['a guard', { api: { guards: [pass] } }],
    ['a global guard', { providers: [{ provide: APP_GUARD, useValue: pass }] }],
  ])('does not with %s', async (_what, over) => {
    const host = await openFakes({ server, ...over });
    const texts = await warnings(host, 1);
    expect(texts.filter((text) => OPEN_DOOR.test(text))).toEqual([]);
  });

  it('warns once that the parser of the host takes less than we do', async () => {
    const host = await openFakes({ server });
    const texts = (await warnings(host, 2)).filter((text) => SMALL_BODIES.test(text));
    expect(texts).toHaveLength(1);
    const [, limit] = SMALL_BODIES.exec(texts[0] ?? '') ?? [];
    expect(limit).toBe(server === 'express' ? '102400' : '1048576');
  });

  it('does not when the host has raised it', async () => {
    const identify = () => ({ tenantId: 't' });
    const host = await openFakes({
      server,
      identify,
      ...(server === 'express'
        ? {
            configure: (app) =>
              (app as NestExpressApplication).useBodyParser('json', { limit: '6mb' }),
          }
        : { adapter: new FastifyAdapter({ bodyLimit: 6_291_456 }) }),
    });
    const large = { type: 'a:b', params: 'x'.repeat(2_000_000) };
    // By the time a request is answered, boot has said what it had to say.
    expect(await host.post('/jobs?x=1', large)).toMatchObject({
      body: { code: 'invalid_request' },
    });
    expect(host.log.texts('warn')).toEqual([]);
  });
});

it('knows the limit given to the Fastify adapter', async () => {
  const host = await openFakes({
    server: 'fastify',
    identify: () => ({ tenantId: 't' }),
    adapter: new FastifyAdapter({ bodyLimit: 2_000_000 }),
  });
  expect((await warnings(host, 1)).join()).toContain('2000000');
});

it('has nothing to say, and nothing to serve, without an HTTP server', async () => {
  const log = new CapturedLog();
  const context = await NestFactory.createApplicationContext(jobsModule({}), { logger: log });
  await context.close();
  expect(log.texts('warn')).toEqual([]);
});

it('refuses sections that do not exist', async () => {
  for (const section of ['toString', '']) {
    const only = [section as 'jobs'];
    expect(() => jobsModule({ api: { only } })).toThrow(
      expect.objectContaining({ code: 'invalid_options' }) as Error,
    );
  }
});

it.each(['jobs', 'catalog', 'queues', 'schedules', 'webhooks', 'workers', 'stats'] as const)(
  'serves nothing but %s when told so',
  async (section) => {
    const paths = {
      jobs: '/jobs',
      catalog: '/job-types',
      queues: '/queues',
      schedules: '/schedules',
      webhooks: '/webhooks',
      workers: '/workers',
      stats: '/stats',
    };
    const host = await openFakes({ server: 'express', api: { only: [section] } });
    const served = await Promise.all(
      Object.entries(paths).map(async ([name, path]) =>
        (await host.get(path)).status === 404 ? [] : [name],
      ),
    );
    expect(served.flat()).toEqual([section]);
  },
);

it('keeps applications of one process apart', async () => {
  const first = await openFakes({
    server: 'express',
    api: { path: 'a', guards: [{ canActivate: () => false }] },
  });
  const second = await openFakes({ server: 'fastify', api: { path: 'b', only: ['stats'] } });
  expect((await first.get('/a/health/jobs')).status).toBe(403);
  expect((await second.get('/b/health/jobs')).status).toBe(200);
  expect((await second.get('/b/jobs')).status).toBe(404);
  expect((await first.get('/b/health/jobs')).status).toBe(404);
});
