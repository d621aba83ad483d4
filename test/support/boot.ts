import type { DynamicModule, INestApplicationContext, Provider, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, type EntityManager } from 'typeorm';
import {
  CatalogService,
  JobsModule,
  JobsService,
  QueuesService,
  StatsService,
  WebhooksService,
  WorkersService,
  type EnqueueOptions,
  type Job,
  type JobsModuleOptions,
  type JobTypeRef,
} from '../../lib/index.js';
import { CapturedLog } from './captured-log.js';
import { closeLater, type Lifetime } from './cleanup.js';
import { createDatabase, type TestDatabase } from './databases.js';
import { waitForEnd, within } from './waiting.js';

export { CapturedLog };

export interface Boot {
  /** Classes with `@JobType`, provided by the root module. */
  readonly types?: readonly Type[];
  /** Laid over {@link QUICK}; untyped where a test is about wrong ones. */
  readonly options?: JobsModuleOptions | object;
  /** A second context on a database that is there already. */
  readonly database?: TestDatabase;
  /** More TypeORM options of the host. */
  readonly typeorm?: object;
  readonly providers?: readonly Provider[];
  readonly imports?: readonly (DynamicModule | Type)[];
  /** When it is closed by itself. */
  readonly lifetime?: Lifetime;
}

/** Options of an enqueue in a host on TypeORM. */
export type HostOptions = EnqueueOptions<EntityManager>;

/** Times short enough for tests, a group for each built-in queue; REST has a suite of its own. */
export const QUICK: JobsModuleOptions = {
  groups: ['compute', 'maintenance', 'download'].map((name) => ({ name, queue: name })),
  lease: { duration: '10s', sweep: '200ms' },
  grace: { shutdown: '300ms', signal: '300ms' },
  api: false,
};

/** A Nest application context with the library in it, on a database of its own. */
export class BootedJobs {
  readonly jobs: JobsService;
  readonly catalog: CatalogService;
  readonly queues: QueuesService;
  readonly webhooks: WebhooksService;
  readonly workers: WorkersService;
  readonly stats: StatsService;
  private closing: Promise<void> | undefined;

  constructor(
    readonly context: INestApplicationContext,
    readonly database: TestDatabase,
    readonly log: CapturedLog,
  ) {
    this.jobs = context.get(JobsService, { strict: false });
    this.catalog = context.get(CatalogService, { strict: false });
    this.queues = context.get(QueuesService, { strict: false });
    this.webhooks = context.get(WebhooksService, { strict: false });
    this.workers = context.get(WorkersService, { strict: false });
    this.stats = context.get(StatsService, { strict: false });
  }

  /** The host's own data source. */
  get dataSource(): DataSource {
    return this.context.get(DataSource, { strict: false });
  }

  get<T>(token: Type<T> | string | symbol): T {
    return this.context.get<T>(token, { strict: false });
  }

  /** Enqueues and waits for the end, whichever it is. */
  async run(type: JobTypeRef, params?: unknown, options?: HostOptions): Promise<Job> {
    const { id } = await this.jobs.enqueue(type, params, options);
    return waitForEnd(this.jobs, id);
  }

  /** Rows as they are stored, through the host's connection. */
  async sql<Row = Record<string, unknown>>(text: string): Promise<Row[]> {
    return (await this.dataSource.query(text)) as Row[];
  }

  /** Closes once; later calls wait for the same close. */
  close(): Promise<void> {
    this.closing ??= within(this.context.close(), 'close()', 12_000);
    return this.closing;
  }
}

export async function bootJobs(boot: Boot = {}): Promise<BootedJobs> {
  const lifetime = boot.lifetime ?? 'test';
  const database = boot.database ?? createDatabase(lifetime, 'tables');
  return bootModule(() => rootModule(boot, database), database, lifetime);
}

/** Boots a root module of the test's own on the database; it is closed after the test. */
export async function bootModule(
  root: () => DynamicModule,
  database: TestDatabase,
  lifetime: Lifetime = 'test',
): Promise<BootedJobs> {
  const log = new CapturedLog();
  const context = await connected(root, database, log);
  const booted = new BootedJobs(context, database, log);
  closeLater(() => booted.close(), lifetime);
  return booted;
}

async function connected(
  root: () => DynamicModule,
  database: TestDatabase,
  logger: CapturedLog,
): Promise<INestApplicationContext> {
  // Wrong options may be refused before anything is connected.
  const module = root();
  try {
    return await NestFactory.createApplicationContext(module, { logger, abortOnError: false });
  } catch (error) {
    database.abandon();
    throw error;
  }
}

/** The root module of a host: TypeORM, the library, the types. */
export function rootModule(boot: Boot, database: TestDatabase): DynamicModule {
  class HostModule {}
  return {
    module: HostModule,
    imports: [
      TypeOrmModule.forRoot(database.options(boot.typeorm)),
      JobsModule.forRoot({ ...QUICK, ...boot.options }),
      ...(boot.imports ?? []),
    ],
    providers: [...(boot.types ?? []), ...(boot.providers ?? [])],
  };
}
