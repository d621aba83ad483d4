/** Injection token of the resolved options. */
export const JOBS_OPTIONS = Symbol.for('nestjs-jobs:options');

/** Injection token of the engine. */
export const JOBS_ENGINE = Symbol.for('nestjs-jobs:engine');

/** Injection token of what tells others over HTTP. */
export const JOBS_WEBHOOKS = Symbol.for('nestjs-jobs:webhooks');

/** Injection token of one queue's worker, see `@InjectQueueWorker`. */
export function getQueueWorkerToken(queue: string): string {
  return `nestjs-jobs:worker:${queue}`;
}

/** Injection token of the registered types, groups and queues. */
export const JOBS_CATALOG = Symbol.for('nestjs-jobs:catalog');
