import type { WebhookEvent } from '../model/webhook.js';
import type { AllowedHosts } from './host-rules.js';

/** An endpoint that the options declare. */
export interface DeclaredEndpoint {
  /** The same on every process with the same URL. */
  readonly id: string;
  readonly url: string;
  readonly events: readonly WebhookEvent[] | null;
  /** The newest first. */
  readonly secrets: readonly string[];
}

/** The options of webhooks with every value present. */
export interface ResolvedWebhooks {
  /** Undefined where the options say nothing: then those that others declare are left alone. */
  readonly endpoints: readonly DeclaredEndpoint[] | undefined;
  /** Of status hooks, the newest first; none: there are no status hooks. */
  readonly secrets: readonly string[];
  /** The one that is used first, then those that were; none: one is derived, or made. */
  readonly encryptionKeys: () => Promise<readonly string[]>;
  readonly overlapMs: number;
  readonly allowHttp: boolean;
  readonly allowAddresses: readonly string[];
  readonly proxy: URL | undefined;
  readonly hostsOf: AllowedHosts;
  readonly maxEndpoints: number;
  readonly retryMs: readonly number[];
  readonly hideAnswers: boolean;
}

/** How the ids of endpoints of the options begin; no other id does. */
export const DECLARED_PREFIX = '00000000-';
