import {
  Body,
  Catch,
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  Post,
  Scope,
  ValidationPipe,
  VERSION_NEUTRAL,
  VersioningType,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
} from '@nestjs/common';
import { REQUEST, RouterModule } from '@nestjs/core';
import { IsInt } from 'class-validator';
import { map, of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { ApiOptions } from '../../lib/jobs.options.js';
import { newId } from '../../lib/model/id.js';
import { moduleOf, openHost, SERVERS } from '../support/http.js';
import { aJob, jobsModule, openFakes, WRAPPING, type Fakes } from './fakes.js';

const ID = newId();
const FAKES: Fakes = {
  jobs: { get: async () => aJob({ id: ID }), enqueue: async () => aJob({ id: ID }) },
};

interface Mounting {
  readonly name: string;
  readonly configure?: (app: INestApplication) => unknown;
  readonly api?: ApiOptions;
  /** Where `/jobs` is then. */
  readonly at: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const byHeader = { type: VersioningType.HEADER, header: 'X-Version' } as const;
const byMedia = { type: VersioningType.MEDIA_TYPE, key: 'v=' } as const;

const MOUNTINGS: readonly Mounting[] = [
  { name: 'nothing set', at: '' },
  { name: 'api.path', api: { path: 'admin/work' }, at: '/admin/work' },
  { name: 'api.path with slashes', api: { path: '/admin//' }, at: '/admin' },
  { name: 'a global prefix', configure: (app) => app.setGlobalPrefix('api'), at: '/api' },
  {
    name: 'a global prefix and api.path',
    configure: (app) => app.setGlobalPrefix('api'),
    api: { path: 'x' },
    at: '/api/x',
  },
  {
    name: 'a global prefix that excludes us',
    configure: (app) => app.setGlobalPrefix('api', { exclude: ['jobs', 'jobs/*path'] }),
    at: '',
  },
  {
    name: 'versions in the URI, none of ours',
    configure: (app) => app.enableVersioning({ type: VersioningType.URI }),
    at: '',
  },
  {
    name: 'versions in the URI',
    configure: (app) => app.enableVersioning({ type: VersioningType.URI }),
    api: { version: '2' },
    at: '/v2',
  },
  {
    name: 'several versions in the URI',
    configure: (app) => app.enableVersioning({ type: VersioningType.URI }),
    api: { version: ['2', '3'] },
    at: '/v3',
  },
  {
    name: 'a default version in the URI',
    configure: (app) => app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' }),
    at: '/v1',
  },
  {
    name: 'a default version, and ours neutral',
    configure: (app) => app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' }),
    api: { version: VERSION_NEUTRAL },
    at: '',
  },
  {
    name: 'prefix, version and path',
    configure: (app) => app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI }),
    api: { version: '2', path: 'p' },
    at: '/api/v2/p',
  },
  {
    name: 'versions in a header',
    configure: (app) => app.enableVersioning(byHeader),
    api: { version: '2' },
    at: '',
    headers: { 'X-Version': '2' },
  },
  {
    name: 'versions in a media type',
    configure: (app) => app.enableVersioning(byMedia),
    api: { version: '2' },
    at: '',
    headers: { Accept: 'application/json;v=2' },
  },
];

