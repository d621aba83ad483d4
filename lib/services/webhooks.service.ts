import { Inject, Injectable } from '@nestjs/common';
import { badField } from '../engine/enqueue-checks.js';
import type { Engine } from '../engine/engine.js';
import { JOBS_ENGINE, JOBS_WEBHOOKS } from '../jobs.tokens.js';
import type {
  Webhook,
  WebhookDelivery,
  WebhookInput,
  WebhookPatch,
  WebhookWithSecret,
} from '../model/webhook.js';
import type { Endpoints } from '../webhooks/endpoints.js';
import type { Webhooks } from '../webhooks/webhooks.js';
import { checkedId, checkOptions, SCOPE_KEYS } from './arguments.js';
import type { Scope } from './scope.js';

/** Which deliveries are listed. */
export interface ListDeliveriesOptions extends Scope {
  readonly status?: WebhookDelivery['status'];
  /** From 1 to 1,000. @default 50 */
  readonly limit?: number;
  /** Only what is older than that delivery. */
  readonly before?: string;
}

const INPUT_KEYS: ReadonlySet<string> = new Set(['url', 'events', 'secret']);
const PATCH_KEYS: ReadonlySet<string> = new Set(['url', 'events', 'isEnabled', 'rotateSecret']);
const LIST_KEYS: ReadonlySet<string> = new Set(['tenantId', 'status', 'limit', 'before']);
const MOST = 1000;

/** Endpoints that are told over HTTP what happens to jobs, and what was delivered to them. */
@Injectable()
export class WebhooksService {
  readonly #engine: Engine;
  readonly #webhooks: Webhooks;

  constructor(@Inject(JOBS_ENGINE) engine: Engine, @Inject(JOBS_WEBHOOKS) webhooks: Webhooks) {
    this.#engine = engine;
    this.#webhooks = webhooks;
  }

  /** Endpoints, the oldest first; without a tenant those of the options too. */
  async list(scope: Scope = {}): Promise<readonly Webhook[]> {
    return (await this.#opened(scope)).list(scope.tenantId);
  }

  /** @throws JobsError `not_found` */
  async get(id: string, scope: Scope = {}): Promise<Webhook> {
    return (await this.#opened(scope)).get(checkedId(id, 'webhook'), scope.tenantId);
  }

  /**
   * Adds an endpoint, which hears of the jobs of one tenant from then on. A secret that is made is in
   * the answer, this one time.
   *
   * @throws JobsError `invalid_request` that names the field, `forbidden` where the tenant has enough of them,
   *   `try_later` where the options' functions for keys or hosts do not answer
   */
  async create(input: WebhookInput, scope: Scope = {}): Promise<WebhookWithSecret> {
    checkOptions(input, INPUT_KEYS, 'input');
    return (await this.#opened(scope)).create(input, scope.tenantId);
  }

  /**
   * Changes an endpoint. Of those that the options declare only `isEnabled` can be.
   *
   * @throws JobsError `not_found`, `invalid_request`, `forbidden`; `try_later` as above, and where the old secret,
   *   which is to sign for a while yet, cannot be read
   */
  async update(id: string, patch: WebhookPatch, scope: Scope = {}): Promise<WebhookWithSecret> {
    checkOptions(patch, PATCH_KEYS, 'patch');
    if (patch.isEnabled !== undefined && typeof patch.isEnabled !== 'boolean') {
      throw badField('isEnabled', 'must be true or false');
    }
    return (await this.#opened(scope)).update(checkedId(id, 'webhook'), patch, scope.tenantId);
  }

  /** Deletes an endpoint and what waits for it. @throws JobsError `not_found`, `forbidden` */
  async delete(id: string, scope: Scope = {}): Promise<void> {
    await (await this.#opened(scope)).delete(checkedId(id, 'webhook'), scope.tenantId);
  }

  /** Sends a `webhook.test` now, and says what came back. @throws JobsError `not_found`, `try_later` */
  async test(id: string, scope: Scope = {}): Promise<WebhookDelivery> {
    return (await this.#opened(scope)).test(checkedId(id, 'webhook'), scope.tenantId);
  }

  /**
   * What was sent to an endpoint, the newest first; or, by the id of a job, to its status hook.
   *
   * @throws JobsError `not_found`, `invalid_request`
   */
  async deliveries(
    id: string,
    options: ListDeliveriesOptions = {},
  ): Promise<readonly WebhookDelivery[]> {
    checkOptions(options, LIST_KEYS);
    const { tenantId, status, limit = 50, before } = options;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MOST) {
      throw badField('limit', `must be a whole number from 1 to ${MOST}`);
    }
    if (status !== undefined && !['pending', 'delivered', 'failed'].includes(status)) {
      throw badField('status', 'must be pending, delivered or failed');
    }
    const endpoints = await this.#opened({});
    return endpoints.deliveries(checkedId(id, 'webhook'), tenantId, { status, limit, before });
  }

  /** What was sent, whatever to. @throws JobsError `not_found` */
  async delivery(deliveryId: string, scope: Scope = {}): Promise<WebhookDelivery> {
    const endpoints = await this.#opened(scope);
    return endpoints.delivery(checkedId(deliveryId, 'delivery'), scope.tenantId);
  }

  /**
   * Sends a delivery that is over once more, under the same id.
   *
   * @throws JobsError `not_found`, `illegal_transition` for one that is pending, or a test
   */
  async redeliver(deliveryId: string, scope: Scope = {}): Promise<WebhookDelivery> {
    const endpoints = await this.#opened(scope);
    return endpoints.redeliver(checkedId(deliveryId, 'delivery'), scope.tenantId);
  }

  async #opened(scope: Scope): Promise<Endpoints> {
    checkOptions(scope, SCOPE_KEYS);
    await this.#engine.open();
    return this.#webhooks.endpoints;
  }
}
