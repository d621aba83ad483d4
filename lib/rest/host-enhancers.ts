import {
  Inject,
  mixin,
  Scope,
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  type NestInterceptor,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import { ContextIdFactory, ModuleRef, ModulesContainer } from '@nestjs/core';
import { isObservable, lastValueFrom, type Observable } from 'rxjs';
import { JobsError } from '../model/errors.js';

/** A guard of the host as ours may use it: instances as they are, classes found when Nest is ready. */
export function hostGuard(guard: Type<CanActivate> | CanActivate): Type<CanActivate> | CanActivate {
  if (typeof guard !== 'function') {
    return guard;
  }
  class HostGuard extends HostClass<CanActivate> implements CanActivate {
    constructor(@Inject(ModuleRef) moduleRef: ModuleRef) {
      super(guard as Type<CanActivate>, moduleRef, 'api.guards');
    }

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const answer = (await this.instanceFor(context)).canActivate(context);
      return isObservable(answer) ? lastValueFrom(answer) : answer;
    }
  }
  return mixin(HostGuard);
}

/** The same for an interceptor. */
export function hostInterceptor(
  interceptor: Type<NestInterceptor> | NestInterceptor,
): Type<NestInterceptor> | NestInterceptor {
  if (typeof interceptor !== 'function') {
    return interceptor;
  }
  class HostInterceptor extends HostClass<NestInterceptor> implements NestInterceptor {
    constructor(@Inject(ModuleRef) moduleRef: ModuleRef) {
      super(interceptor as Type<NestInterceptor>, moduleRef, 'api.interceptors');
    }

    async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
      return (await this.instanceFor(context)).intercept(context, next);
    }
  }
  return mixin(HostInterceptor);
}

/**
 * A class of the host, as its own modules made it. Nest would make a second instance inside this
 * package's module, where most of what a guard needs (the host's users, its tokens) cannot be seen.
 * A class that no module knows is made in the first one that has what it needs.
 */
class HostClass<T> implements OnModuleInit {
  #instance: T | undefined;

  constructor(
    private readonly type: Type<T>,
    private readonly moduleRef: ModuleRef,
    private readonly option: string,
  ) {}

  async onModuleInit(): Promise<void> {
    const scope = this.#knownScope();
    if (scope === undefined) {
      this.#instance = await this.#make();
    } else if (scope === Scope.DEFAULT) {
      this.#instance = this.moduleRef.get<T>(this.type, { strict: false });
    }
  }

  /** @returns the one instance, or the request's own where the class is request-scoped */
  protected async instanceFor(context: ExecutionContext): Promise<T> {
    if (this.#instance !== undefined) {
      return this.#instance;
    }
    const request = context.switchToHttp().getRequest<object>();
    const contextId = ContextIdFactory.getByRequest(request);
    this.moduleRef.registerRequestByContextId(request, contextId);
    return this.moduleRef.resolve<T>(this.type, contextId, { strict: false });
  }

  #knownScope(): Scope | undefined {
    try {
      return this.moduleRef.introspect(this.type).scope;
    } catch {
      return undefined;
    }
  }

  async #make(): Promise<T> {
    for (const place of [this.moduleRef, ...this.#otherPlaces()]) {
      try {
        return await place.create(this.type);
      } catch {
        // Something that it needs cannot be seen from there.
      }
    }
    throw new JobsError(
      'invalid_options',
      `${this.option}: no module has all that ${this.type.name} needs. Add it to the providers of one that does, or give an instance.`,
    );
  }

  #otherPlaces(): ModuleRef[] {
    const modules = this.moduleRef.get(ModulesContainer, { strict: false });
    return [...modules.values()].flatMap(({ providers }) => {
      const place: unknown = providers.get(ModuleRef)?.instance;
      return place instanceof ModuleRef ? [place] : [];
    });
  }
}
