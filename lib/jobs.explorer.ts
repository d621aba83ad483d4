import { Inject, Injectable, type Type } from '@nestjs/common';
import {
  ContextIdFactory,
  DiscoveryService,
  ModuleRef,
  ModulesContainer,
  type ContextId,
} from '@nestjs/core';
import { jobTypeOf } from './decorators/job-type.decorator.js';
import { cronMethods, refuseSchedules, schedulesOfType } from './jobs.schedule-explorer.js';
import type { AnyHandler, RegisteredType } from './engine/handlers.js';
import { uniqueTerms } from './engine/unique.js';
import { enhancerClasses, HandlerEnhancers, hasEnhancers } from './jobs.enhancers.js';
import { checkName, count, description, flag, invalid } from './jobs.option-checks.js';
import { resolveLimits } from './jobs.limit-checks.js';
import type { ResolvedOptions } from './jobs.options.js';
import { JOBS_CATALOG, JOBS_OPTIONS } from './jobs.tokens.js';
import { durationMs } from './model/duration.js';
import type { JobHandler, JobTypeOptions } from './model/job-type.js';
import { resolveBackoff } from './model/retry-policy.js';
import { paramsContract } from './params/params-contract.js';
import { classOf, type Catalog } from './services/catalog.service.js';

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

const KEYS: readonly string[] = [
  'name',
  'group',
  'description',
  'params',
  'version',
  'timeout',
  'maxRetries',
  'retryDelay',
  'backoff',
  'retryOnTimeout',
  'suspendable',
  'stallAfter',
  'concurrency',
  'rate',
  'unique',
];

/** Finds every provider whose class carries `@JobType` and fills the registry. */
@Injectable()
export class JobsExplorer {
  readonly #discovery: DiscoveryService;
  readonly #moduleRef: ModuleRef;
  readonly #catalog: Catalog;
  readonly #options: ResolvedOptions;
  readonly #modules: ModulesContainer;
  #enhancers: HandlerEnhancers | undefined;
  #exploration: Promise<void> = Promise.resolve();
  #isDiscovered = false;

