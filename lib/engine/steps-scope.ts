import { AsyncLocalStorage } from 'node:async_hooks';

/** A step whose function is at work. */
export interface OpenStep {
  readonly name: string;
  /** How many transactions its function has asked for so far. */
  writes: number;
}

/** Inside of what the code runs that asks a context for something. */
export interface StepScope {
  readonly runId: string;
  readonly step?: OpenStep | undefined;
  readonly isInTransaction?: boolean;
}

const storage = new AsyncLocalStorage<StepScope>();

/** The scope of this run that surrounds the caller, if any does. */
export function scopeOf(runId: string): StepScope | undefined {
  const scope = storage.getStore();
  return scope?.runId === runId ? scope : undefined;
}

/** Calls a function inside of a scope. */
export function inScope<T>(scope: StepScope, work: () => T): T {
  return storage.run(scope, work);
}
