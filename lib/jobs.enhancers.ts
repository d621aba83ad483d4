import { UseFilters, UseGuards, UseInterceptors, UsePipes, type Type } from '@nestjs/common';
import {
  ExternalContextCreator,
  NestContainer,
  type ContextId,
  type ModulesContainer,
} from '@nestjs/core';
import { isStream, readStream } from './engine/handler-output.js';
import type { AnyHandler } from './engine/handlers.js';
import { currentJobContext } from './engine/run-storage.js';
import type { JobContext } from './model/job-type.js';
import type { JobProgress } from './model/progress.js';
import { isAbort, isRetryLater, SteeringSignal } from './model/signals.js';

/** What `context.getType()` answers to guards, interceptors and filters of a handler. */
const CONTEXT_TYPE = 'job';
const METHOD = 'execute';
/** Where Nest finds which arguments pass through pipes. */
const ARGUMENTS = 'nestjs-jobs:arguments';

const KEYS = {
  guards: keyOf(UseGuards({ canActivate: () => true })),
  interceptors: keyOf(UseInterceptors({ intercept: (_context, next) => next.handle() })),
  pipes: keyOf(UsePipes({ transform: (value: unknown) => value })),
  filters: keyOf(UseFilters({ catch: () => undefined })),
};

/** Under which key a decorator of Nest keeps what it is given; Nest exports the decorators alone. */
function keyOf(decorate: ClassDecorator): unknown {
  class Decorated {}
  decorate(Decorated);
  return Reflect.getMetadataKeys(Decorated)[0];
}

function declared(handlerClass: Type, kind: keyof typeof KEYS): unknown[] {
  const method: unknown = (handlerClass.prototype as Partial<AnyHandler>)[METHOD];
  return [handlerClass, method].flatMap((target) => {
    const found: unknown =
      typeof target === 'function' ? Reflect.getMetadata(KEYS[kind], target) : undefined;
    return Array.isArray(found) ? (found as unknown[]) : [];
  });
}

const KINDS = ['guards', 'interceptors', 'pipes', 'filters'] as const;

/** The classes, among what `@UseGuards` and its like name for a handler: Nest makes their instances. */
export function enhancerClasses(handlerClass: Type): Type[] {
  return KINDS.flatMap((kind) =>
    declared(handlerClass, kind).filter((each): each is Type => typeof each === 'function'),
  );
}

/** Whether a handler has guards, interceptors, pipes or filters of its own. */
export function hasEnhancers(handlerClass: Type): boolean {
  return KINDS.some((kind) => declared(handlerClass, kind).length > 0);
}

/** Which instances of request-scoped and transient enhancers belong to a handler. */
export interface EnhancerScope {
  readonly contextId?: ContextId;
  /** The id of the handler's provider. */
  readonly host: string;
}

type Runner = (context: JobContext) => Promise<unknown>;

/** Runs handlers behind the guards, interceptors, pipes and filters that their classes name. */
export class HandlerEnhancers {
  readonly #calls: ExternalContextCreator;
  // Of its own: a creator remembers of a method whether its arguments pass through pipes.
  readonly #failures: ExternalContextCreator;
  readonly #steered = new WeakMap<JobContext, SteeringSignal>();

  constructor(modules: ModulesContainer) {
    this.#calls = ExternalContextCreator.fromContainer(new HandlersContainer(modules));
    this.#failures = ExternalContextCreator.fromContainer(new HandlersContainer(modules));
  }

  /** The handler as the engine calls it: `execute` behind its enhancers, hooks as they are. */
  enhance(handler: AnyHandler, handlerClass: Type, scope: EnhancerScope): AnyHandler {
    const run = this.#guarded(handler, handlerClass, scope);
    const hasFilters = declared(handlerClass, 'filters').length > 0;
    const outcome: Runner = async (context) => {
      try {
        return await run(context);
      } catch (thrown) {
        const error = this.#steered.get(context) ?? thrown;
        if (!hasFilters || isSignal(error, context)) {
          throw error;
        }
        return await this.#filtered(handler, scope, error)(context);
      }
    };
    return {
      ...hooksOf(handler),
      execute: async (context) => {
        const result = await outcome(context);
        const steering = this.#steered.get(context);
        if (steering !== undefined) {
          // An interceptor made a result of it: a skip is a skip.
          throw steering;
        }
        return result;
      },
    };
  }

