import {
  Controller,
  Req,
  Res,
  UseFilters,
  UseGuards,
  UseInterceptors,
  type Type,
} from '@nestjs/common';
import type { ApiOptions } from '../jobs.options.js';
import { Call } from './call.js';
import { ForgeryGuard } from './forgery.guard.js';
import type { HttpRequest, HttpResponse } from './http.js';
import { IdentityGuard } from './identity.guard.js';
import { Describe, operationOf, type Operation } from './operation.js';
import { ProblemFilter } from './problem.filter.js';
import { ReplyInterceptor } from './reply.interceptor.js';

/** A class of route handlers, which take a {@link Call}. */
export type Routes = abstract new (...args: never[]) => object;

/**
 * A controller for one application: the routes below `path`, behind that application's guards and
 * interceptors. It is a class of its own, with handlers of its own, because Nest keeps what it knows
 * of a route on class and function: two applications of one process would see each other's.
 */
export function controllerClass(routes: Routes, path: string, api: ApiOptions): Type {
  // Concrete here: Nest makes the instance, with the parameters that `routes` declares by @Inject.
  const base = routes as Type;
  const own = { [routes.name]: class extends base {} }[routes.name] as Type;
  for (const [name, operation] of operationsOf(routes)) {
    addHandler(own, routes, name, operation);
  }
  Controller({ path: below(api.path, path), ...versionOf(api) })(own);
  UseGuards(...(api.guards ?? []), new ForgeryGuard(), IdentityGuard)(own);
  UseInterceptors(ReplyInterceptor, ...(api.interceptors ?? []))(own);
  UseFilters(ProblemFilter)(own);
  return own;
}

/** `path` below another, without empty segments. */
function below(prefix = '', path: string): string {
  return [...prefix.split('/'), path].filter((part) => part !== '').join('/');
}

function versionOf({ version }: ApiOptions): Pick<ApiOptions, 'version'> {
  return version === undefined ? {} : { version };
}

/** The handlers of a class and what each takes and answers, in the order they are written. */
export function operationsOf(routes: Routes): [name: string, operation: Operation][] {
  return Object.getOwnPropertyNames(routes.prototype).flatMap((name) => {
    const operation = operationOf(handlerOf(routes, name));
    return operation === undefined ? [] : [[name, operation] as [string, Operation]];
  });
}

type Handler = (this: unknown, call: Call) => unknown;

function handlerOf(routes: Routes, name: string): Handler | undefined {
  const value: unknown = Object.getOwnPropertyDescriptor(routes.prototype, name)?.value;
  return typeof value === 'function' ? (value as Handler) : undefined;
}

/**
 * Nest calls the handler with request and response, which no pipe of the host touches; the route is
 * called with what its description makes of them. A handler that takes the response also tells Nest
 * that it is answered here: the {@link ReplyInterceptor} does it.
 */
function addHandler(own: Type, routes: Routes, name: string, operation: Operation): void {
  const route = handlerOf(routes, name);
  if (route === undefined) {
    return;
  }
  const [status] = operation.answers[0] ?? [200];
  const handler = function (this: unknown, request: HttpRequest, response: HttpResponse): unknown {
    response.status(status);
    return route.call(this, new Call(operation, request, response));
  };
  for (const key of Reflect.getMetadataKeys(route) as string[]) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, route), handler);
  }
  Object.defineProperty(handler, 'name', { value: name });
  const prototype = own.prototype as object;
  const descriptor = { value: handler, writable: true, configurable: true };
  Object.defineProperty(prototype, name, descriptor);
  Describe(operation)(prototype, name, descriptor);
  Req()(prototype, name, 0);
  Res()(prototype, name, 1);
}
