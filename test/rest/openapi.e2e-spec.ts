import { Validator } from '@seriousme/openapi-schema-validator';
import { Controller, Get, VersioningType, type INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { describe, expect, it, vi } from 'vitest';
import { SERVERS } from '../support/http.js';
import { openFakes, type FakeHost } from './fakes.js';

function documentOf(app: INestApplication, openapi = '3.0.0'): OpenAPIObject {
  const config = new DocumentBuilder().setTitle('Host').setOpenAPIVersion(openapi).build();
  // As a host publishes it: through JSON.
  return JSON.parse(JSON.stringify(SwaggerModule.createDocument(app, config))) as OpenAPIObject;
}

async function documented(host: FakeHost, openapi?: string): Promise<OpenAPIObject> {
  const { app } = await openFakes(host);
  return documentOf(app, openapi);
}

function operationsOf(document: OpenAPIObject) {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Operation>).map(([method, operation]) => ({
      route: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
}

interface Operation {
  readonly operationId: string;
  readonly tags: string[];
  readonly parameters: { readonly name: string; readonly in: string }[];
  readonly responses: Record<string, { readonly content?: Record<string, object> }>;
}

/** Every reference of the document that leads nowhere. */
function dangling(document: OpenAPIObject): string[] {
  const known = Object.keys(document.components?.schemas ?? {});
  const refs = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)];
  return refs.map(([, name = '']) => name).filter((name) => !known.includes(name));
}

describe.each(SERVERS)('the OpenAPI document on %s', (server) => {
  it.each(['3.0.0', '3.1.0'])('is a valid document of version %s', async (version) => {
    const document = await documented({ server }, version);
    const result = await new Validator().validate({ ...document });
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
    expect(dangling(document)).toEqual([]);
  });

  it('has every route once, under ids that stay', async () => {
    const document = await documented({ server });
    const ids = operationsOf(document).map(({ route, operation }) => [
      route,
      operation.operationId,
    ]);
    expect(Object.fromEntries(ids)).toEqual({
      'POST /jobs': 'createJob',
      'GET /jobs': 'listJobs',
      'POST /jobs/batch': 'createJobs',
      'POST /jobs/flow': 'createFlow',
      'GET /jobs/{id}': 'getJob',
      'PATCH /jobs/{id}': 'updateJob',
      'DELETE /jobs/{id}': 'deleteJob',
      'GET /jobs/{id}/wait': 'waitForJob',
      'POST /jobs/{id}/cancel': 'cancelJob',
      'POST /jobs/{id}/suspend': 'suspendJob',
      'POST /jobs/{id}/resume': 'resumeJob',
      'POST /jobs/{id}/retry': 'retryJob',
      'POST /jobs/{id}/skip': 'skipJob',
      'POST /jobs/{id}/fail': 'failJob',
      'POST /jobs/{id}/signals/{name}': 'signalJob',
      'GET /jobs/{id}/runs': 'listJobRuns',
      'GET /jobs/{id}/dependencies': 'listJobDependencies',
      'GET /jobs/{id}/logs': 'readJobLogs',
      'GET /jobs/{id}/events': 'watchJob',
      'GET /job-types': 'listJobTypes',
      'GET /job-types/{id}': 'getJobType',
      'GET /job-groups': 'listJobGroups',
      'GET /job-groups/{id}': 'getJobGroup',
      'GET /queues': 'listQueues',
      'GET /queues/{name}': 'getQueue',
      'POST /queues/{name}/pause': 'pauseQueue',
      'POST /queues/{name}/resume': 'resumeQueue',
      'POST /queues/{name}/cancel-waiting': 'cancelWaitingJobs',
      'GET /schedules': 'listSchedules',
      'POST /schedules': 'createSchedule',
      'GET /schedules/{name}': 'getSchedule',
      'PUT /schedules/{name}': 'putSchedule',
      'DELETE /schedules/{name}': 'deleteSchedule',
      'POST /schedules/{name}/pause': 'pauseSchedule',
      'POST /schedules/{name}/resume': 'resumeSchedule',
      'POST /schedules/{name}/run': 'runSchedule',
      'GET /schedules/{name}/preview': 'previewSchedule',
      'GET /schedules/{name}/jobs': 'listScheduleJobs',
      'GET /webhooks': 'listWebhooks',
      'POST /webhooks': 'createWebhook',
      'GET /webhooks/{id}': 'getWebhook',
      'PUT /webhooks/{id}': 'updateWebhook',
      'DELETE /webhooks/{id}': 'deleteWebhook',
      'POST /webhooks/{id}/test': 'testWebhook',
      'GET /webhooks/{id}/deliveries': 'listWebhookDeliveries',
      'POST /webhooks/deliveries/{id}/redeliver': 'redeliverWebhook',
      'GET /workers': 'listWorkers',
      'GET /workers/{id}': 'getWorker',
      'GET /runs': 'listRuns',
      'GET /stats': 'getJobsStats',
      'GET /health/jobs': 'getJobsHealth',
    });
  });

  it('documents parameters of the path, answers and problems of every route', async () => {
    for (const { route, operation } of operationsOf(await documented({ server }))) {
      const inPath = [...route.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const documented = operation.parameters.filter((each) => each.in === 'path');
      expect([route, documented.map((each) => each.name)]).toEqual([route, inPath]);
      expect(Object.keys(operation.responses)).toEqual(
        expect.arrayContaining(['400', '401', '403', '500']),
      );
      for (const [status, response] of Object.entries(operation.responses)) {
        const types = Object.keys(response.content ?? {});
        const isProblem = Number(status) >= 400 && route !== 'GET /health/jobs';
        if (isProblem)
          expect([route, status, types]).toEqual([route, status, ['application/problem+json']]);
      }
    }
  });

  it('documents every status that a route answers with', async () => {
    const common = [400, 401, 403, 500];
    const job = [...common, 404, 503];
    const operation = [...job, 409, 423];
    const create = [...common, 409, 413, 423, 503];
    const expected: Record<string, number[]> = {
      'POST /jobs': [202, 200, ...create],
      'POST /jobs/batch': [202, ...create],
      'POST /jobs/flow': [202, ...create],
      'GET /jobs': [200, ...common, 503],
      'GET /jobs/{id}': [200, ...job],
      'PATCH /jobs/{id}': [200, ...operation],
      'DELETE /jobs/{id}': [204, ...operation],
      'GET /jobs/{id}/wait': [200, 202, ...job],
      'POST /jobs/{id}/cancel': [202, ...operation],
      'POST /jobs/{id}/suspend': [202, ...operation],
      'POST /jobs/{id}/resume': [202, ...operation],
      'POST /jobs/{id}/retry': [202, ...operation],
      'POST /jobs/{id}/skip': [202, ...operation],
      'POST /jobs/{id}/fail': [202, ...operation, 413],
      'POST /jobs/{id}/signals/{name}': [202, ...job, 409, 413],
      'GET /jobs/{id}/runs': [200, ...job],
      'GET /jobs/{id}/dependencies': [200, ...job],
      'GET /jobs/{id}/logs': [200, ...job],
      'GET /jobs/{id}/events': [200, 204, ...job],
      'GET /job-types': [200, ...common],
      'GET /job-types/{id}': [200, ...common, 404],
      'GET /job-groups': [200, ...common],
      'GET /job-groups/{id}': [200, ...common, 404],
      'GET /queues': [200, ...common, 503],
      'GET /queues/{name}': [200, ...job],
      'POST /queues/{name}/pause': [202, ...job],
      'POST /queues/{name}/resume': [202, ...job],
      'POST /queues/{name}/cancel-waiting': [202, ...job],
      'GET /schedules': [200, ...common, 503],
      'POST /schedules': [200, 201, ...common, 413, 423, 503],
      'GET /schedules/{name}': [200, ...job],
      'PUT /schedules/{name}': [200, 201, ...common, 413, 423, 503],
      'DELETE /schedules/{name}': [204, ...job],
      'POST /schedules/{name}/pause': [202, ...job],
      'POST /schedules/{name}/resume': [202, ...job],
      'POST /schedules/{name}/run': [202, 200, ...common, 404, 409, 503],
      'GET /schedules/{name}/preview': [200, ...job],
      'GET /schedules/{name}/jobs': [200, ...job],
      'GET /webhooks': [200, ...common, 503],
      'POST /webhooks': [201, ...common, 423, 503],
      'GET /webhooks/{id}': [200, ...job],
      'PUT /webhooks/{id}': [200, ...job, 423],
      'DELETE /webhooks/{id}': [204, ...job],
      'POST /webhooks/{id}/test': [200, ...job, 423],
      'GET /webhooks/{id}/deliveries': [200, ...job],
      'POST /webhooks/deliveries/{id}/redeliver': [202, ...job, 409],
      'GET /workers': [200, ...common, 503],
      'GET /workers/{id}': [200, ...job],
      'GET /runs': [200, ...common, 503],
      'GET /stats': [200, ...common, 503],
      'GET /health/jobs': [200, 503, ...common],
    };
    const documentedAs = operationsOf(await documented({ server })).map(
      ({ route, operation: own }) => [route, Object.keys(own.responses).map(Number)],
    );
    expect(Object.fromEntries(documentedAs)).toEqual(
      Object.fromEntries(
        Object.entries(expected).map(([route, statuses]) => [
          route,
          statuses.toSorted((a, b) => a - b),
        ]),
      ),
    );
  });

  it('shows nothing of what comes later', async () => {
    const document = await documented({ server });
    const shown = JSON.stringify(document);
    expect(shown).not.toContain('lease_token');
    expect(Object.keys(document.paths).filter((path) => /heartbeat|claim/.test(path))).toEqual([]);
    expect(Object.keys(document.paths['/workers'] ?? {})).toEqual(['get']);
  });

  it('has only the sections that are served', async () => {
    const document = await documented({ server, api: { only: ['stats'] } });
    expect(Object.keys(document.paths)).toEqual(['/stats', '/health/jobs']);
    expect(
      Object.keys(document.components?.schemas ?? {}).toSorted((a, b) => (a < b ? -1 : 1)),
    ).toEqual(['JobProblem', 'JobsHealth', 'JobsStats']);
  });

  it('follows prefix, path and versions, and keeps ids apart', async () => {
    const document = await documented({
      server,
      api: { path: 'work', version: ['1', '2'] },
      configure: (app) => app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI }),
    });
    expect(Object.keys(document.paths)).toContain('/api/v1/work/jobs/{id}');
    expect(Object.keys(document.paths)).toContain('/api/v2/work/jobs/{id}');
    const ids = operationsOf(document).map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const result = await new Validator().validate({ ...document });
    expect(result.valid).toBe(true);
  });

  it('leaves the operations and schemas of the host alone', async () => {
    @Controller('things')
    class ThingsController {
      @Get()
      all(): string {
        return '';
      }
    }
    const document = await documented({ server, controllers: [ThingsController] });
    expect(document.paths['/things']?.get).toMatchObject({
      operationId: 'ThingsController_all',
      tags: ['Things'],
    });
  });

  it('is ready as soon as the application is created, before it listens', async () => {
    let early: OpenAPIObject | undefined;
    await openFakes({
      server,
      configure: (app) => {
        early = documentOf(app);
      },
    });
    expect(early?.paths['/jobs']?.post?.operationId).toBe('createJob');
  });

  it('says the same of every application of a process', async () => {
    const first = await documented({ server });
    expect(await documented({ server })).toEqual(first);
  });
});

it('is not missed when the package is not there', async () => {
  vi.doMock('@nestjs/swagger', () => {
    throw Object.assign(new Error("Cannot find package '@nestjs/swagger'"), {
      code: 'ERR_MODULE_NOT_FOUND',
    });
  });
  try {
    const host = await openFakes({ server: 'express' });
    expect(host.app.get(Symbol.for('nestjs-jobs:openapi'), { strict: false })).toBe(false);
    expect((await host.get('/job-types')).status).toBe(200);
    expect(host.log.texts('error')).toEqual([]);
  } finally {
    vi.doUnmock('@nestjs/swagger');
  }
});
