import type { JobDeliveryEntity } from '../entities/job-delivery.entity.js';
import { JobDeliveryEntity as Delivery } from '../entities/job-delivery.entity.js';
import { JobWebhookEntity } from '../entities/job-webhook.entity.js';
import { JobsError, notFound } from '../model/errors.js';
import { newId } from '../model/id.js';
import { NIL_TENANT } from '../model/tenant.js';
import {
  WEBHOOK_EVENTS,
  type Webhook,
  type WebhookDelivery,
  type WebhookEvent,
  type WebhookInput,
  type WebhookPatch,
  type WebhookWithSecret,
} from '../model/webhook.js';
import { STATUS_HOOK, type WebhookStore } from '../store/webhooks.js';
import { answerText } from './answers.js';
import type { SecretBox } from './secret-box.js';
import type { Sender } from './sender.js';
import { checkedSecret, newSecret } from './signing.js';
import type { Slots } from './slots.js';
import { checkedUrl, type UrlRules } from './url-rules.js';
import { deliveryOf, webhookOf } from './views.js';

/** Tests of one endpoint under way. */
const TESTS_AT_ONCE = 2;
/** So often a change of a secret is tried where others change it at the same time. */
const MOST_ROTATIONS = 10;
/** After how many seconds it makes sense to ask again: others are quick, keys are not. */
const BUSY_SEC = 5;
const UNREADABLE_SEC = 60;

/** What the administration of endpoints is made of. */
export interface EndpointsParts {
  readonly store: WebhookStore;
  readonly rules: UrlRules;
  readonly box: SecretBox;
  readonly sender: Sender;
  /** Shared with deliveries. */
  readonly slots: Slots;
  readonly overlapMs: number;
  /** Of a tenant. */
  readonly maxEndpoints: number;
  readonly hideAnswers: boolean;
  nowMs(): number;
  /** Whether the options of this process declare it. */
  readonly declares: (id: string) => boolean;
  /** The secrets that sign for an endpoint now. */
  secretsOf(endpoint: JobWebhookEntity): Promise<readonly string[] | undefined>;
  /** This process looks at once who hears what. */
  refresh(): Promise<void>;
  /** There may be more to send. */
  wake(): void;
}

/** Endpoints: making, changing, testing them, and what was delivered to them. */
export class Endpoints {
  readonly #parts: EndpointsParts;

  constructor(parts: EndpointsParts) {
    this.#parts = parts;
  }