describe.each(SERVERS)('a host on %s', (server) => {
  it.each(MOUNTINGS)('finds every section with $name', async (mounting) => {
    const { at, headers = {}, api = {}, configure } = mounting;
    const host = await openFakes({
      server,
      fakes: FAKES,
      api,
      ...(configure === undefined ? {} : { configure }),
    });
    const created = await host.post(`${at}/jobs`, { type: 'a:b' }, headers);
    expect(created).toMatchObject({ status: 202, headers: { location: `${at}/jobs/${ID}` } });
    expect(await host.get(`${at}/jobs/${ID}`, headers)).toMatchObject({ status: 200 });
    const missing = await host.get(`${at}/jobs/nonsense?a=b`, headers);
    expect(missing).toMatchObject({ status: 400, body: { instance: `${at}/jobs/nonsense` } });
    if (mounting.name !== 'a global prefix that excludes us') {
      for (const path of ['/job-types', '/job_types', '/job-groups', '/job_groups', '/queues']) {
        expect([path, (await host.get(`${at}${path}`, headers)).status]).toEqual([path, 200]);
      }
      expect(await host.get(`${at}/health/jobs`, headers)).toMatchObject({ status: 200 });
    }
  });

  it('hides a version that is not asked for', async () => {
    for (const [versioning, headers] of [
      [byHeader, { 'X-Version': '1' }],
      [byMedia, { Accept: 'application/json;v=1' }],
    ] as const) {
      const host = await openFakes({
        server,
        api: { version: '2' },
        configure: (app) => app.enableVersioning(versioning),
      });
      expect((await host.get('/job-types', headers)).status).toBe(404);
    }
  });

  it('is mounted by RouterModule like any module', async () => {
    const module = jobsModule({ fakes: FAKES });
    const routes = RouterModule.register([{ path: 'below', module: module.module }]);
    const host = await openHost({ server, module: moduleOf({ imports: [module, routes] }) });
    const created = await host.post('/below/jobs', { type: 'a:b' });
    expect(created).toMatchObject({ status: 202, headers: { location: `/below/jobs/${ID}` } });
  });

  it('has only the sections that it asks for', async () => {
    const paths = {
      jobs: `/jobs/${ID}`,
      catalog: '/job-types',
      queues: '/queues',
      stats: '/health/jobs',
    };
    for (const [section, path] of Object.entries(paths)) {
      const only = [section as keyof typeof paths];
      const host = await openFakes({ server, fakes: FAKES, api: { only } });
      for (const [each, other] of Object.entries(paths)) {
        const { status } = await host.get(other);
        expect([each, status]).toEqual([each, other === path ? 200 : 404]);
      }
    }
  });

  it.each([
    [
      'transforms',
      new ValidationPipe({ transform: true, transformOptions: { enableImplicitConversion: true } }),
    ],
    [
      'forbids what is unknown',
      new ValidationPipe({
        whitelist: true,
        forbidNonWhitelisted: true,
        forbidUnknownValues: true,
      }),
    ],
    [
      'expects a class everywhere',
      new ValidationPipe({
        expectedType: classOf(),
        whitelist: true,
        validateCustomDecorators: true,
      }),
    ],
    ['changes every value', { transform: () => 'changed' }],
    [
      'refuses every value',
      {
        transform: () => {
          throw new Error('refused');
        },
      },
    ],
  ])('keeps our requests as they are when a global pipe %s', async (_what, pipe) => {
    const seen: unknown[] = [];
    const enqueue = async (...args: unknown[]) => {
      seen.push(args.slice(0, 2));
      return aJob({ id: ID });
    };
    const host = await openFakes({
      server,
      fakes: { jobs: { get: async () => aJob({ id: ID }), enqueue } },
      configure: (app) => app.useGlobalPipes(pipe),
    });
    const created = await host.post('/jobs', { type: 'a:b', params: { n: '1', list: [1] } });
    expect(created.status).toBe(202);
    expect(seen).toEqual([['a:b', { n: '1', list: [1] }]]);
    expect((await host.get(`/jobs/${ID}`)).body).toMatchObject({ id: ID });
    expect((await host.get('/jobs?limit=0')).body).toMatchObject({ code: 'invalid_request' });
  });

  it('answers as documented behind global interceptors that wrap, delay or cache', async () => {
    const plain = await openFakes({ server, fakes: FAKES });
    const cache: NestInterceptor = caching();
    const host = await openFakes({
      server,
      fakes: FAKES,
      configure: (app) => app.useGlobalInterceptors(WRAPPING, cache),
    });
    for (const path of [`/jobs/${ID}`, '/job-types', '/health/jobs']) {
      const first = await host.get(path);
      const second = await host.get(path);
      expect(first.text).toBe((await plain.get(path)).text);
      expect(second.text).toBe(first.text);
    }
    expect((await host.post('/jobs', { type: 'a:b' })).body).toMatchObject({ id: ID });
    expect((await host.get('/jobs/x')).headers['content-type']).toContain('problem+json');
  });

  it('has answered before a global interceptor can fail', async () => {
    const failing: NestInterceptor = {
      intercept: (_context, next) =>
        next.handle().pipe(
          map((answer: { id: string }) => {
            throw new Error(`No ${answer.id}`);
          }),
        ),
    };
    const host = await openFakes({
      server,
      fakes: FAKES,
      configure: (app) => app.useGlobalInterceptors(failing),
    });
    expect(await host.get(`/jobs/${ID}`)).toMatchObject({ status: 200, body: { id: ID } });
    expect(host.log.texts('error')).toEqual([]);
    // The application still stands.
    expect(await host.get('/health/jobs')).toMatchObject({ status: 200 });
  });

  it('keeps answers out of shared caches, unless the host says otherwise', async () => {
    const plain = await openFakes({ server, fakes: FAKES });
    expect((await plain.get(`/jobs/${ID}`)).headers['cache-control']).toBe('private, no-cache');
    expect((await plain.get('/jobs/x')).headers['cache-control']).toBe('private, no-cache');
    const setting: NestInterceptor = {
      intercept: (context, next) => {
        const response = context
          .switchToHttp()
          .getResponse<{ header(n: string, v: string): void }>();
        response.header('Cache-Control', 'max-age=1');
        return next.handle();
      },
    };
    const host = await openFakes({ server, fakes: FAKES, api: { interceptors: [setting] } });
    expect((await host.get(`/jobs/${ID}`)).headers['cache-control']).toBe('max-age=1');
  });

  it('answers with problem documents behind a global filter that takes everything', async () => {
    @Catch()
    class Swallow {
      catch(): void {
        throw new Error('Not ours to answer.');
      }
    }
    const host = await openFakes({
      server,
      configure: (app) => app.useGlobalFilters(new Swallow()),
    });
    const answer = await host.get(`/jobs/${ID}`);
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found', resource: 'job' } });
  });

  it('lets api.interceptors see and change what is sent', async () => {
    const seen: unknown[] = [];
    const interceptor: NestInterceptor = {
      intercept: (context, next) => {
        context
          .switchToHttp()
          .getResponse<{ header(n: string, v: string): void }>()
          .header('X-Seen', '1');
        return next
          .handle()
          .pipe(map((answer: object) => ({ ...answer, extra: seen.push(answer) })));
      },
    };
    const host = await openFakes({ server, fakes: FAKES, api: { interceptors: [interceptor] } });
    const answer = await host.get(`/jobs/${ID}`);
    expect(answer).toMatchObject({ headers: { 'x-seen': '1' }, body: { id: ID, extra: 1 } });
    expect(seen).toMatchObject([{ id: ID }]);
  });

  it('sends what an interceptor of api.interceptors answers in our place', async () => {
    const interceptor: NestInterceptor = { intercept: () => of({ closed: true }) };
    const host = await openFakes({ server, api: { interceptors: [interceptor] } });
    expect(await host.get('/jobs')).toMatchObject({ status: 200, body: { closed: true } });
  });

  it('runs guards before identify, in their order, on every route', async () => {
    const order: string[] = [];
    const guard = (name: string): CanActivate => ({
      canActivate: () => order.push(name) > 0,
    });
    const host = await openFakes({
      server,
      api: { guards: [guard('first'), guard('second')] },
      identify: () => {
        order.push('identify');
        return { tenantId: 't' };
      },
    });
    await host.get('/job-types');
    expect(order).toEqual(['first', 'second', 'identify']);
    await host.get('/health/jobs');
    expect(order.slice(3)).toEqual(['first', 'second']);
  });

  it('uses a guard as the host made it, with what only the host has', async () => {
    @Injectable()
    class Keys {
      readonly key = 'secret';
    }
    @Injectable()
    class KeyGuard implements CanActivate {
      static made = 0;
      constructor(@Inject(Keys) private readonly keys: Keys) {
        KeyGuard.made += 1;
      }
      canActivate(context: ExecutionContext): boolean {
        const request = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
        return request.headers['x-key'] === this.keys.key;
      }
    }
    const host = await openFakes({
      server,
      api: { guards: [KeyGuard] },
      providers: [Keys, KeyGuard],
    });
    expect(await host.get('/job-types')).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect((await host.get('/job-types', { 'X-Key': 'secret' })).status).toBe(200);
    expect(KeyGuard.made).toBe(1);
  });

  it('makes a guard that no module has where its needs are met, and names one it cannot make', async () => {
    @Injectable()
    class Alone implements CanActivate {
      static made = 0;
      constructor() {
        Alone.made += 1;
      }
      canActivate(): boolean {
        return true;
      }
    }
    @Injectable()
    class Tokens {}
    @Injectable()
    class OfTheHost extends Alone {
      constructor(@Inject(Tokens) readonly tokens: Tokens) {
        super();
      }
    }
    const host = await openFakes({
      server,
      api: { guards: [Alone, OfTheHost] },
      providers: [Tokens],
    });
    expect((await host.get('/job-types')).status).toBe(200);
    expect(Alone.made).toBe(2);

    @Injectable()
    class Needy implements CanActivate {
      constructor(@Inject('nowhere') readonly nowhere: unknown) {}
      canActivate(): boolean {
        return true;
      }
    }
    await expect(openFakes({ server, api: { guards: [Needy] } })).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringContaining('Needy') as string,
    });
  });

  it('makes a request-scoped guard for each request, with the request', async () => {
    const made: unknown[] = [];
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest implements CanActivate {
      constructor(@Inject(REQUEST) request: { url: string }) {
        made.push(request.url);
      }
      canActivate(): boolean {
        return true;
      }
    }
    const host = await openFakes({
      server,
      api: { guards: [PerRequest] },
      providers: [PerRequest],
    });
    expect((await host.get('/job-types')).status).toBe(200);
    expect((await host.get('/queues')).status).toBe(200);
    expect(made).toEqual(['/job-types', '/queues']);
  });

  it('leaves the routes of the host as they are without us', async () => {
    class Thing {
      @IsInt() n!: number;
    }
    @Controller('things')
    class ThingsController {
      @Get()
      all(): object {
        return { things: [1] };
      }
      @Post()
      add(@Body() thing: Thing): Thing {
        return thing;
      }
      @Get('broken')
      broken(): never {
        throw new Error('secret');
      }
    }
    @Module({ controllers: [ThingsController] })
    class Bare {}
    const configure = (app: INestApplication): unknown => app.useGlobalPipes(new ValidationPipe());
    const without = await openHost({ server, module: Bare, configure });
    const withUs = await openFakes({ server, controllers: [ThingsController], configure });
    for (const [method, path, body] of [
      ['GET', '/things', undefined],
      ['HEAD', '/things', undefined],
      ['POST', '/things', { n: 1 }],
      ['POST', '/things', { n: 'x' }],
      ['GET', '/things/broken', undefined],
      ['GET', '/nothing', undefined],
      ['OPTIONS', '/things', undefined],
    ] as const) {
      const ask = body === undefined ? {} : { body };
      const expected = await without.ask(method, path, ask);
      const got = await withUs.ask(method, path, ask);
      const { date: _one, ...headers } = got.headers;
      const { date: _other, ...before } = expected.headers;
      expect({ ...got, headers }).toEqual({ ...expected, headers: before });
    }
  });
});

function classOf() {
  class Expected {
    @IsInt() n!: number;
  }
  return Expected;
}

/** As @nestjs/cache-manager does it: keyed by URL, for everybody. */
function caching(): NestInterceptor {
  const kept = new Map<string, unknown>();
  return {
    intercept(context, next) {
      const { url, method } = context.switchToHttp().getRequest<{ url: string; method: string }>();
      const known = method === 'GET' ? kept.get(url) : undefined;
      if (known !== undefined) return of(known);
      return next.handle().pipe(map((answer: unknown) => (kept.set(url, answer), answer)));
    },
  };
}
