import {
  forwardRef,
  Global,
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { DefaultNamingStrategy } from 'typeorm';
import { describe, expect, it } from 'vitest';
import {
  CatalogService,
  InjectQueueWorker,
  JobEntity,
  JobsModule,
  JobsService,
  JobType,
  QueuesService,
  QueueWorker,
  StatsService,
  type JobContext,
  type JobHandler,
  type JobsModuleAsyncOptions,
  type JobsModuleLateOptions,
  type JobsOptionsFactory,
  WorkersService,
} from '../../lib/index.js';
import { bootJobs, bootModule, CapturedLog, QUICK, type BootedJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { createDatabase, isFile, type TestDatabase } from '../support/databases.js';
import { codeOf } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

@JobType({ name: 'greet' })
class Greet implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

@Injectable()
class Settings {
  readonly retries = 7;
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

/** What a factory gives; the rest of {@link QUICK} stands beside it. */
const late = (settings: Settings): JobsModuleLateOptions => ({
  ...(QUICK.lease === undefined ? {} : { lease: QUICK.lease }),
  ...(QUICK.grace === undefined ? {} : { grace: QUICK.grace }),
  defaults: { maxRetries: settings.retries },
});

@Injectable()
class OptionsFactory implements JobsOptionsFactory {
  constructor(@Inject(Settings) private readonly settings: Settings) {}
  createJobsOptions(): JobsModuleLateOptions {
    return late(this.settings);
  }
}

@Module({ imports: [SettingsModule], providers: [OptionsFactory], exports: [OptionsFactory] })
class FactoryModule {}

/** A data source of a kind that the library does not serve. */
const OTHER_SOURCE = {
  provide: getDataSourceToken(),
  useValue: {
    options: { type: 'sqljs' },
    namingStrategy: new DefaultNamingStrategy(),
    isInitialized: true,
    entityMetadatas: [],
    getRepository: () => ({}),
  },
};

/** Boots modules as they are given, with TypeORM in front. */
function boot(
  modules: readonly (DynamicModule | Type)[],
  providers: readonly Type[] = [],
  database: TestDatabase = createDatabase(),
): Promise<BootedJobs> {
  class Root {}
  return bootModule(
    () => ({
      module: Root,
      imports: [TypeOrmModule.forRoot(database.options()), ...modules],
      providers: [...providers],
    }),
    database,
  );
}

describe('forRoot', () => {
  it('gives the services to every module, and finds the job types of every module', async () => {
    @Injectable()
    class Feature {
      constructor(
        @Inject(JobsService) readonly jobs: JobsService,
        @Inject(CatalogService) readonly catalog: CatalogService,
        @Inject(QueuesService) readonly queues: QueuesService,
        @Inject(StatsService) readonly stats: StatsService,
        @Inject(WorkersService) readonly workers: WorkersService,
        @InjectQueueWorker('default') readonly worker: QueueWorker,
      ) {}
    }
    @Module({ providers: [Feature, Greet] })
    class FeatureModule {}

    const app = await boot([JobsModule.forRoot(QUICK), FeatureModule]);
    const feature = app.get(Feature);
    const { id } = await feature.jobs.enqueue(Greet, { to: 'ada' });
    expect((await waitForEnd(feature.jobs, id)).result).toEqual({ to: 'ada' });
    expect(feature.worker.name).toBe('default');
    expect(feature.catalog.types()).toHaveLength(1);
  });

  it('with isGlobal: false gives the services only to those who import it', async () => {
    @Injectable()
    class Feature {
      constructor(@Inject(JobsService) readonly jobs: JobsService) {}
    }
    @Module({ providers: [Feature] })
    class FeatureModule {}
    await expect(
      boot([JobsModule.forRoot({ ...QUICK, isGlobal: false }), FeatureModule]),
    ).rejects.toThrow(/JobsService/);
    const app = await boot([JobsModule.forRoot({ ...QUICK, isGlobal: false })], [Feature, Greet]);
    expect((await app.run(Greet, 1)).status).toBe('completed');
  });

  it('is what an import without options lacks, and boot says so', async () => {
    await expect(boot([JobsModule])).rejects.toThrow(/forRoot/);
    await expect(boot([JobsModule.forRoot(QUICK), JobsModule])).rejects.toThrow(/twice/);
  });

  it('twice in one application refuses to boot', async () => {
    await expect(
      boot([JobsModule.forRoot(QUICK), JobsModule.forRoot({ ...QUICK, role: 'producer' })]),
    ).rejects.toThrow(/forRoot/);
    await expect(
      boot([JobsModule.forRoot(QUICK), JobsModule.forRootAsync({ useFactory: () => QUICK })]),
    ).rejects.toThrow(/forRoot/);
  });

  it('in a second application of the same process is no second forRoot', async () => {
    const one = await bootJobs({ types: [Greet] });
    const two = await bootJobs({ types: [Greet] });
    expect((await one.run(Greet, 1)).result).toBe(1);
    expect((await two.run(Greet, 2)).result).toBe(2);
  });

  it('uses the data source that is named', async () => {
    const database = createDatabase();
    const other = createDatabase();
    class Root {}
    const context = await NestFactory.createApplicationContext(
      {
        module: Root,
        imports: [
          TypeOrmModule.forRoot(other.options()),
          TypeOrmModule.forRoot(database.options({ name: 'queue' })),
          JobsModule.forRoot({ ...QUICK, dataSource: 'queue' }),
        ],
        providers: [Greet],
      },
      { logger: new CapturedLog(), abortOnError: false },
    );
    closeLater(() => context.close(), 'test');
    const jobs = context.get(JobsService);
    const { id } = await jobs.enqueue(Greet);
    await waitForEnd(jobs, id);
    const elsewhere = await bootJobs({ types: [Greet], database, options: { role: 'producer' } });
    expect((await elsewhere.jobs.get(id)).status).toBe('completed');
  });

  it('with a data source that is not there is a boot error that names it', async () => {
    await expect(
      boot([JobsModule.forRoot({ ...QUICK, dataSource: 'missing' })]),
    ).rejects.toMatchObject({
      code: 'invalid_options',
      message: expect.stringContaining('"missing"') as string,
    });
  });

  it('works without autoLoadEntities, and with an entity prefix', async () => {
    const app = await bootJobs({
      types: [Greet],
      typeorm: { autoLoadEntities: false, entities: [], entityPrefix: 'acme_' },
    });
    expect((await app.run(Greet, 1)).status).toBe('completed');
    expect(await app.sql('SELECT count(*) AS n FROM acme_jobs')).toEqual([{ n: 1 }]);
  });

  it('gives the host its entities, whatever the naming strategy', async () => {
    class Shouting extends DefaultNamingStrategy {
      override columnName(property: string, custom: string, prefixes: string[]): string {
        return super.columnName(custom === '' ? property.toUpperCase() : custom, '', prefixes);
      }
    }
    const app = await bootJobs({ types: [Greet], typeorm: { namingStrategy: new Shouting() } });
    const job = await app.run(Greet, { to: 'ada' }, { tags: ['x'] });
    const found = await app.dataSource.getRepository(JobEntity).findOneByOrFail({ id: job.id });
    expect(found).toMatchObject({
      status: 'completed',
      params: '{"to":"ada"}',
      tags: '["x"]',
      progress: 1,
    });
    expect(found.finishedAtMs).toBe(job.finishedAt?.getTime());
  });

  if (isFile) {
    it('works on a database in memory, and says what that means', async () => {
      const app = await bootJobs({ types: [Greet], typeorm: { database: ':memory:' } });
      expect((await app.run(Greet, 'in memory')).result).toBe('in memory');
      expect(app.log.texts('warn').join('\n')).toMatch(/memory/);
    });
  }

  it('on a kind of database that is not served is a boot error that says which are', async () => {
    class Root {}
    await expect(
      bootModule(
        () => ({
          module: Root,
          imports: [
            {
              module: class Other {},
              global: true,
              providers: [OTHER_SOURCE],
              exports: [OTHER_SOURCE],
            },
            JobsModule.forRoot(QUICK),
          ],
        }),
        createDatabase(),
      ),
    ).rejects.toThrow(/sqljs.*better-sqlite3/s);
  });

  it('leaves its tables alone when the host synchronizes', async () => {
    const app = await bootJobs({ types: [Greet], typeorm: { synchronize: true } });
    const job = await app.run(Greet, 1);
    await app.dataSource.synchronize();
    expect(await app.jobs.get(job.id)).toEqual(job);
    await app.close();
    const again = await bootJobs({
      types: [Greet],
      typeorm: { synchronize: true },
      database: app.database,
    });
    expect((await again.jobs.get(job.id)).result).toBe(1);
  });
});

describe('forRootAsync', () => {
  const styles: Readonly<Record<string, JobsModuleAsyncOptions>> = {
    useFactory: {
      imports: [SettingsModule],
      inject: [Settings],
      useFactory: async (settings: Settings) => {
        await Promise.resolve();
        return late(settings);
      },
    },
    useClass: { imports: [SettingsModule], useClass: OptionsFactory },
    useExisting: { imports: [FactoryModule], useExisting: OptionsFactory },
  };

  it.each(Object.entries(styles))('takes its options by %s', async (style, options) => {
    const app = await boot([JobsModule.forRootAsync({ ...options, api: false })], [Greet]);
    expect((await app.run(Greet, style)).result).toBe(style);
    expect(app.catalog.type('default:greet').maxRetries).toBe(7);
  });

  it('takes beside the factory what cannot come late', async () => {
    const app = await boot(
      [
        JobsModule.forRootAsync({
          role: 'producer',
          api: false,
          queues: { early: 2 },
          groups: [{ name: 'early', queue: 'early' }],
          useFactory: () => ({ grace: { signal: '1s' } }),
        }),
      ],
      [Greet],
    );
    expect((await app.jobs.enqueue(Greet)).status).toBe('waiting');
    expect((await app.queues.get('early')).capacity).toBe(2);
    expect(app.catalog.group('early').queueName).toBe('early');
  });

  it('refuses from the factory what cannot come late, and says where it belongs', async () => {
    const wrong = { role: 'producer' } as JobsModuleLateOptions;
    await expect(boot([JobsModule.forRootAsync({ useFactory: () => wrong })])).rejects.toThrow(
      /role.*beside/s,
    );
  });

  it.each<[string, object | undefined]>([
    ['nothing', undefined],
    ['no way', {}],
    ['two ways', { useFactory: () => ({}), useClass: OptionsFactory }],
    ['a factory that is none', { useFactory: 'options' }],
    ['a class without createJobsOptions', { useClass: Settings }],
    ['a factory that gives null', { useFactory: () => null }],
    ['a factory that gives a text', { useFactory: () => 'options' }],
  ])('with %s is a boot error of ours', async (_what, options) => {
    const booting = (async () =>
      boot([JobsModule.forRootAsync(options as JobsModuleAsyncOptions)]))();
    expect(await codeOf(booting)).toBe('invalid_options');
  });

  it('whose factory fails is a boot error with its reason', async () => {
    await expect(
      boot([
        JobsModule.forRootAsync({
          useFactory: () => {
            throw new Error('no settings today');
          },
        }),
      ]),
    ).rejects.toThrow(/no settings today/);
  });

  it('whose options are wrong is a boot error that names the key', async () => {
    const wrong = { colour: 'red' } as JobsModuleLateOptions;
    await expect(boot([JobsModule.forRootAsync({ useFactory: () => wrong })])).rejects.toThrow(
      /colour/,
    );
  });
});

describe('forFeature', () => {
  @JobType({ name: 'capacity' })
  class Capacity implements JobHandler {
    constructor(@Inject(Settings) private readonly settings: Settings) {}
    execute(): number {
      return this.settings.retries;
    }
  }

  it('provides handlers with what its imports export', async () => {
    @Module({ imports: [JobsModule.forFeature([Capacity], { imports: [SettingsModule] })] })
    class FeatureModule {}

    const app = await boot([JobsModule.forRoot(QUICK), FeatureModule]);
    expect((await app.run(Capacity)).result).toBe(7);
  });

  it('provides handlers with what the module that imports it exports', async () => {
    @Module({
      imports: [
        JobsModule.forFeature([Capacity], { imports: [forwardRef((): Type => FeatureModule)] }),
      ],
      providers: [Settings],
      exports: [Settings],
    })
    class FeatureModule {}

    const app = await boot([JobsModule.forRoot(QUICK), FeatureModule]);
    expect((await app.run(Capacity)).result).toBe(7);
  });

  it('with another option is refused by name', () => {
    const wrong = { providers: [Settings] } as object;
    expect(() => JobsModule.forFeature([Capacity], wrong)).toThrow(/"providers".*imports/);
  });

  it('provides handlers with what is global', async () => {
    @Global()
    @Module({ imports: [SettingsModule], exports: [SettingsModule] })
    class Everywhere {}
    @Module({ imports: [JobsModule.forFeature([Capacity])] })
    class FeatureModule {}

    const app = await boot([Everywhere, JobsModule.forRoot(QUICK), FeatureModule]);
    expect((await app.run(Capacity)).result).toBe(7);
  });

  it('in several modules adds up', async () => {
    @JobType({ name: 'other' })
    class Other implements JobHandler {
      execute(): string {
        return 'other';
      }
    }
    @Module({ imports: [JobsModule.forFeature([Greet])] })
    class One {}
    @Module({ imports: [JobsModule.forFeature([Other])] })
    class Two {}
    const app = await boot([One, JobsModule.forRoot(QUICK), Two]);
    expect((await app.run(Greet, 1)).result).toBe(1);
    expect((await app.run(Other)).result).toBe('other');
  });

  it('without forRoot is a boot error that names it', async () => {
    await expect(boot([JobsModule.forFeature([Greet])])).rejects.toThrow(/forRoot/);
  });

  it('of anything but a list of handlers is refused', () => {
    const wrong = Greet as object as [];
    expect(() => JobsModule.forFeature(wrong)).toThrow(/array/);
    expect(() => JobType(null as object | null as { name: string })(Greet)).toThrow(/Greet.*name/);
  });

  it('of a class that is no job type is a boot error that names it', async () => {
    class Nothing {}
    await expect(
      (async () =>
        boot([JobsModule.forRoot(QUICK), JobsModule.forFeature([Nothing as Type<JobHandler>])]))(),
    ).rejects.toThrow(/Nothing/);
  });
});

describe('discovery', () => {
  it('finds one class in two modules once', async () => {
    @Module({ providers: [Greet] })
    class One {}
    @Module({ providers: [Greet] })
    class Two {}
    const answer = await boot([JobsModule.forRoot(QUICK), One, Two]).then(
      (app) => app.catalog.types().length,
      (error: Error) => error.message,
    );
    expect(answer === 1 || /default:greet/.test(String(answer))).toBe(true);
  });

  it('does not take a subclass without a decorator of its own for another type', async () => {
    class Special extends Greet {}
    const answer = await boot([JobsModule.forRoot(QUICK)], [Greet, Special]).then(
      (app) => app.catalog.types().map((type) => type.typeId),
      (error: Error) => error.message,
    );
    expect(Array.isArray(answer) ? answer : String(answer)).toEqual(
      Array.isArray(answer) ? ['default:greet'] : expect.stringMatching(/default:greet/),
    );
  });

  it('takes an abstract base with two decorated subclasses', async () => {
    abstract class Base implements JobHandler {
      abstract readonly word: string;
      execute(): string {
        return this.word;
      }
    }
    @JobType({ name: 'one' })
    class One extends Base {
      readonly word = 'one';
    }
    @JobType({ name: 'two' })
    class Two extends Base {
      readonly word = 'two';
    }
    const app = await boot([JobsModule.forRoot(QUICK)], [One, Two]);
    expect([(await app.run(One)).result, (await app.run(Two)).result]).toEqual(['one', 'two']);
  });

  it('takes a handler provided by value or by factory under its class', async () => {
    @JobType({ name: 'made' })
    class Made implements JobHandler {
      constructor(private readonly word: string) {}
      execute(): string {
        return this.word;
      }
    }
    const app = await bootJobs({
      providers: [{ provide: Made, useFactory: () => new Made('by a factory') }],
    });
    expect((await app.run('default:made')).result).toBe('by a factory');
  });

  it('lets the catalogue be extended until bootstrap ends, and not after', async () => {
    @Injectable()
    class Extends {
      constructor(@Inject(CatalogService) readonly catalog: CatalogService) {}
      onModuleInit(): void {
        this.catalog.registerQueue('late', 3);
        this.catalog.registerGroup({ name: 'late', queue: 'late' });
      }
    }
    const app = await boot([JobsModule.forRoot(QUICK)], [Extends, Greet]);
    expect((await app.queues.get('late')).capacity).toBe(3);
    expect(app.catalog.group('late').queueName).toBe('late');
    expect(() => app.catalog.registerGroup({ name: 'too-late', queue: 'late' })).toThrow(
      /bootstrap/i,
    );
    expect(() => app.catalog.registerQueue('too-late', 1)).toThrow(/bootstrap/i);
  });
});

describe('roles', () => {
  it('producer enqueues and runs no worker', async () => {
    const producer = await bootJobs({ types: [Greet], options: { role: 'producer' } });
    const { id } = await producer.jobs.enqueue(Greet, 'from afar');
    const worker = await bootJobs({
      types: [Greet],
      options: { role: 'worker' },
      database: producer.database,
    });
    expect((await waitForEnd(producer.jobs, id)).result).toBe('from afar');
    expect((await producer.workers.list()).length).toBeLessThanOrEqual(1);
    expect((await worker.run(Greet, 'its own')).result).toBe('its own');
  });

  it('autoStart: false starts nothing', async () => {
    const idle = await bootJobs({ types: [Greet], options: { autoStart: false } });
    const { id } = await idle.jobs.enqueue(Greet);
    const worker = await bootJobs({ types: [Greet], database: idle.database });
    expect((await worker.run(Greet)).status).toBe('completed');
    expect((await waitForEnd(idle.jobs, id)).status).toBe('completed');
    expect(await idle.workers.list()).toHaveLength(1);
  });
});

describe('a job of a type that nobody here has', () => {
  it('can be read, but not enqueued', async () => {
    const one = await bootJobs({ types: [Greet], options: { role: 'producer' } });
    const { id } = await one.jobs.enqueue(Greet);
    const other = await bootJobs({ types: [], database: one.database });
    expect((await other.jobs.get(id)).type).toBe('default:greet');
    expect(await codeOf(other.jobs.enqueue('default:greet'))).toBe('unknown_type');
  });
});
