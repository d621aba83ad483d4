import type { JobEntity } from '../../entities/job.entity.js';
import type { Script, SqlValue } from '../dialects/sql.js';
import { extrasOf, kindOf, readyOf } from '../job-of-draft.js';
import type { InsertResult, JobDraft, JobTerms, KeyHolder } from '../store.js';

/** What jobs that are enqueued together mostly have in common. */
export const SHARED: readonly string[] = [
  'tenant_id',
  'user_id',
  'idempotency_key',
  'request_hash',
  'type',
  'type_version',
  'group_name',
  'queue',
  'channel',
  'kind',
  'priority',
  'status',
  'ready',
  'sequence',
  'expires_at_ms',
  'timeout_sec',
  'max_retries',
  'retry_delay_sec',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
  'extras',
];

/** What decides whether two jobs can share a statement; the type settles the rest. */
const TERMS: readonly (keyof JobTerms)[] = [
  'type',
  'tenantId',
  'userId',
  'channel',
  'priority',
  'runAtMs',
  'delayMs',
  'expiresAtMs',
  'timeoutSec',
  'maxRetries',
  'retryDelaySec',
  'state',
  'tags',
  'meta',
  'upstreamJobId',
];

/** Another job has the id that a draft came with. */
export const ID_TAKEN: InsertResult = { outcome: 'id_taken' };

/** How drafts are stored; alone, and in somebody's transaction. */
export interface Inserts {
  insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]>;
  insertAll(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]>;
  insertLocked(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]>;
  insertAllLocked(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]>;
  /** What is read from here on is still so when it is written. */
  lock(): Script<void>;
  findByKeyToWrite(tenantId: string, key: string): Script<JobEntity | undefined>;
}

/** Whether jobs can share a statement. */
export function areAlike(a: JobDraft, b: JobDraft): boolean {
  return (
    (a.limitKey === null) === (b.limitKey === null) &&
    (a.extras === b.extras || (extrasOf(a) === extrasOf(b) && isBlocked(a) === isBlocked(b))) &&
    (a.terms === b.terms || TERMS.every((name) => a.terms[name] === b.terms[name]))
  );
}

function isBlocked({ blocked }: JobDraft): boolean {
  return (blocked?.by ?? 0) > 0;
}

/** The values of {@link SHARED}. */
export function sharedOf(draft: JobDraft, due: boolean): SqlValue[] {
  const { terms } = draft;
  return [
    terms.tenantId,
    terms.userId,
    null,
    null,
    terms.type,
    terms.typeVersion,
    terms.group,
    terms.queue,
    terms.channel,
    kindOf(draft, due),
    terms.priority,
    'waiting',
    readyOf(draft, due),
    1,
    terms.expiresAtMs,
    terms.timeoutSec,
    terms.maxRetries,
    terms.retryDelaySec,
    terms.state,
    terms.tags,
    terms.meta,
    terms.upstreamJobId,
    extrasOf(draft),
  ];
}
