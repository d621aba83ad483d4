import type { AnyHandler, RegisteredType } from './handlers.js';

/** Names of the hooks that run inside operations. */
export type HookName = 'onJobInit' | 'onJobSuspend' | 'onJobResume' | 'onJobStateUpdate';

/** The handler to call a hook on, or undefined when its class has no such hook. */
export function instanceFor(
  type: RegisteredType,
  hook: HookName,
  jobId: string,
): AnyHandler | Promise<AnyHandler> | undefined {
  if (type.instance !== undefined) {
    return type.instance[hook] === undefined ? undefined : type.instance;
  }
  return hasHook(type, hook) ? type.resolve(jobId) : undefined;
}

/** Whether handlers of a type have a hook. */
export function hasHook(type: RegisteredType, hook: HookName): boolean {
  if (type.instance !== undefined) {
    return type.instance[hook] !== undefined;
  }
  const { handlerClass } = type;
  return (
    typeof handlerClass === 'function' &&
    typeof (handlerClass.prototype as Partial<AnyHandler>)[hook] === 'function'
  );
}
