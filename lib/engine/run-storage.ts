import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import type { JobContext } from '../model/job-type.js';
import type { HandledRun } from './run.js';
import type { RunContext } from './run-context.js';

const storage = new AsyncLocalStorage<RunContext>();

/** Where nobody's context is: a handler must not inherit that of whoever happened to wake its queue. */
const inRootContext = AsyncLocalStorage.snapshot();

/** Runs a handler so that everything it calls, awaits or schedules finds its context. */
export function runInContext<T>(context: RunContext, work: () => T): T {
  // A resource of its own: what a handler enters into other storages must not stay behind.
  const resource = inRootContext(() => new AsyncResource('JobRun', { requireManualDestroy: true }));
  return resource.runInAsyncScope(() => storage.run(context, work));
}

/** The context of the job whose handler is running here, or undefined outside of one. */
export function currentJobContext(): JobContext | undefined {
  return storage.getStore();
}

/** The run whose asynchronous context this is. */
export function currentRun(): HandledRun | undefined {
  return storage.getStore()?.run;
}
