import { Inject } from '@nestjs/common';
import { getQueueWorkerToken } from '../jobs.tokens.js';

/** Injects the `QueueWorker` of a queue of this process. */
export function InjectQueueWorker(queue: string): ParameterDecorator & PropertyDecorator {
  return Inject(getQueueWorkerToken(queue));
}
