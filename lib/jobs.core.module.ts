import { Module, type DynamicModule, type InjectionToken, type Provider } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { Engine } from './engine/engine.js';
import { HandlerRegistry } from './engine/handlers.js';
import type { LogSink } from './engine/log-writer.js';
import { JOBS_ENTITIES } from './entities/index.js';
import { JobsExplorer } from './jobs.explorer.js';
import { PlainLogger } from './jobs.plain-logger.js';
import { checkName, invalid } from './jobs.option-checks.js';
import type { JobsModuleOptions, ResolvedOptions } from './jobs.options.js';
import { resolveGroup, resolveQueue, setLimits } from './jobs.resolve-options.js';
import {
  getQueueWorkerToken,
  JOBS_CATALOG,
  JOBS_ENGINE,
  JOBS_OPTIONS,
  JOBS_WEBHOOKS,
} from './jobs.tokens.js';
import { CatalogService, type Catalog } from './services/catalog.service.js';
import { JobsService } from './services/jobs.service.js';
import { QueueWorker } from './services/queue-worker.js';
import { QueuesService } from './services/queues.service.js';
import { SchedulesService } from './services/schedules.service.js';
import { StatsService } from './services/stats.service.js';
import { WebhooksService } from './services/webhooks.service.js';
import { WorkersService } from './services/workers.service.js';
import type { Store } from './store/store.js';
import { isInMemory } from './store/typeorm/engine-connection.js';
import { storeOf } from './store/typeorm/store-of.js';
import { VERSION } from './version.js';
import { Webhooks } from './webhooks/webhooks.js';

const SERVICES = [
  JobsService,
  CatalogService,
  QueuesService,
  SchedulesService,
  WebhooksService,
  WorkersService,
  StatsService,
];

/** What the core is made from. */
export interface CoreParts {
  readonly isGlobal: boolean;
  readonly dataSource: string | undefined;
  readonly queues: Iterable<string>;
  readonly imports: DynamicModule['imports'];
  /** Provides the resolved options under `JOBS_OPTIONS`. */
  readonly options: readonly Provider[];
}

/** The services and the engine: what applications inject. The runner module switches it on. */
@Module({})
export class JobsCoreModule {
  static create(parts: CoreParts): DynamicModule {
    const workers = [...parts.queues].map((name): Provider => ({
      provide: getQueueWorkerToken(name),
      inject: [JOBS_ENGINE],
      useFactory: (engine: Engine) => workerOf(engine, name),
    }));
    return {
      module: JobsCoreModule,
      global: parts.isGlobal,
      imports: [
        DiscoveryModule,
        // Registers the entities with a data source that loads them by itself; nothing is injected.
        entitiesOf(parts.dataSource),
        ...(parts.imports ?? []),
      ],
      providers: [
        ...parts.options,
        { provide: JOBS_CATALOG, inject: [JOBS_OPTIONS], useFactory: catalogOf },
        {
          provide: JOBS_STORE,
          inject: [JOBS_OPTIONS, { token: getDataSourceToken(parts.dataSource), optional: true }],
          useFactory: (options: ResolvedOptions, dataSource: DataSource | undefined) =>
            storeFor(options, dataSource ?? noDataSource(parts.dataSource)),
        },
        { provide: JOBS_WEBHOOKS, inject: [JOBS_OPTIONS, JOBS_STORE], useFactory: webhooksOf },
        {
          provide: JOBS_ENGINE,
          inject: [JOBS_OPTIONS, JOBS_CATALOG, JobsExplorer, JOBS_STORE, JOBS_WEBHOOKS],
          useFactory: engineOf,
        },
        JobsExplorer,
        ...SERVICES,
        ...workers,
      ],
      exports: [
        ...SERVICES,
        ...[...parts.queues].map(getQueueWorkerToken),
        JOBS_OPTIONS,
        JOBS_CATALOG,
        JOBS_ENGINE,
        JobsExplorer,
      ],
    };
  }
}

function workerOf(engine: Engine, name: string): QueueWorker {
  const runner = engine.queues.get(name);
  if (runner === undefined) {
    throw invalid(`There is no queue "${name}": add it to the option queues.`);
  }
  return new QueueWorker(runner);
}

