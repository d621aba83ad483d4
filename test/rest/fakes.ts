import type { DynamicModule, NestInterceptor, Provider, Type } from '@nestjs/common';
import { EMPTY, map } from 'rxjs';
import type { ApiOptions, JobsIdentity } from '../../lib/jobs.options.js';
import { JOBS_OPTIONS } from '../../lib/jobs.tokens.js';
import { notFound } from '../../lib/model/errors.js';
import type { EnqueueOptions } from '../../lib/model/enqueue-options.js';
import { newId } from '../../lib/model/id.js';
import type { EnqueuedJob } from '../../lib/model/job.js';
import { restParts } from '../../lib/rest/rest.controllers.js';
import { CatalogService } from '../../lib/services/catalog.service.js';
import { JobsService } from '../../lib/services/jobs.service.js';
import { QueuesService } from '../../lib/services/queues.service.js';
import { SchedulesService } from '../../lib/services/schedules.service.js';
import { StatsService } from '../../lib/services/stats.service.js';
import { WebhooksService } from '../../lib/services/webhooks.service.js';
import { WorkersService } from '../../lib/services/workers.service.js';
import { moduleOf, openHost, type Host, type HttpApp } from '../support/http.js';

/** A job as the service gives it. */
export function aJob(over: Partial<EnqueuedJob> = {}): EnqueuedJob {
  const at = new Date(1_800_000_000_000);
  return {
    id: newId(),
    tenantId: '00000000-0000-0000-0000-000000000000',
    userId: null,
    idempotencyKey: null,
    type: 'default:noop',
    typeVersion: 1,
    group: 'default',
    queue: 'default',
    channel: '',
    kind: 'generic',
    priority: 0,
    status: 'waiting',
    waitingFor: 'worker',
    scheduledAt: at,
    runAt: at,
    updatedAt: at,
    startedAt: null,
    finishedAt: null,
    eta: null,
    lockedBy: null,
    progress: 0,
    progressDetails: null,
    completed: null,
    total: null,
    details: null,
    timeout: 1500,
    maxRetries: 2,
    retryDelay: 250,
    retries: 0,
    lost: 0,
    revision: 0,
    error: null,
    result: null,
    params: {},
    state: null,
    tags: [],
    meta: {},
    cancelRequestedAt: null,
    upstreamJobId: null,
    scheduleId: null,
    expiresAt: null,
    checkIn: null,
    checkInAt: null,
    statusHook: null,
    dependsOn: [],
    sequence: 1,
    outcome: 'created',
    ...over,
  };
}

/** Services that know no job, unless a test says what they answer. */
export interface Fakes {
  readonly jobs?: Partial<Omit<JobsService, 'enqueue'>> & {
    /** Without the types that follow from a job type's class. */
    enqueue?(type: string, params: unknown, options: EnqueueOptions): Promise<EnqueuedJob>;
  };
  readonly catalog?: Partial<CatalogService>;
  readonly queues?: Partial<QueuesService>;
  readonly schedules?: Partial<SchedulesService>;
  readonly stats?: Partial<StatsService>;
  readonly webhooks?: Partial<WebhooksService>;
  readonly workers?: Partial<WorkersService>;
}

const unknown = (id: string): never => {
  throw notFound('job', id);
};

const NOBODY: Required<Fakes> = {
  jobs: { get: async (id) => unknown(id), watch: () => EMPTY },
  catalog: { types: () => [], groups: () => [] },
  queues: { list: async () => [] },
  schedules: { list: async () => [] },
  stats: { health: async () => ({ status: 'ok', checks: {} }) },
  webhooks: { list: async () => [] },
  workers: { ids: async () => [], list: async () => [] },
};

export interface FakeHost extends Omit<Host, 'module'> {
  readonly fakes?: Fakes;
  readonly api?: ApiOptions;
  readonly identify?: (request: never) => JobsIdentity | Promise<JobsIdentity>;
  readonly providers?: Provider[];
  readonly controllers?: Type[];
  readonly imports?: NonNullable<Parameters<typeof moduleOf>[0]['imports']>;
}

/** Our controllers in a module of their own, over services that a test makes up. */
export function jobsModule(host: Pick<FakeHost, 'fakes' | 'api' | 'identify'>): DynamicModule {
  const { fakes = {}, api = {}, identify } = host;
  const parts = restParts(api);
  return moduleOf({
    controllers: parts.controllers,
    providers: [
      ...parts.providers,
      { provide: JOBS_OPTIONS, useValue: { identify, api } },
      { provide: JobsService, useValue: { ...NOBODY.jobs, ...fakes.jobs } },
      { provide: CatalogService, useValue: { ...NOBODY.catalog, ...fakes.catalog } },
      { provide: QueuesService, useValue: { ...NOBODY.queues, ...fakes.queues } },
      { provide: SchedulesService, useValue: { ...NOBODY.schedules, ...fakes.schedules } },
      { provide: StatsService, useValue: { ...NOBODY.stats, ...fakes.stats } },
      { provide: WebhooksService, useValue: { ...NOBODY.webhooks, ...fakes.webhooks } },
      { provide: WorkersService, useValue: { ...NOBODY.workers, ...fakes.workers } },
    ],
  });
}

/** An application with that module. */
export function openFakes(host: FakeHost): Promise<HttpApp> {
  const { providers = [], controllers = [], imports = [] } = host;
  const root = moduleOf({ imports: [jobsModule(host), ...imports], controllers, providers });
  return openHost({ ...host, module: root });
}

/** An interceptor that wraps every answer, as many applications have one. */
export const WRAPPING: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(map((data: unknown) => ({ data }))),
};
