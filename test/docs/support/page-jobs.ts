import type { INestApplicationContext, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { defer, from, switchMap } from 'rxjs';
import { DataSource, getMetadataArgsStorage } from 'typeorm';
import {
  JobsModule,
  JobsService,
  JOBS_ENTITIES,
  JobType as RealJobType,
  QueuesService,
  SchedulesService,
  StatsService,
  WorkersService,
  type JobTypeOptions,
} from '../../../lib/index.js';

export * from '../../../lib/index.js';

let types: { readonly options: JobTypeOptions; readonly type: Type }[] = [];
let booting: Promise<INestApplicationContext> | undefined;
let known = 0;
let folder: string | undefined;

/** The real decorator, which also takes the class up into the page's application. */
export function JobType(options: JobTypeOptions): ReturnType<typeof RealJobType> {
  return (target) => {
    RealJobType(options)(target);
    types.push({ options, type: target as unknown as Type });
  };
}

/** What a page may use without saying where it is from: services of an application with its types. */
export const jobs: JobsService = lazily(JobsService);
export const queues: QueuesService = lazily(QueuesService);
export const schedules: SchedulesService = lazily(SchedulesService);
export const stats: StatsService = lazily(StatsService);
export const workers: WorkersService = lazily(WorkersService);
export const dataSource: DataSource = lazily(DataSource);

/** Closes the application of a page. */
export async function closePage(): Promise<void> {
  await (await booting)?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  types = [];
  booting = undefined;
  folder = undefined;
}

/** A service whose application boots at the first call. */
function lazily<T extends object>(token: Type<T>): T {
  return new Proxy({} as T, {
    get: (_target, name) => {
      const call = async (...args: unknown[]): Promise<unknown> => {
        const service = (await application()).get(token, { strict: false });
        const method: unknown = Reflect.get(service, name);
        return typeof method === 'function' ? method.apply(service, args) : method;
      };
      return name === 'watch'
        ? (...args: unknown[]) =>
            defer(() => from(call(...args))).pipe(switchMap((each) => each as never))
        : call;
    },
  });
}

/** The application of the page, started again when the page has declared more types since. */
async function application(): Promise<INestApplicationContext> {
  if (booting !== undefined && known !== types.length) {
    await (await booting).close();
    booting = undefined;
  }
  booting ??= boot();
  return booting;
}

function boot(): Promise<INestApplicationContext> {
  known = types.length;
  folder ??= mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-docs-'));
  const ours: readonly unknown[] = JOBS_ENTITIES;
  const entities = getMetadataArgsStorage()
    .tables.map((table) => table.target)
    .filter((target) => !ours.includes(target));
  const groups = [...new Set(types.map(({ options }) => options.group ?? 'default'))];
  class PageModule {}
  return NestFactory.createApplicationContext(
    {
      module: PageModule,
      imports: [
        TypeOrmModule.forRoot({
          type: 'better-sqlite3',
          database: path.join(folder, 'app.sqlite'),
          entities: entities as Type[],
          autoLoadEntities: true,
          synchronize: true,
        }),
        JobsModule.forRoot({
          groups: groups.map((name) => ({ name })),
          grace: { signal: '500ms', shutdown: '500ms' },
          lease: { sweep: '200ms' },
        }),
      ],
      providers: types.map(({ type }) => type),
    },
    { logger: ['error'], abortOnError: false },
  );
}