/** Registers the entities; without a data source the repositories' factories say what to do. */
function entitiesOf(name: string | undefined): DynamicModule {
  const module = TypeOrmModule.forFeature(JOBS_ENTITIES, name);
  const providers = (module.providers ?? []).map((provider) =>
    typeof provider === 'object' && 'useFactory' in provider
      ? {
          ...provider,
          inject: (provider.inject ?? []).map((token) => ({
            token: token as InjectionToken,
            optional: true,
          })),
          useFactory: (dataSource: DataSource | undefined): unknown =>
            provider.useFactory(dataSource ?? noDataSource(name)),
        }
      : provider,
  );
  return { ...module, providers };
}

function noDataSource(name: string | undefined): never {
  throw invalid(
    name === undefined
      ? 'There is no data source for JobsModule: import TypeOrmModule.forRoot({ … }) in the root module, or name another by the option `dataSource`.'
      : `dataSource is "${name}", and there is no data source of that name: import TypeOrmModule.forRoot({ name: '${name}', … }), or take the option away.`,
  );
}

const JOBS_STORE = Symbol.for('nestjs-jobs:store');

function storeFor(options: ResolvedOptions, dataSource: DataSource): Store {
  const logger = new PlainLogger('JobsEngine');
  if (isInMemory(String(dataSource.options.database))) {
    logger.warn(
      'The database is in memory: its jobs end with this process, and the engine shares the one connection with the application, so a transaction that is rolled back takes the engine’s writes with it. Use a file for anything but tests.',
    );
  }
  return storeOf(dataSource, options.database);
}

function webhooksOf(options: ResolvedOptions, store: Store): Webhooks {
  const logger = new PlainLogger('JobsWebhooks');
  return new Webhooks({
    store: store.webhooks,
    options: options.webhooks,
    version: VERSION,
    nowMs: () => store.estimateNowMs(),
    log: (text) => logger.log(text),
    warn: (text) => logger.warn(text),
  });
}

async function engineOf(
  options: ResolvedOptions,
  catalog: Catalog,
  explorer: JobsExplorer,
  store: Store,
  webhooks: Webhooks,
): Promise<Engine> {
  const logger = new PlainLogger('JobsEngine');
  const engine = new Engine({
    store,
    options,
    hookSender: webhooks,
    handlers: catalog.handlers,
    limitsOf: (queue) => catalog.limits.get(queue),
    groups: () => catalog.groups.values(),
    declaredSchedules: () => catalog.schedules,
    explore: () => explorer.explore(),
    logger,
    sink: await sinkOf(options, logger),
    version: VERSION,
  });
  webhooks.onRefresh(() => engine.refreshPaused());
  return engine;
}

async function sinkOf(
  { logs }: ResolvedOptions,
  logger: PlainLogger,
): Promise<LogSink | undefined> {
  if (logs.file === undefined) {
    return undefined;
  }
  const { RotatingLogFiles } = await import('./logs/rotating-log-files.js');
  return new RotatingLogFiles(logs.file, (message) => logger.error(message));
}

function catalogOf(options: ResolvedOptions): Catalog {
  const groups = new Map(options.groups);
  const queues = new Map(options.queues);
  const limits = new Map(options.queueLimits);
  return {
    handlers: new HandlerRegistry(),
    groups,
    queues,
    limits,
    pending: [],
    schedules: [],
    isClosed: false,
    addGroup(group) {
      const name = checkName(group.name, 'The name of a group');
      if (groups.has(name) && name !== 'default') {
        throw invalid(`The group "${name}" is registered already: choose another name.`);
      }
      groups.set(name, resolveGroup(group, queues));
    },
    addQueue(name, queue) {
      const resolved = resolveQueue(checkName(name, 'The name of a queue'), queue);
      queues.set(name, resolved.capacity);
      setLimits(limits, name, resolved.limits);
    },
  };
}

/** The options as far as they are known when the module is declared. */
export function knownQueues(options: Pick<JobsModuleOptions, 'queues'>): string[] {
  return [
    ...new Set([
      'compute',
      'maintenance',
      'download',
      'default',
      ...Object.keys(options.queues ?? {}),
    ]),
  ];
}
