import type { JobDeliveryEntity } from '../entities/job-delivery.entity.js';
import type { JobWebhookEntity } from '../entities/job-webhook.entity.js';
import type { Webhook, WebhookAnswer, WebhookDelivery, WebhookEvent } from '../model/webhook.js';
import { STATUS_HOOK } from '../store/webhooks.js';

/** An endpoint as people see it: without its secrets. */
export function webhookOf(stored: JobWebhookEntity): Webhook {
  return {
    id: stored.id,
    tenantId: stored.tenantId,
    url: stored.url,
    events: stored.events === null ? null : (JSON.parse(stored.events) as WebhookEvent[]),
    isEnabled: stored.isEnabled === 1,
    disabledAt: stored.disabledAtMs === null ? null : new Date(stored.disabledAtMs),
    disabledReason: stored.disabledReason,
    isDeclared: stored.isDeclared === 1,
    createdAt: new Date(stored.createdAtMs),
    updatedAt: new Date(stored.updatedAtMs),
  };
}

/** A delivery as people see it. */
export function deliveryOf(stored: JobDeliveryEntity): WebhookDelivery {
  return {
    id: stored.id,
    webhookId: stored.target === STATUS_HOOK ? null : stored.target,
    jobId: stored.jobId ?? null,
    sequence: stored.sequence,
    event: stored.event,
    status: stored.status,
    attempts: stored.attempts,
    nextAttemptAt:
      stored.status !== 'pending' || stored.dueAtMs === null ? null : new Date(stored.dueAtMs),
    createdAt: new Date(stored.createdAtMs),
    updatedAt: new Date(stored.updatedAtMs),
    answer: answerOf(stored.answer ?? null),
  };
}

function answerOf(text: string | null): WebhookAnswer | null {
  const answer = JSON.parse(text ?? 'null') as {
    status: number | null;
    duration_ms: number;
    text: string | null;
    error: string | null;
  } | null;
  return answer === null
    ? null
    : {
        status: answer.status,
        durationMs: answer.duration_ms,
        text: answer.text,
        error: answer.error,
      };
}