  #guarded(handler: AnyHandler, handlerClass: Type, { contextId, host }: EnhancerScope): Runner {
    if (declared(handlerClass, 'pipes').length > 0) {
      const first = { '0:0': { index: 0, data: undefined, pipes: [] } };
      Reflect.defineMetadata(ARGUMENTS, first, handlerClass, METHOD);
    }
    return this.#calls.create<never, typeof CONTEXT_TYPE>(
      handler,
      likeMethod(handler, (context) => this.#call(handler, context as JobContext)),
      METHOD,
      ARGUMENTS,
      { exchangeKeyForValue: (_type, _data, args: readonly unknown[]) => args[0] },
      contextId,
      host,
      { guards: true, interceptors: true, filters: false },
      CONTEXT_TYPE,
    );
  }

  /** What the filters make of a failure; one that none of them takes is thrown again. */
  #filtered(handler: AnyHandler, { contextId, host }: EnhancerScope, error: unknown): Runner {
    const fail = likeMethod(handler, () => {
      throw error;
    });
    return this.#failures.create<never, typeof CONTEXT_TYPE>(
      handler,
      fail,
      METHOD,
      undefined,
      undefined,
      contextId,
      host,
      { guards: false, interceptors: false, filters: true },
      CONTEXT_TYPE,
    );
  }

  /** @param given the context, or what a pipe made of it */
  async #call(handler: AnyHandler, given: JobContext): Promise<unknown> {
    const context = currentJobContext() ?? given;
    // It may have been told to stop while its guards were asked.
    context.signal.throwIfAborted();
    try {
      const output: unknown = await handler.execute(given);
      return isStream(output) ? await readThrough(output, context) : output;
    } catch (error) {
      if (error instanceof SteeringSignal) {
        this.#steered.set(context, error);
      }
      throw error;
    }
  }
}

/** Sees the application's modules, and none of its global enhancers: those are for requests. */
class HandlersContainer extends NestContainer {
  readonly #modules: ModulesContainer;

  constructor(modules: ModulesContainer) {
    super();
    this.#modules = modules;
  }

  override getModules(): ModulesContainer {
    return this.#modules;
  }
}

/** Interceptors see one result, when the stream has ended; its emissions are progress as ever. */
async function readThrough(
  stream: Parameters<typeof readStream>[0],
  context: JobContext,
): Promise<unknown> {
  const { signal } = context;
  // What is emitted is checked by `progress`, as any progress is.
  const reader = readStream(stream, (value) => context.progress(value as JobProgress));
  const stop = (): void => reader.stop(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await reader.done;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** What steers a run is not a failure: filters do not see it. */
function isSignal(thrown: unknown, { signal }: JobContext): boolean {
  const isStopped = signal.aborted && (thrown === signal.reason || isAbort(thrown));
  return thrown instanceof SteeringSignal || isRetryLater(thrown) || isStopped;
}

/** A function that a `Reflector` reads like `execute`. */
function likeMethod(
  handler: AnyHandler,
  work: (...args: unknown[]) => unknown,
): (...args: unknown[]) => unknown {
  const execute = Reflect.get(handler, METHOD) as object;
  for (const key of Reflect.getMetadataKeys(execute)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, execute), work);
  }
  return Object.defineProperty(work, 'name', { value: METHOD });
}

const HOOKS = [
  'onJobInit',
  'onJobSuspend',
  'onJobResume',
  'onJobStateUpdate',
  'shouldRetry',
] as const;

/** The hooks that the handler has, called on the handler itself. */
function hooksOf(handler: AnyHandler): Omit<AnyHandler, 'execute'> {
  const own = HOOKS.filter((name) => handler[name] !== undefined);
  return Object.fromEntries(own.map((name) => [name, handler[name]?.bind(handler)]));
}
