import { Delete, Get, Inject, Post, Put } from '@nestjs/common';
import type { Webhook } from '../model/webhook.js';
import { WebhooksService } from '../services/webhooks.service.js';
import type { Call } from './call.js';
import { invalid } from './invalid.js';
import { component, Describe } from './operation.js';
import { pageOfNamed } from './page.js';
import { LIST_NAMED } from './schemas/requests.js';
import { objectOf } from './schemas/schema.js';
import { CREATE_WEBHOOK, LIST_DELIVERIES, UPDATE_WEBHOOK, WEBHOOK_ID } from './schemas/webhooks.js';
import type { PageQuery } from './wire/requests.js';
import {
  changedWebhookToWire,
  deliveryToWire,
  webhookInput,
  webhookPatch,
  webhookToWire,
  type CreateWebhookBody,
  type ListDeliveriesQuery,
  type UpdateWebhookBody,
} from './wire/webhook.js';

const NO_FIELDS = objectOf({});
const CHANGED = component('JobWebhookChanged', 'the endpoint, with a secret that was made');

/** Endpoints of the caller's tenant; operators also see those that the options declare. */
export abstract class WebhooksController {
  constructor(@Inject(WebhooksService) private readonly webhooks: WebhooksService) {}

  @Get()
  @Describe({
    id: 'listWebhooks',
    summary: 'List webhook endpoints',
    query: LIST_NAMED,
    answers: [[200, component('JobWebhookList', 'a page of endpoints')]],
    errors: [503],
  })
  async list(call: Call<unknown, PageQuery>): Promise<object> {
    const { tenantId, isOperator } = call.caller;
    const all = await this.webhooks.list(isOperator ? {} : call.scope);
    const list = {
      member: 'webhooks',
      order: 'id',
      items: all.filter((each) => each.isDeclared || each.tenantId === tenantId),
      nameOf: (webhook: Webhook) => webhook.id,
      toWire: webhookToWire,
    };
    return pageOfNamed(list, call.query);
  }

  @Post()
  @Describe({
    id: 'createWebhook',
    summary: 'Add a webhook endpoint',
    description:
      'It hears of the jobs of the caller’s tenant. A secret that is made is shown once.',
    body: CREATE_WEBHOOK,
    answers: [[201, CHANGED]],
    errors: [423, 503],
  })
  async create(call: Call<CreateWebhookBody>): Promise<object> {
    const webhook = await this.webhooks.create(webhookInput(call.body), call.scope);
    call.answer(201, { Location: `${call.path}/${webhook.id}` });
    return changedWebhookToWire(webhook);
  }

  @Get(':id')
  @Describe({
    id: 'getWebhook',
    summary: 'Get a webhook endpoint',
    params: WEBHOOK_ID,
    answers: [[200, component('JobWebhook', 'the endpoint')]],
    errors: [404, 503],
  })
  async get(call: Call): Promise<object> {
    return webhookToWire(await this.webhooks.get(call.jobId, await this.#scope(call)));
  }

  @Put(':id')
  @Describe({
    id: 'updateWebhook',
    summary: 'Change a webhook endpoint',
    description: 'What is left out stays as it is.',
    params: WEBHOOK_ID,
    body: UPDATE_WEBHOOK,
    answers: [[200, CHANGED]],
    errors: [404, 423, 503],
  })
  async update(call: Call<UpdateWebhookBody>): Promise<object> {
    if (call.body.secret !== undefined && call.body.rotate_secret === true) {
      const message = 'must not be given with secret: it makes one';
      throw invalid('body', [{ field: 'rotate_secret', message }]);
    }
    const patch = webhookPatch(call.body);
    return changedWebhookToWire(
      await this.webhooks.update(call.jobId, patch, await this.#scope(call)),
    );
  }

  @Delete(':id')
  @Describe({
    id: 'deleteWebhook',
    summary: 'Delete a webhook endpoint, and what waits for it',
    params: WEBHOOK_ID,
    answers: [[204, { description: 'it is gone' }]],
    errors: [404, 503],
  })
  async delete(call: Call): Promise<void> {
    await this.webhooks.delete(call.jobId, await this.#scope(call));
  }

  @Post(':id/test')
  @Describe({
    id: 'testWebhook',
    summary: 'Send a test to a webhook endpoint',
    description: 'A `webhook.test`, sent now and once; the answer says what came back.',
    params: WEBHOOK_ID,
    body: NO_FIELDS,
    answers: [[200, component('JobWebhookDelivery', 'what came back')]],
    errors: [404, 423, 503],
  })
  async test(call: Call): Promise<object> {
    return deliveryToWire(await this.webhooks.test(call.jobId, await this.#scope(call)));
  }

  @Get(':id/deliveries')
  @Describe({
    id: 'listWebhookDeliveries',
    summary: 'List what was sent to a webhook endpoint, the newest first',
    description: 'With the id of a job: what was sent to its status hook.',
    params: WEBHOOK_ID,
    query: LIST_DELIVERIES,
    answers: [[200, component('JobWebhookDeliveryList', 'a page of deliveries')]],
    errors: [404, 503],
  })
  async deliveries(call: Call<unknown, ListDeliveriesQuery>): Promise<object> {
    const { status, limit = 50, cursor } = call.query;
    const found = await this.webhooks.deliveries(call.jobId, {
      ...(await this.#scope(call)),
      limit,
      ...(status === undefined ? {} : { status }),
      ...(cursor === undefined ? {} : { before: cursor.toLowerCase() }),
    });
    return {
      limit,
      next_cursor: found.length < limit ? null : (found.at(-1)?.id ?? null),
      deliveries: found.map(deliveryToWire),
    };
  }

  @Post('deliveries/:id/redeliver')
  @Describe({
    id: 'redeliverWebhook',
    summary: 'Send a delivery that is over once more',
    params: WEBHOOK_ID,
    body: NO_FIELDS,
    answers: [[202, component('JobWebhookDelivery', 'the delivery')]],
    errors: [404, 409, 503],
  })
  async redeliver(call: Call): Promise<object> {
    return deliveryToWire(
      await this.webhooks.redeliver(call.jobId, await this.#deliveryScope(call)),
    );
  }

  /** Operators may also name what the options declare, and nothing else of other tenants. */
  async #scope(call: Call, webhookId: string | null = call.jobId): Promise<{ tenantId?: string }> {
    if (!call.caller.isOperator) {
      return call.scope;
    }
    const declared = await this.webhooks.list();
    return declared.some(({ id, isDeclared }) => isDeclared && id === webhookId) ? {} : call.scope;
  }

  /** What was sent to an endpoint of the options is the operators' as well, whosever job it was. */
  async #deliveryScope(call: Call): Promise<{ tenantId?: string }> {
    return call.caller.isOperator
      ? this.#scope(call, (await this.webhooks.delivery(call.jobId)).webhookId)
      : call.scope;
  }
}
