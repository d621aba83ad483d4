import { Inject, Module, type DynamicModule, type Provider, type Type } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { jobTypeOf } from './decorators/job-type.decorator.js';
import { JobsCoreModule, knownQueues } from './jobs.core.module.js';
import { JobsAdvice } from './jobs.advice.js';
import { JobsLifecycle } from './jobs.lifecycle.js';
import { checkKeys, invalid } from './jobs.option-checks.js';
import type { ApiOptions, JobsModuleOptions } from './jobs.options.js';
import { resolveOptions } from './jobs.resolve-options.js';
import { JOBS_OPTIONS } from './jobs.tokens.js';
import type { JobsError } from './model/errors.js';
import type { Class, JobHandler } from './model/job-type.js';
import { restParts } from './rest/rest.controllers.js';

/** What cannot be given late, and so stands beside the factory of `forRootAsync`. */
export type JobsModuleExtras = Pick<
  JobsModuleOptions,
  'isGlobal' | 'dataSource' | 'role' | 'api' | 'database' | 'queues' | 'groups'
>;

/** What a factory of `forRootAsync` gives. */
export type JobsModuleLateOptions = Omit<JobsModuleOptions, keyof JobsModuleExtras>;

/** A provider that makes the options. */
export interface JobsOptionsFactory {
  createJobsOptions(): JobsModuleLateOptions | Promise<JobsModuleLateOptions>;
}

/** What `forRootAsync` takes: one of the three ways, and what cannot be given late. */
export interface JobsModuleAsyncOptions extends JobsModuleExtras {
  readonly imports?: DynamicModule['imports'];
  readonly inject?: readonly (
    string | symbol | Type | { token: string | symbol | Type; optional: boolean }
  )[];
  readonly useFactory?: (
    ...args: never[]
  ) => JobsModuleLateOptions | Promise<JobsModuleLateOptions>;
  readonly useClass?: Type<JobsOptionsFactory>;
  readonly useExisting?: Type<JobsOptionsFactory>;
}

const EXTRAS: readonly (keyof JobsModuleExtras)[] = [
  'isGlobal',
  'dataSource',
  'role',
  'api',
  'database',
  'queues',
  'groups',
];

/** Carries the handlers of `forFeature`; another class than the runner, which must stay at the root. */
@Module({})
class JobsFeatureModule {
  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    if (!isImported(JobsCoreModule, modules)) {
      throw withoutRoot();
    }
  }
}

/** Background jobs in the application's own database. Import it once, in the root module. */
@Module({})
export class JobsModule {
  /**
   * Nest calls hooks module by module, by their distance from the root. The runner starts after and
   * stops before every other module: no handler runs before the application is ready, and while
   * handlers end, everything they may use is still open.
   */
  constructor(@Inject(ModulesContainer) modules: ModulesContainer) {
    if (!isImported(JobsCoreModule, modules)) {
      throw withoutRoot();
    }
    const runners = [...modules.values()].filter((module) => module.metatype === JobsModule);
    if (runners.length > 1) {
      throw invalid(
        'JobsModule is imported twice: call JobsModule.forRoot (or forRootAsync) once, in the root module, and JobsModule.forFeature elsewhere.',
      );
    }
    for (const runner of runners) {
      runner.distance = -1;
    }
  }

  /** @throws JobsError `invalid_options` that names the option and the fix */
  static forRoot(options: JobsModuleOptions = {}): DynamicModule {
    const resolved = resolveOptions(options);
    return runner(options, [], [{ provide: JOBS_OPTIONS, useValue: resolved }]);
  }

  /** The same with options from a factory, a class or a provider that exists. */
  static forRootAsync(options: JobsModuleAsyncOptions): DynamicModule {
    const { imports, inject, useFactory, useClass, useExisting, ...extras } = options ?? {};
    const resolve = (late: JobsModuleLateOptions): ReturnType<typeof resolveOptions> => {
      checkKeys('options', late);
      const misplaced = EXTRAS.find((key) => key in late);
      if (misplaced !== undefined) {
        throw invalid(
          `The option "${misplaced}" cannot come from the factory of forRootAsync: pass it beside the factory.`,
        );
      }
      return resolveOptions({ ...late, ...extras });
    };
    // Whatever is known now is checked now.
    resolveOptions(extras);
    return runner(extras, imports, [
      ...asyncProviders({ inject, useFactory, useClass, useExisting }, resolve),
    ]);
  }

