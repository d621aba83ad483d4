import { Get, Inject, Post } from '@nestjs/common';
import { QueuesService } from '../services/queues.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { pageOfNamed } from './page.js';
import { LIST_NAMED, QUEUE_NAME, WITH_REASON } from './schemas/requests.js';
import { objectOf } from './schemas/schema.js';
import { queueToWire } from './wire/catalog.js';
import type { PageQuery, ReasonBody } from './wire/requests.js';

const QUEUE = component('JobQueue', 'the queue');
const NO_FIELDS = objectOf({});
const CANCELED = {
  description: 'how many were canceled',
  schema: {
    type: 'object',
    properties: { canceled: { type: 'integer', minimum: 0 } },
    required: ['canceled'],
  },
};

/** The queues. Counts are those of the caller's tenant; pausing concerns all of them. */
export abstract class QueuesController {
  constructor(@Inject(QueuesService) private readonly queues: QueuesService) {}

  @Get()
  @Describe({
    id: 'listQueues',
    summary: 'List queues',
    query: LIST_NAMED,
    answers: [[200, component('JobQueueList', 'a page of queues')]],
    errors: [503],
  })
  async list(call: Call<unknown, PageQuery>): Promise<object> {
    const list = {
      member: 'queues',
      order: 'name',
      items: await this.queues.list(call.scope),
      nameOf: (queue: { readonly name: string }) => queue.name,
      toWire: queueToWire,
    };
    return pageOfNamed(list, call.query);
  }

  @Get(':name')
  @Describe({
    id: 'getQueue',
    summary: 'Get a queue',
    params: QUEUE_NAME,
    answers: [[200, QUEUE]],
    errors: [404, 503],
  })
  async get(call: Call): Promise<object> {
    return queueToWire(await this.queues.get(call.param('name'), call.scope));
  }

  @Post(':name/pause')
  @Describe({
    id: 'pauseQueue',
    summary: 'Pause a queue in the whole cluster',
    params: QUEUE_NAME,
    description: 'For operators. What runs goes on; nothing new starts.',
    body: NO_FIELDS,
    answers: [[202, QUEUE]],
    errors: [404, 503],
  })
  async pause(call: Call): Promise<object> {
    call.requireOperator('Pausing a queue');
    await this.queues.pause(call.param('name'));
    return queueToWire(await this.queues.get(call.param('name'), call.scope));
  }

  @Post(':name/resume')
  @Describe({
    id: 'resumeQueue',
    summary: 'Resume a paused queue',
    params: QUEUE_NAME,
    description: 'For operators.',
    body: NO_FIELDS,
    answers: [[202, QUEUE]],
    errors: [404, 503],
  })
  async resume(call: Call): Promise<object> {
    call.requireOperator('Resuming a queue');
    await this.queues.resume(call.param('name'));
    return queueToWire(await this.queues.get(call.param('name'), call.scope));
  }

  @Post(':name/cancel-waiting')
  @Describe({
    id: 'cancelWaitingJobs',
    summary: 'Cancel the waiting jobs of a queue',
    params: QUEUE_NAME,
    body: WITH_REASON,
    answers: [[202, CANCELED]],
    errors: [404, 503],
  })
  async cancelWaiting(call: Call<ReasonBody>): Promise<object> {
    const canceled = await this.queues.cancelWaiting(call.param('name'), call.reasoned());
    return { canceled };
  }
}
