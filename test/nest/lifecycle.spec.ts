import { Global, Inject, Injectable, Module, type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { describe, expect, it } from 'vitest';
import {
  JobsModule,
  JobsService,
  JobType,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { BootedJobs, bootJobs, CapturedLog, QUICK } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { createDatabase } from '../support/databases.js';
import { deferred, handlerGate } from '../support/gate.js';
import { processListeners, watchTimers } from '../support/leaks.js';
import { until, waitForEnd, within } from '../support/waiting.js';

const order: string[] = [];
const gate = handlerGate();

@JobType({ name: 'marks' })
class Marks implements JobHandler {
  execute(): void {
    order.push('handler');
  }
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

describe('start', () => {
  it.each(['onModuleInit', 'onApplicationBootstrap'] as const)(
    'runs nothing before %s of every module has ended',
    async (hook) => {
      const producer = await bootJobs({ types: [Marks], options: { role: 'producer' } });
      const { id } = await producer.jobs.enqueue(Marks);
      order.length = 0;
      const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

      const slow = (name: string): Type => {
        @Injectable()
        class Slow {
          async [hook](): Promise<void> {
            for (let n = 0; n < 50; n += 1) {
              await turn();
            }
            order.push(name);
          }
        }
        return Slow;
      };
      const moduleOf = (name: string): DynamicModule => ({
        module: { [name]: class {} }[name] as Type,
        providers: [slow(name)],
      });
      class Root {}
      const context = await NestFactory.createApplicationContext(
        {
          module: Root,
          imports: [
            moduleOf('before'),
            TypeOrmModule.forRoot(producer.database.options()),
            JobsModule.forRoot(QUICK),
            moduleOf('after'),
          ],
          providers: [Marks, slow('root')],
        },
        { logger: new CapturedLog(), abortOnError: false },
      );
      closeLater(() => context.close(), 'test');
      await waitForEnd(producer.jobs, id);
      expect(order.at(-1)).toBe('handler');
      expect([...order].sort()).toEqual(['after', 'before', 'handler', 'root']);
    },
  );

  it('lets hooks of the host enqueue, also before it has begun', async () => {
    @Injectable()
    class Early {
      readonly ids: string[] = [];
      constructor(@Inject(JobsService) private readonly jobs: JobsService) {}
      async onApplicationBootstrap(): Promise<void> {
        this.ids.push((await this.jobs.enqueue(Marks)).id);
      }
    }
    const app = await bootJobs({ types: [Marks], providers: [Early] });
    const [id] = app.get(Early).ids;
    expect((await waitForEnd(app.jobs, id as string)).status).toBe('completed');
  });
});

/** Something of the host's that closes in `onModuleDestroy`, as clients of databases do. */
@Injectable()
class Resource {
  closed = false;
  use(): string {
    if (this.closed) {
      throw new Error('The resource has been closed under the handler.');
    }
    return 'used';
  }
  onModuleDestroy(): void {
    this.closed = true;
  }
}

/** Uses everything a handler may use, after it was told to stop. */
@JobType({ name: 'uses' })
class Uses implements JobHandler {
  constructor(
    @Inject(Resource) private readonly resource: Resource,
    @Inject(JobsService) private readonly jobs: JobsService,
  ) {}

  async execute(ctx: JobContext): Promise<unknown> {
    this.resource.use();
    started.resolve();
    await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve, { once: true }));
    const used = this.resource.use();
    const child = await ctx.enqueue(Marks, undefined, { delay: '1h' });
    const other = await this.jobs.enqueue(Marks, undefined, { delay: '1h' });
    const self = await this.jobs.get(ctx.job.id);
    ctx.log.info('still logging');
    await ctx.checkpoint({ stopping: true });
    this.resource.use();
    return {
      used,
      child: child.id,
      other: other.id,
      status: self.status,
      total: (await this.jobs.list()).total,
    };
  }
}

let started = deferred();

@Module({ providers: [Resource], exports: [Resource] })
class PlainResource {}

@Global()
@Module({ providers: [Resource], exports: [Resource] })
class GlobalResource {}

@Module({ imports: [PlainResource], exports: [PlainResource] })
class DeepResource {}

@Module({ imports: [PlainResource], providers: [Uses] })
class FeatureOfPlain {}

@Module({ imports: [DeepResource], providers: [Uses] })
class FeatureOfDeep {}

@Module({ providers: [Uses] })
class FeatureOfGlobal {}

@Module({ imports: [FeatureOfPlain] })
class Outer {}

const jobs = (): DynamicModule =>
  JobsModule.forRoot({ ...QUICK, grace: { shutdown: '50ms', signal: '5s' } });
const jobsAsync = (): DynamicModule =>
  JobsModule.forRootAsync({
    api: false,
    useFactory: () => ({ grace: { shutdown: '50ms', signal: '5s' } }),
  });
const feature = (): DynamicModule => JobsModule.forFeature([Uses]);

type Imports = () => (DynamicModule | Type)[];

/** The layouts of modules in which a handler must have everything until it ends. */
const LAYOUTS: Readonly<Record<string, { imports: Imports; providers?: readonly Type[] }>> = {
  'a plain resource, jobs last, handler in the root': {
    imports: () => [PlainResource, jobs()],
    providers: [Uses],
  },
  'a plain resource, jobs first, handler in the root': {
    imports: () => [jobs(), PlainResource],
    providers: [Uses],
  },
  'a global resource, jobs last, handler in the root': {
    imports: () => [GlobalResource, jobs()],
    providers: [Uses],
  },
  'a global resource, jobs first, handler in the root': {
    imports: () => [jobs(), GlobalResource],
    providers: [Uses],
  },
  'handler in a feature module, jobs last': { imports: () => [FeatureOfPlain, jobs()] },
  'handler in a feature module, jobs first': { imports: () => [jobs(), FeatureOfPlain] },
  'handler in a feature module of a global resource, jobs last': {
    imports: () => [GlobalResource, FeatureOfGlobal, jobs()],
  },
  'handler in a feature module of a global resource, jobs first': {
    imports: () => [jobs(), GlobalResource, FeatureOfGlobal],
  },
  'handler in a nested feature module': { imports: () => [Outer, jobs()] },
  'handler in a nested feature module, jobs first': { imports: () => [jobs(), Outer] },
  'a resource two modules deep': { imports: () => [jobs(), FeatureOfDeep] },
  'forFeature with a global resource, jobs last': {
    imports: () => [GlobalResource, feature(), jobs()],
  },
  'forFeature with a global resource, jobs first': {
    imports: () => [jobs(), feature(), GlobalResource],
  },
  'forRootAsync last': { imports: () => [FeatureOfPlain, jobsAsync()] },
  'forRootAsync first': { imports: () => [jobsAsync(), FeatureOfPlain] },
};

describe('shutdown', () => {
  it.each(Object.keys(LAYOUTS))('leaves a running handler all it needs: %s', async (name) => {
    started = deferred();
    const layout = LAYOUTS[name] as { imports: Imports; providers?: readonly Type[] };
    const database = createDatabase();
    class Root {}
    const context = await NestFactory.createApplicationContext(
      {
        module: Root,
        imports: [TypeOrmModule.forRoot(database.options()), ...layout.imports()],
        providers: [...(layout.providers ?? []), Marks],
      },
      { logger: new CapturedLog(), abortOnError: false },
    );
    const app = new BootedJobs(context, database, new CapturedLog());
    closeLater(() => app.close(), 'test');
    const { id } = await app.jobs.enqueue('default:uses');
    await within(started.promise, 'the handler to start');
    await app.close();

    const after = await bootJobs({ types: [Marks], database, options: { role: 'producer' } });
    const job = await after.jobs.get(id);
    expect(job.error).toBeNull();
    expect(job).toMatchObject({
      status: 'completed',
      result: { used: 'used', total: 3 },
      state: { stopping: true },
    });
    const result = job.result as { child: string; other: string };
    expect((await after.jobs.get(result.child)).upstreamJobId).toBe(id);
    expect((await after.jobs.get(result.other)).status).toBe('waiting');
    expect((await after.jobs.logs(id)).lines.map((line) => line.message)).toEqual([
      'still logging',
    ]);
  });

  it('can be had by drain() before close(), for a resource in the root module itself', async () => {
    started = deferred();
    const app = await bootJobs({
      types: [Uses, Marks],
      providers: [Resource],
      options: { grace: { shutdown: '50ms', signal: '5s' } },
    });
    const { id } = await app.jobs.enqueue(Uses);
    await within(started.promise, 'the handler to start');
    await app.jobs.drain();
    expect(await app.jobs.get(id)).toMatchObject({ status: 'completed', result: { used: 'used' } });
    await app.close();
  });

  it('twice is harmless, one after the other and at once', async () => {
    const app = await bootJobs({
      types: [Held, Marks],
      options: { grace: { shutdown: '5s', signal: '100ms' } },
    });
    const { id } = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    const both = Promise.all([app.context.close(), app.context.close()]);
    release('ended');
    await within(both, 'both closes');
    await within(app.context.close(), 'the third close');
    // The host's own TypeORM module minds being closed twice at once; that is none of ours.
    expect(app.log.texts('error').filter((text) => !text.endsWith('TypeOrmModule'))).toEqual([]);
    const after = await bootJobs({
      types: [Held],
      database: app.database,
      options: { role: 'producer' },
    });
    expect(await after.jobs.get(id)).toMatchObject({ status: 'completed', result: 'ended' });
  });

  it('ends within its graces, whatever the handlers do', async () => {
    const app = await bootJobs({
      types: [Held],
      options: { queues: { default: 50 }, grace: { shutdown: '100ms', signal: '200ms' } },
    });
    const outcomes = await app.jobs.enqueueMany(Array.from({ length: 50 }, () => ({ type: Held })));
    await until(() => gate.entries.length === 50, 'fifty handlers');
    const begun = performance.now();
    await app.close();
    expect(performance.now() - begun).toBeLessThan(2300);
    const after = await bootJobs({
      types: [Held],
      database: app.database,
      options: { role: 'producer' },
    });
    for (const { job } of outcomes) {
      expect(await after.jobs.get(job?.id ?? '')).toMatchObject({
        status: 'waiting',
        retries: 0,
        lost: 0,
      });
    }
  });

  it('refuses what comes after it with an error that says so', async () => {
    const app = await bootJobs({ types: [Marks] });
    await app.close();
    await expect(app.jobs.enqueue(Marks)).rejects.toThrow(/clos/i);
  });

  it('right after boot is clean', async () => {
    for (const role of ['both', 'producer'] as const) {
      const app = await bootJobs({ types: [Marks], options: { role } });
      await app.close();
      expect(app.log.texts('error')).toEqual([]);
    }
  });
});

describe('creating and closing thirty times', () => {
  it('leaks no timers, no listeners and no open files', async () => {
    const database = createDatabase();
    const cycle = async (): Promise<void> => {
      const app = await bootJobs({ types: [Marks], database });
      expect((await app.run(Marks)).status).toBe('completed');
      await app.close();
      expect(app.database.leaks()).toEqual([]);
    };
    await cycle();
    const listeners = processListeners();
    const timers = watchTimers();
    for (let n = 0; n < 30; n += 1) {
      await cycle();
    }
    // One or two belong to this test: its own deadline, and the pause between two questions.
    await until(() => timers.alive() <= 3, 'the timers to be gone');
    timers.stop();
    expect(processListeners()).toEqual(listeners);
  }, 30_000);
});
