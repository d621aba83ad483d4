import { JobEntity } from '../../../entities/job.entity.js';
import type { JobKind } from '../../../model/job.js';
import { NIL_TENANT } from '../../../model/tenant.js';
import type { ClaimRequest } from '../../store.js';
import { markClaimed } from '../../typeorm/claimed-job.js';
import { msOfSeq, msOfSeqSql } from '../shared/row-numbers.js';
import type { Row } from '../sql.js';

/** The most usual values; what has them is not sent. */
const USUAL = { typeVersion: 1, sequence: 2, retryDelaySec: 10, revision: 1 } as const;

/**
 * What a claim returns. A value costs the server, the wire and this process about a tenth of a
 * microsecond each, a NULL next to nothing: so what is as usual comes as NULL, and what follows from
 * something else, or was set by the claim, does not come at all. One parameter: the sole type.
 */
export const CLAIMED = [
  'seq',
  'job_id',
  `NULLIF(tenant_id, '${NIL_TENANT}')`,
  'user_id',
  'idempotency_key',
  'NULLIF(type, ?::text)',
  `NULLIF(type_version, ${USUAL.typeVersion})`,
  "NULLIF(channel, '')",
  "NULLIF(kind, 'generic')",
  'NULLIF(priority, 0)',
  `NULLIF(sequence, ${USUAL.sequence})`,
  `NULLIF(run_at_ms, ${msOfSeqSql('seq')})`,
  'expires_at_ms',
  'NULLIF(progress, 0)',
  'progress_details',
  'completed',
  'total',
  'NULLIF(timeout_sec, 0)',
  'NULLIF(max_retries, 0)',
  `NULLIF(retry_delay_sec, ${USUAL.retryDelaySec})`,
  'NULLIF(retries, 0)',
  'NULLIF(lost, 0)',
  `NULLIF(revision, ${USUAL.revision})`,
  'params',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
  'extras',
].join(', ');

/** The job as the claim left it. The casts state what the columns' declared types guarantee. */
export function claimedJob(
  row: Row,
  {
    request,
    nowMs,
    prefix,
    soleType,
  }: {
    readonly request: ClaimRequest;
    readonly nowMs: number;
    /** Of the ids of runs. */
    readonly prefix: string;
    readonly soleType: string;
  },
): JobEntity {
  const job = new JobEntity();
  const seq = row[0] as number;
  const id = row[1] as string;
  const type = (row[5] as string | null) ?? soleType;
  const scheduledAtMs = msOfSeq(seq);
  job.seq = seq;
  job.id = id;
  job.tenantId = (row[2] as string | null) ?? NIL_TENANT;
  job.userId = row[3] as string | null;
  job.idempotencyKey = row[4] as string | null;
  job.type = type;
  job.typeVersion = (row[6] as number | null) ?? USUAL.typeVersion;
  // A type's id is its group and its name.
  job.group = type.slice(0, type.indexOf(':'));
  job.channel = (row[7] as string | null) ?? '';
  job.kind = (row[8] as JobKind | null) ?? 'generic';
  job.priority = (row[9] as number | null) ?? 0;
  job.sequence = (row[10] as number | null) ?? USUAL.sequence;
  job.scheduledAtMs = scheduledAtMs;
  job.runAtMs = (row[11] as number | null) ?? scheduledAtMs;
  job.expiresAtMs = row[12] as number | null;
  job.progress = (row[13] as number | null) ?? 0;
  job.progressDetails = row[14] as string | null;
  job.completed = row[15] as number | null;
  job.total = row[16] as number | null;
  job.timeoutSec = (row[17] as number | null) ?? 0;
  job.maxRetries = (row[18] as number | null) ?? 0;
  job.retryDelaySec = (row[19] as number | null) ?? USUAL.retryDelaySec;
  job.retries = (row[20] as number | null) ?? 0;
  job.lost = (row[21] as number | null) ?? 0;
  job.revision = (row[22] as number | null) ?? USUAL.revision;
  job.runId = prefix + id.slice(24);
  job.params = row[23] as string;
  job.state = row[24] as string | null;
  job.tags = row[25] as string | null;
  job.meta = row[26] as string | null;
  job.upstreamJobId = row[27] as string | null;
  job.extras = row[28] as number | null;
  markClaimed(job, request, nowMs);
  return job;
}