  /** Of a tenant; without one all, those of the options too. */
  async list(tenantId: string | undefined): Promise<readonly Webhook[]> {
    return (await this.#parts.store.list(tenantId)).map(webhookOf);
  }

  async get(id: string, tenantId: string | undefined): Promise<Webhook> {
    return webhookOf(await this.#find(id, tenantId));
  }

  async create(input: WebhookInput, tenantId: string = NIL_TENANT): Promise<WebhookWithSecret> {
    const { rules, box, store, maxEndpoints } = this.#parts;
    const made = input.secret === undefined ? newSecret() : undefined;
    const secret = made ?? checkedSecret(input.secret, 'secret');
    const endpoint = new JobWebhookEntity();
    endpoint.id = newId();
    endpoint.tenantId = tenantId;
    endpoint.url = checkedUrl(input.url, 'url', rules, tenantId).href;
    endpoint.events = eventsText(input.events ?? null);
    endpoint.secrets = await box.seal([{ secret, untilMs: null }]);
    endpoint.isDeclared = 0;
    endpoint.declaredAtMs = null;
    endpoint.isEnabled = 1;
    endpoint.disabledAtMs = null;
    endpoint.disabledReason = null;
    const stored = await store.add(endpoint, maxEndpoints);
    if (stored === undefined) {
      throw new JobsError(
        'forbidden',
        `A tenant has at most ${maxEndpoints} webhook endpoints (the option webhooks.maxEndpoints): delete one first.`,
      );
    }
    await this.#parts.refresh();
    return { ...webhookOf(stored), ...(made === undefined ? {} : { secret: made }) };
  }

  async update(
    id: string,
    patch: WebhookPatch,
    tenantId: string | undefined,
  ): Promise<WebhookWithSecret> {
    for (let tries = 0; tries < MOST_ROTATIONS; tries += 1) {
      const changed = await this.#changed(await this.#find(id, tenantId), patch);
      if (changed !== undefined) {
        await this.#parts.refresh();
        this.#parts.wake();
        return changed;
      }
    }
    throw new JobsError(
      'try_later',
      `The secret of webhook "${id}" is being changed by others. Ask again in a moment.`,
      { retryAfterSec: BUSY_SEC },
    );
  }

  /** Undefined where somebody else has changed the secrets meanwhile, which are to sign as well. */
  async #changed(
    endpoint: JobWebhookEntity,
    patch: WebhookPatch,
  ): Promise<WebhookWithSecret | undefined> {
    const { rules, store } = this.#parts;
    const { id, isDeclared, tenantId } = endpoint;
    if (
      isDeclared === 1 &&
      (patch.url !== undefined || patch.events !== undefined || patch.rotateSecret !== undefined)
    ) {
      throw declared(id);
    }
    const owner = tenantId ?? undefined;
    const url =
      patch.url === undefined ? undefined : checkedUrl(patch.url, 'url', rules, owner).href;
    const events = patch.events === undefined ? undefined : eventsText(patch.events);
    const rotated =
      patch.rotateSecret === undefined
        ? undefined
        : await this.#rotated(endpoint, patch.rotateSecret, patch.isEnabled ?? true);
    const stored = await store.change(id, {
      ...(url === undefined ? {} : { url }),
      ...(events === undefined ? {} : { events }),
      ...(rotated === undefined ? {} : { secrets: rotated.secrets }),
      ...(patch.isEnabled === undefined ? {} : { isEnabled: patch.isEnabled }),
    });
    if (stored === undefined) {
      throw notFound('webhook', id);
    }
    if (rotated !== undefined && stored.secrets !== rotated.secrets.after) {
      return undefined;
    }
    const made = rotated?.made;
    return { ...webhookOf(stored), ...(made === undefined ? {} : { secret: made }) };
  }

  async delete(id: string, tenantId: string | undefined): Promise<void> {
    const endpoint = await this.#find(id, tenantId);
    if (endpoint.isDeclared === 1 && this.#parts.declares(id)) {
      throw declared(id);
    }
    await this.#parts.store.remove(id);
    await this.#parts.refresh();
  }

  /** Sends a `webhook.test` at once, and once; says what came back. */
  async test(id: string, tenantId: string | undefined): Promise<WebhookDelivery> {
    const { store, sender, slots, hideAnswers } = this.#parts;
    const endpoint = await this.#find(id, tenantId);
    const secrets = await this.#parts.secretsOf(endpoint);
    if (secrets === undefined || secrets.length === 0) {
      throw new JobsError(
        'try_later',
        `This process cannot sign for webhook "${id}": its secret is in the options of others, or was encrypted with another key.`,
        { retryAfterSec: UNREADABLE_SEC },
      );
    }
    const delivery = new Delivery();
    delivery.id = newId();
    delivery.target = id;
    delivery.tenantId = endpoint.tenantId ?? NIL_TENANT;
    delivery.event = 'webhook.test';
    const nowMs = this.#parts.nowMs();
    const place = { lane: `test-${id}`, who: endpoint.tenantId ?? id };
    if (!slots.tryEnter(place, TESTS_AT_ONCE)) {
      throw new JobsError(
        'try_later',
        `Webhook "${id}" is being tested, or too much is on its way for its tenant. Ask again in a moment.`,
        { retryAfterSec: BUSY_SEC },
      );
    }
    const message = {
      id: delivery.id,
      url: endpoint.url,
      tenantId: endpoint.tenantId ?? undefined,
      body: JSON.stringify({
        type: delivery.event,
        timestamp: new Date(nowMs).toISOString(),
        data: { webhook_id: id },
      }),
      secrets,
      timestampSec: Math.floor(nowMs / 1000),
    };
    const answer = await sender.send(message).finally(() => slots.leave(place));
    delivery.status = answer.isAcknowledged ? 'delivered' : 'failed';
    delivery.attempts = 1;
    delivery.answer = answerText(answer, hideAnswers);
    return deliveryOf(await store.record(delivery));
  }

  /** Of an endpoint; or of the status hook of a job, by the job's id. */
  async deliveries(
    id: string,
    tenantId: string | undefined,
    query: {
      readonly status: WebhookDelivery['status'] | undefined;
      readonly limit: number;
      readonly before: string | undefined;
    },
  ): Promise<readonly WebhookDelivery[]> {
    const { store } = this.#parts;
    const isEndpoint = (await store.find(id)) !== undefined;
    if (isEndpoint) {
      await this.#find(id, tenantId);
    }
    const of = isEndpoint ? { endpoint: id } : { hookOfJob: id };
    const found = await store.deliveries({ ...query, of });
    if (!isEndpoint) {
      // A hook has been told something since there is its job.
      const all = { status: undefined, limit: 1, before: undefined };
      const [last] = found.length > 0 ? found : await store.deliveries({ ...all, of });
      if (last === undefined || (tenantId !== undefined && last.tenantId !== tenantId)) {
        throw notFound('webhook', id);
      }
    }
    return found.map(deliveryOf);
  }

  async delivery(id: string, tenantId: string | undefined): Promise<WebhookDelivery> {
    return deliveryOf(await this.#findDelivery(id, tenantId));
  }

  /** Sends a delivery that is over once more, with the same id. */
  async redeliver(id: string, tenantId: string | undefined): Promise<WebhookDelivery> {
    const { store } = this.#parts;
    const found = await this.#findDelivery(id, tenantId);
    if (found.target !== STATUS_HOOK) {
      // One of a tenant's jobs to an endpoint of the options is not the tenant's to repeat.
      const endpoint = await this.#find(found.target, tenantId);
      if (endpoint.isEnabled !== 1) {
        throw new JobsError(
          'illegal_transition',
          `Webhook "${endpoint.id}" is disabled, so nothing is sent to it: enable it first.`,
        );
      }
    }
    const sent = await store.redeliver(id);
    if (sent === undefined) {
      throw new JobsError(
        'illegal_transition',
        found.jobSeq === 0
          ? `Delivery ${id} was a test: test the endpoint again.`
          : `Delivery ${id} is pending: it is sent again by itself.`,
      );
    }
    this.#parts.wake();
    return deliveryOf(sent);
  }

  /**
   * The secrets with a new one, which is told if it was made here. Those that this process cannot read would
   * sign no more at once: only where nothing is sent meanwhile.
   */
  async #rotated(
    { id, secrets, isEnabled }: JobWebhookEntity,
    wanted: true | string,
    isToBeEnabled: boolean,
  ): Promise<{
    readonly secrets: { readonly before: string; readonly after: string };
    readonly made: string | undefined;
  }> {
    const { box, overlapMs } = this.#parts;
    const made = wanted === true ? newSecret() : undefined;
    const secret = made ?? checkedSecret(wanted, 'secret');
    const nowMs = this.#parts.nowMs();
    const before = secrets ?? '';
    const opened = await box.open(before);
    if (opened === undefined && isEnabled === 1 && isToBeEnabled) {
      throw new JobsError(
        'try_later',
        `The secret of webhook "${id}" was encrypted with a key that this process does not have, so the old one could not sign beside the new one for a while. Put that key behind the new one in webhooks.encryptionKey; or, to do without the old secret, disable the endpoint with the same change, and enable it when the receiver has the new one.`,
        { retryAfterSec: UNREADABLE_SEC },
      );
    }
    const after = await box.seal([
      { secret, untilMs: null },
      ...(opened?.secrets ?? [])
        .filter((each) => each.secret !== secret && (each.untilMs ?? Infinity) > nowMs)
        .map((each) => ({ ...each, untilMs: each.untilMs ?? nowMs + overlapMs })),
    ]);
    return { secrets: { before, after }, made };
  }

  async #findDelivery(id: string, tenantId: string | undefined): Promise<JobDeliveryEntity> {
    const found = await this.#parts.store.delivery(id);
    if (found === undefined || (tenantId !== undefined && found.tenantId !== tenantId)) {
      throw notFound('delivery', id);
    }
    return found;
  }

  async #find(id: string, tenantId: string | undefined): Promise<JobWebhookEntity> {
    const endpoint = await this.#parts.store.find(id);
    if (endpoint === undefined || (tenantId !== undefined && endpoint.tenantId !== tenantId)) {
      throw notFound('webhook', id);
    }
    return endpoint;
  }
}

/** Types of events as they are stored. @throws JobsError `invalid_request` */
export function eventsText(
  events: unknown,
  code: 'invalid_request' | 'invalid_options' = 'invalid_request',
  field = 'events',
): string | null {
  if (events === null) {
    return null;
  }
  const known: readonly unknown[] = WEBHOOK_EVENTS;
  if (
    !Array.isArray(events) ||
    events.length === 0 ||
    !events.every((each) => known.includes(each))
  ) {
    const message = `must be some of ${WEBHOOK_EVENTS.join(', ')}; leave it out for all`;
    throw new JobsError(code, `${field} ${message}.`, { errors: [{ field, message }] });
  }
  return JSON.stringify([...new Set(events as WebhookEvent[])]);
}

function declared(id: string): JobsError {
  return new JobsError(
    'forbidden',
    `Webhook "${id}" is declared in the option webhooks.endpoints: change it there. Here it can be tested, enabled and disabled.`,
  );
}