  constructor(
    @Inject(DiscoveryService) discovery: DiscoveryService,
    @Inject(ModuleRef) moduleRef: ModuleRef,
    @Inject(JOBS_CATALOG) catalog: Catalog,
    @Inject(JOBS_OPTIONS) options: ResolvedOptions,
    @Inject(ModulesContainer) modules: ModulesContainer,
  ) {
    this.#discovery = discovery;
    this.#moduleRef = moduleRef;
    this.#catalog = catalog;
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * Finds the handlers once, and takes up what was registered by call since; a host's hook that
   * enqueues before bootstrap makes it happen earlier.
   *
   * @throws JobsError `invalid_options` for a type that is declared twice, badly, or for an unknown group
   */
  explore(): Promise<void> {
    this.#exploration = this.#exploration.then(() => this.#explore());
    return this.#exploration;
  }

  async #explore(): Promise<void> {
    if (!this.#isDiscovered) {
      this.#isDiscovered = true;
      for (const wrapper of this.#discovery.getProviders()) {
        const handlerClass = handlerClassOf(wrapper);
        const declared = jobTypeOf(handlerClass);
        if (handlerClass !== undefined && declared !== undefined) {
          await this.#register(declared, handlerClass, this.#accessOf(wrapper, handlerClass));
          this.#catalog.schedules.push(...schedulesOfType(handlerClass, declared));
        } else {
          refuseSchedules(wrapper.metatype);
        }
      }
      await this.#exploreCrons();
    }
    for (const { options, handler } of this.#catalog.pending.splice(0)) {
      const handlerClass = classOf(handler) as Type<JobHandler>;
      const instance = this.#enhanced(handlerClass, undefined)(handler);
      await this.#register(options, handlerClass, {
        instance,
        resolve: () => Promise.resolve(instance),
      });
    }
  }

  /** Methods of any provider or controller that carry `@JobCron`: each becomes a job type. */
  async #exploreCrons(): Promise<void> {
    const wrappers = [...this.#discovery.getProviders(), ...this.#discovery.getControllers()];
    for (const cron of cronMethods(wrappers)) {
      const access = this.#accessOf(cron.wrapper, cron.owner, (handler) => cron.handlerOf(handler));
      await this.#register(cron.type, cron.handlerClass, access, cron.where);
      this.#catalog.schedules.push(...cron.schedules);
    }
  }

  async #register(
    declared: JobTypeOptions,
    handlerClass: Type,
    access: Pick<RegisteredType, 'instance' | 'resolve'>,
    where = `@JobType of ${handlerClass.name}`,
  ): Promise<void> {
    for (const key of Object.keys(declared)) {
      if (!KEYS.includes(key)) {
        throw invalid(
          `${where}: the option "${key}" is unknown. Remove it, or use one of ${KEYS.join(', ')}.`,
        );
      }
    }
    const name = checkName(declared.name, `${where}: name`);
    const group = checkName(declared.group ?? 'default', `${where}: group`);
    const known = this.#catalog.groups.get(group);
    if (known === undefined) {
      throw invalid(
        `${where}: the group "${group}" does not exist. Add it to JobsModule.forRoot({ groups: [{ name: "${group}", queue: … }] }), or use one of ${[...this.#catalog.groups.keys()].join(', ')}.`,
      );
    }
    if (
      typeof handlerClass.prototype?.execute !== 'function' &&
      typeof access.instance?.execute !== 'function'
    ) {
      throw invalid(`${where}: the class has no method execute(ctx), which runs the jobs. Add it.`);
    }
    const { defaults } = this.#options;
    const typeId = `${group}:${name}`;
    if (declared.params !== undefined && typeof declared.params !== 'function') {
      throw invalid(`${where}: params is ${JSON.stringify(declared.params)}: give a class.`);
    }
    this.#catalog.handlers.add({
      typeId,
      group,
      name,
      queue: known.queueName,
      description: description(declared.description, `${where}: description`),
      version: count(declared.version ?? 1, `${where}: version`),
      timeoutSec: this.#seconds(declared.timeout, defaults.timeoutMs, `${where}: timeout`),
      maxRetries:
        declared.maxRetries === undefined
          ? defaults.maxRetries
          : count(declared.maxRetries, `${where}: maxRetries`, 0),
      retryDelaySec: this.#seconds(
        declared.retryDelay,
        defaults.retryDelayMs,
        `${where}: retryDelay`,
      ),
      rules: {
        backoff:
          declared.backoff === undefined
            ? defaults.backoff
            : resolveBackoff(declared.backoff, `${where}: backoff`),
        retryOnTimeout: flag(
          declared.retryOnTimeout ?? defaults.retryOnTimeout,
          `${where}: retryOnTimeout`,
        ),
      },
      suspendable: flag(declared.suspendable ?? false, `${where}: suspendable`),
      stallAfterMs: durationMs(declared.stallAfter ?? 0, `${where}: stallAfter`, 'invalid_options'),
      unique: uniqueTerms(declared.unique, `${where}: `),
      limits: resolveLimits(declared, `${where}: `),
      params: await paramsContract(typeId, declared.params),
      handlerClass,
      ...access,
    });
  }

  #accessOf(
    wrapper: Wrapper,
    handlerClass: Type,
    enhanced: (handler: unknown, contextId?: ContextId) => AnyHandler = this.#enhanced(
      handlerClass as Type<JobHandler>,
      wrapper,
    ),
  ): Pick<RegisteredType, 'instance' | 'resolve'> {
    if (wrapper.isDependencyTreeStatic() && !wrapper.isTransient) {
      const instance = enhanced(wrapper.instance);
      return { instance, resolve: () => Promise.resolve(instance) };
    }
    return {
      instance: undefined,
      resolve: async (jobId) => {
        const request = { jobId };
        // Durable providers are shared as the host's strategy says; the others live for this job.
        const contextId = ContextIdFactory.getByRequest(request);
        this.#moduleRef.registerRequestByContextId(request, contextId);
        const handler: unknown = await this.#moduleRef.resolve(
          wrapper.token ?? handlerClass,
          contextId,
          { strict: false },
        );
        return enhanced(handler, contextId);
      },
    };
  }

  /**
   * Puts handlers behind the guards, interceptors, pipes and filters of their class, if it has any.
   *
   * @throws JobsError `invalid_options` for classes of them that Nest does not make for this handler:
   *   it would leave them out without a word
   */
  #enhanced(
    handlerClass: Type<JobHandler>,
    wrapper: Wrapper | undefined,
  ): (handler: unknown, contextId?: ContextId) => AnyHandler {
    if (!hasEnhancers(handlerClass)) {
      return (handler) => handler as AnyHandler;
    }
    const made = wrapper?.token === handlerClass ? wrapper.host?.injectables : undefined;
    const lost = enhancerClasses(handlerClass).find((each) => made?.has(each) !== true);
    if (lost !== undefined) {
      throw invalid(
        `@JobType of ${handlerClass.name}: Nest makes its ${lost.name} only when ${handlerClass.name} itself is among a module's providers (not { provide, useFactory } or the like). List it there, or give the decorator an instance.`,
      );
    }
    this.#enhancers ??= new HandlerEnhancers(this.#modules);
    const enhancers = this.#enhancers;
    const host = wrapper?.id ?? '';
    return (handler, contextId) =>
      enhancers.enhance(handler as AnyHandler, handlerClass, {
        host,
        ...(contextId === undefined ? {} : { contextId }),
      });
  }

  #seconds(given: JobTypeOptions['timeout'], defaultMs: number, what: string): number {
    return (given === undefined ? defaultMs : durationMs(given, what, 'invalid_options')) / 1000;
  }
}

/** The class that declares the type: also behind a factory, or a mock that stands in for it. */
function handlerClassOf(wrapper: Wrapper): Type<JobHandler> | undefined {
  const instance: unknown = wrapper.isDependencyTreeStatic() ? wrapper.instance : undefined;
  const made = typeof instance === 'object' && instance !== null ? instance.constructor : undefined;
  const candidates: unknown[] = [wrapper.metatype, wrapper.token, made];
  return candidates.find((each) => jobTypeOf(each) !== undefined) as Type<JobHandler> | undefined;
}