  /**
   * Provides handlers; list them here or in any module's `providers`, not in both.
   *
   * @param options `imports`: the modules that export what the handlers inject, by `forwardRef` the one
   *   that imports this feature. What is global needs no import.
   * @throws JobsError `invalid_options` for a class without `@JobType`, or another option
   */
  static forFeature(
    handlers: readonly Class<JobHandler>[],
    options: { readonly imports?: DynamicModule['imports'] } = {},
  ): DynamicModule {
    const unknown = Object.keys(options).find((key) => key !== 'imports');
    if (!Array.isArray(handlers)) {
      throw invalid('JobsModule.forFeature takes an array of classes with @JobType: give one.');
    }
    if (unknown !== undefined) {
      throw invalid(
        `The option "${unknown}" of JobsModule.forFeature is unknown: it takes { imports }.`,
      );
    }
    for (const handler of handlers) {
      if (jobTypeOf(handler) === undefined) {
        throw invalid(
          `JobsModule.forFeature got ${typeof handler === 'function' ? handler.name : String(handler)}, which carries no @JobType: add the decorator.`,
        );
      }
    }
    return {
      module: JobsFeatureModule,
      imports: [...(options.imports ?? [])],
      providers: [...(handlers as readonly Type[])],
      exports: [...(handlers as readonly Type[])],
    };
  }
}

function isImported(metatype: Type, modules: ModulesContainer): boolean {
  return [...modules.values()].some((module) => module.metatype === metatype);
}

/** Without the core no job would ever run, and nothing would say so. */
function withoutRoot(): JobsError {
  return invalid(
    'JobsModule is imported without its options: call JobsModule.forRoot (or forRootAsync) once, in the root module.',
  );
}

function runner(
  extras: JobsModuleExtras,
  imports: DynamicModule['imports'],
  options: readonly Provider[],
): DynamicModule {
  const rest = restOf(extras.api);
  const core = JobsCoreModule.create({
    isGlobal: extras.isGlobal ?? true,
    dataSource: extras.dataSource,
    queues: knownQueues(extras),
    imports,
    options,
  });
  return {
    module: JobsModule,
    imports: [core],
    controllers: rest.controllers,
    providers: [JobsAdvice, JobsLifecycle, ...rest.providers],
    exports: [core],
  };
}

function restOf(api: false | ApiOptions | undefined): {
  controllers: Type[];
  providers: Provider[];
} {
  return api === false ? { controllers: [], providers: [] } : restParts(api ?? {});
}

function oneWay(): JobsError {
  return invalid(
    'JobsModule.forRootAsync needs useFactory (a function), useClass or useExisting: give one of them.',
  );
}

function asyncProviders(
  ways: Pick<JobsModuleAsyncOptions, 'inject' | 'useFactory' | 'useClass' | 'useExisting'>,
  resolve: (late: JobsModuleLateOptions) => ReturnType<typeof resolveOptions>,
): Provider[] {
  const { inject, useFactory, useClass, useExisting } = ways;
  const given = [useFactory, useClass, useExisting].filter((way) => way !== undefined);
  if (given.length > 1 || (useFactory !== undefined && typeof useFactory !== 'function')) {
    throw oneWay();
  }
  if (useFactory !== undefined) {
    return [
      {
        provide: JOBS_OPTIONS,
        inject: [...(inject ?? [])],
        useFactory: async (...args: never[]) => resolve(await useFactory(...args)),
      },
    ];
  }
  const token = useExisting ?? useClass;
  if (token === undefined) {
    throw oneWay();
  }
  return [
    ...(useClass === undefined ? [] : [{ provide: useClass, useClass }]),
    {
      provide: JOBS_OPTIONS,
      inject: [token],
      useFactory: async (factory: JobsOptionsFactory) => {
        if (typeof factory?.createJobsOptions !== 'function') {
          throw invalid(
            'The options factory of JobsModule.forRootAsync has no method createJobsOptions: add it.',
          );
        }
        return resolve(await factory.createJobsOptions());
      },
    },
  ];
}
