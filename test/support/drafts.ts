import { NIL_TENANT } from '../../lib/model/tenant.js';
import type { JobDraft, JobTerms } from '../../lib/store/store.js';

/** What a draft of the type `default:plain` says that was told nothing. */
export const PLAIN_TERMS: JobTerms = {
  tenantId: NIL_TENANT,
  userId: null,
  type: 'default:plain',
  typeVersion: 1,
  group: 'default',
  queue: 'default',
  channel: '',
  priority: 0,
  runAtMs: undefined,
  delayMs: 0,
  expiresAtMs: null,
  timeoutSec: 0,
  maxRetries: 0,
  retryDelaySec: 10,
  state: null,
  tags: null,
  meta: null,
  upstreamJobId: null,
};

/** A draft for tests of what is below the engine. */
export function draftOf(own: Partial<JobDraft> = {}): JobDraft {
  return {
    id: undefined,
    idempotencyKey: null,
    requestHash: null,
    limitKey: null,
    extras: null,
    params: '{}',
    terms: PLAIN_TERMS,
    ...own,
  };
}

/** One that waits for those jobs. */
export function draftBehind(ids: readonly string[]): JobDraft {
  return draftOf({
    extras: {
      dependsOn: ids.map((on) => ({ on, onFailure: 'fail' })),
      uniqueClaim: null,
      statusHook: null,
      scheduleId: null,
      isHeard: false,
    },
  });
}
