import { WEBHOOK_EVENTS } from '../../model/webhook.js';
import {
  answerOf,
  described,
  INSTANT,
  integer,
  type JsonSchema,
  nullable,
  objectOf,
  ref,
  text,
  UUID,
} from './schema.js';

const TEXT: JsonSchema = { type: 'string' };
const URL_TEXT = described(text(1, 2048), 'https; http where the application allows it');
const EVENTS = {
  type: 'array',
  minItems: 1,
  items: { type: 'string', enum: WEBHOOK_EVENTS },
  nullable: true,
  description: 'what it is told; null for everything',
};
const SECRET = described(
  text(1, 200),
  '`whsec_` and the base64 of 24 to 64 random bytes; made and answered once when it is left out',
);
const STATUS = { type: 'string', enum: ['pending', 'delivered', 'failed'] };

export const WEBHOOK_ID = { id: UUID };

/** The body of `POST /webhooks`. */
export const CREATE_WEBHOOK = objectOf({ url: URL_TEXT, events: EVENTS, secret: SECRET }, ['url']);

/** The body of `PUT /webhooks/:id`; what is left out stays. */
export const UPDATE_WEBHOOK = objectOf({
  url: URL_TEXT,
  events: EVENTS,
  enabled: { type: 'boolean', description: 'enabling it also sends what has waited meanwhile' },
  secret: described(text(1, 200), 'a new secret; the old one signs too for a while'),
  rotate_secret: { type: 'boolean', description: 'makes a new secret, which is answered once' },
});

/** The parameters of `GET /webhooks/:id/deliveries`. */
export const LIST_DELIVERIES = objectOf({
  status: STATUS,
  limit: described(integer(1, 1000), '50 by default'),
  cursor: described(UUID, 'the `next_cursor` of the page before'),
});

const WEBHOOK = {
  id: UUID,
  tenant_id: nullable(TEXT),
  url: TEXT,
  events: nullable({ type: 'array', items: TEXT }),
  enabled: { type: 'boolean' },
  disabled_at: nullable(INSTANT),
  disabled_reason: nullable(TEXT),
  declared: { type: 'boolean', description: 'by the options, where it is changed' },
  created_at: INSTANT,
  updated_at: INSTANT,
};

/** What answers about webhooks look like. */
export const WEBHOOK_COMPONENTS = {
  JobWebhook: answerOf(WEBHOOK),
  JobWebhookChanged: {
    type: 'object',
    properties: { ...WEBHOOK, secret: described(TEXT, 'the one that was made; shown this once') },
    required: Object.keys(WEBHOOK),
  },
  JobWebhookDelivery: answerOf({
    id: described(UUID, 'the `webhook-id` of every try'),
    webhook_id: nullable(UUID),
    job_id: nullable(UUID),
    sequence: { type: 'integer', minimum: 0 },
    event: TEXT,
    status: STATUS,
    attempts: { type: 'integer', minimum: 0 },
    next_attempt_at: nullable(INSTANT),
    created_at: INSTANT,
    updated_at: INSTANT,
    answer: nullable(
      answerOf({
        status: nullable({ type: 'integer' }),
        duration_ms: { type: 'integer', minimum: 0 },
        text: nullable(described(TEXT, 'the first kilobyte')),
        error: nullable(TEXT),
      }),
    ),
  }),
  JobWebhookDeliveryList: answerOf({
    limit: { type: 'integer' },
    next_cursor: nullable(UUID),
    deliveries: { type: 'array', items: ref('JobWebhookDelivery') },
  }),
} as const;
