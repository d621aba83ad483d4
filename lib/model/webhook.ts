import type { JobStatus } from './job-status.js';
import { JOB_STATUSES } from './job-status.js';

/** What an endpoint can be told: one event a status, and check-ins. */
export type WebhookEvent = `job.${Exclude<JobStatus, 'initializing'>}` | 'job.check_in';

/** All of them. */
export const WEBHOOK_EVENTS: readonly WebhookEvent[] = [
  // `initializing` is what `onJobInit` sees; nothing of such a job is stored yet.
  ...JOB_STATUSES.filter((status) => status !== 'initializing').map(
    (status) => `job.${status}` as const,
  ),
  'job.check_in',
];

/** Where to tell what happens to jobs. */
export interface Webhook {
  readonly id: string;
  /** Whose jobs; null for those of all tenants, as an endpoint of the options. */
  readonly tenantId: string | null;
  readonly url: string;
  /** What it is told, or null for everything. */
  readonly events: readonly WebhookEvent[] | null;
  readonly isEnabled: boolean;
  readonly disabledAt: Date | null;
  /** Why it was disabled: what the receiver answered, or who did it. */
  readonly disabledReason: string | null;
  /** Whether the options declare it: it is changed there. */
  readonly isDeclared: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** An endpoint whose secret was just made or changed: the one time that it is shown. */
export interface WebhookWithSecret extends Webhook {
  /** `whsec_…`; undefined where it stays as it was. */
  readonly secret?: string;
}

/** What came back at the last try of a delivery. */
export interface WebhookAnswer {
  /** Null where there was no answer. */
  readonly status: number | null;
  readonly durationMs: number;
  /** The first kilobyte of the answer's body, without controls. */
  readonly text: string | null;
  /** Why it was not taken for an acknowledgement. */
  readonly error: string | null;
}

/** An event on its way to one receiver. */
export interface WebhookDelivery {
  /** The `webhook-id` of every try. */
  readonly id: string;
  /** Null for the status hook of a job. */
  readonly webhookId: string | null;
  /** Null for a test. */
  readonly jobId: string | null;
  readonly sequence: number;
  /** Its type, such as `job.completed`. */
  readonly event: string;
  readonly status: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  readonly nextAttemptAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Null where nothing came back yet, or where it is hidden. */
  readonly answer: WebhookAnswer | null;
}

/** What an endpoint is made of. */
export interface WebhookInput {
  readonly url: string;
  /** What it is told. @default everything */
  readonly events?: readonly WebhookEvent[] | null;
  /** `whsec_` and the base64 of 24 to 64 bytes. @default a new one, which is given back once */
  readonly secret?: string;
}

/** What of an endpoint is changed; what is absent stays. */
export interface WebhookPatch {
  readonly url?: string;
  readonly events?: readonly WebhookEvent[] | null;
  /** Enabling one that was disabled also sends what has waited meanwhile. */
  readonly isEnabled?: boolean;
  /** A new secret, or `true` for one that is made and given back once; the old one signs too for a while. */
  readonly rotateSecret?: true | string;
}
