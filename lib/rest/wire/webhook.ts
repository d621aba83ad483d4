import type {
  Webhook,
  WebhookDelivery,
  WebhookEvent,
  WebhookInput,
  WebhookPatch,
  WebhookWithSecret,
} from '../../model/webhook.js';

/** As `CREATE_WEBHOOK` has it. */
export interface CreateWebhookBody {
  readonly url: string;
  readonly events?: readonly WebhookEvent[] | null;
  readonly secret?: string;
}

/** As `UPDATE_WEBHOOK` has it. */
export interface UpdateWebhookBody {
  readonly url?: string;
  readonly events?: readonly WebhookEvent[] | null;
  readonly enabled?: boolean;
  readonly secret?: string;
  readonly rotate_secret?: boolean;
}

/** As `LIST_DELIVERIES` has it. */
export interface ListDeliveriesQuery {
  readonly status?: WebhookDelivery['status'];
  readonly limit?: number;
  readonly cursor?: string;
}

export function webhookInput({ url, events, secret }: CreateWebhookBody): WebhookInput {
  return {
    url,
    ...(events === undefined ? {} : { events }),
    ...(secret === undefined ? {} : { secret }),
  };
}

export function webhookPatch(body: UpdateWebhookBody): WebhookPatch {
  const rotateSecret = body.secret ?? (body.rotate_secret === true ? true : undefined);
  return {
    ...(body.url === undefined ? {} : { url: body.url }),
    ...(body.events === undefined ? {} : { events: body.events }),
    ...(body.enabled === undefined ? {} : { isEnabled: body.enabled }),
    ...(rotateSecret === undefined ? {} : { rotateSecret }),
  };
}

export function webhookToWire(webhook: Webhook) {
  return {
    id: webhook.id,
    tenant_id: webhook.tenantId,
    url: webhook.url,
    events: webhook.events,
    enabled: webhook.isEnabled,
    disabled_at: webhook.disabledAt?.getTime() ?? null,
    disabled_reason: webhook.disabledReason,
    declared: webhook.isDeclared,
    created_at: webhook.createdAt.getTime(),
    updated_at: webhook.updatedAt.getTime(),
  };
}

/** With the secret that was made, if any: it is shown this once. */
export function changedWebhookToWire(webhook: WebhookWithSecret) {
  return {
    ...webhookToWire(webhook),
    ...(webhook.secret === undefined ? {} : { secret: webhook.secret }),
  };
}

export function deliveryToWire(delivery: WebhookDelivery) {
  const { answer } = delivery;
  return {
    id: delivery.id,
    webhook_id: delivery.webhookId,
    job_id: delivery.jobId,
    sequence: delivery.sequence,
    event: delivery.event,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: delivery.nextAttemptAt?.getTime() ?? null,
    created_at: delivery.createdAt.getTime(),
    updated_at: delivery.updatedAt.getTime(),
    answer:
      answer === null
        ? null
        : {
            status: answer.status,
            duration_ms: answer.durationMs,
            text: answer.text,
            error: answer.error,
          },
  };
}
