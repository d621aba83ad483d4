import { JobEntity, type JobField } from '../../entities/job.entity.js';
import type { JobKind, RunOutcome } from '../../model/job.js';
import type { JobStatus } from '../../model/job-status.js';
import type { Row, SqlValue } from '../dialects/sql.js';

/** Property → column of the jobs table, in the order in which every statement reads them. */
export const JOB_COLUMNS = {
  seq: 'seq',
  id: 'job_id',
  tenantId: 'tenant_id',
  userId: 'user_id',
  idempotencyKey: 'idempotency_key',
  requestHash: 'request_hash',
  type: 'type',
  typeVersion: 'type_version',
  group: 'group_name',
  queue: 'queue',
  channel: 'channel',
  kind: 'kind',
  priority: 'priority',
  status: 'status',
  ready: 'ready',
  sequence: 'sequence',
  scheduledAtMs: 'scheduled_at_ms',
  runAtMs: 'run_at_ms',
  updatedAtMs: 'updated_at_ms',
  startedAtMs: 'started_at_ms',
  finishedAtMs: 'finished_at_ms',
  expiresAtMs: 'expires_at_ms',
  etaMs: 'eta_ms',
  cancelRequestedAtMs: 'cancel_requested_at_ms',
  lockedBy: 'locked_by',
  progress: 'progress',
  progressDetails: 'progress_details',
  completed: 'completed',
  total: 'total',
  details: 'details',
  timeoutSec: 'timeout_sec',
  maxRetries: 'max_retries',
  retryDelaySec: 'retry_delay_sec',
  retries: 'retries',
  lost: 'lost',
  revision: 'revision',
  runId: 'run_id',
  workerId: 'worker_id',
  leaseUntilMs: 'lease_until_ms',
  runOutcome: 'run_outcome',
  error: 'error',
  result: 'result',
  params: 'params',
  state: 'state',
  tags: 'tags',
  meta: 'meta',
  upstreamJobId: 'upstream_job_id',
  limitKey: 'limit_key',
  extras: 'extras',
} as const satisfies Record<JobField, string>;

/** All columns of the jobs table, for a select list or RETURNING. */
export const ALL_JOB_COLUMNS = Object.values(JOB_COLUMNS).join(', ');

// Mapped by hand, by position: this runs once for each job claimed. The casts state what the
// columns' declared types and the schema's checks guarantee.
export function jobOfRow(row: Row): JobEntity {
  const job = new JobEntity();
  job.seq = row[0] as number;
  job.id = row[1] as string;
  job.tenantId = row[2] as string;
  job.userId = row[3] as string | null;
  job.idempotencyKey = row[4] as string | null;
  job.requestHash = row[5] as string | null;
  job.type = row[6] as string;
  job.typeVersion = row[7] as number;
  job.group = row[8] as string;
  job.queue = row[9] as string;
  job.channel = row[10] as string;
  job.kind = row[11] as JobKind;
  job.priority = row[12] as number;
  job.status = row[13] as JobStatus;
  job.ready = row[14] as number;
  job.sequence = row[15] as number;
  job.scheduledAtMs = row[16] as number;
  job.runAtMs = row[17] as number;
  job.updatedAtMs = row[18] as number;
  job.startedAtMs = row[19] as number | null;
  job.finishedAtMs = row[20] as number | null;
  job.expiresAtMs = row[21] as number | null;
  job.etaMs = row[22] as number | null;
  job.cancelRequestedAtMs = row[23] as number | null;
  job.lockedBy = row[24] as string | null;
  job.progress = row[25] as number;
  job.progressDetails = row[26] as string | null;
  job.completed = row[27] as number | null;
  job.total = row[28] as number | null;
  job.details = row[29] as string | null;
  job.timeoutSec = row[30] as number;
  job.maxRetries = row[31] as number;
  job.retryDelaySec = row[32] as number;
  job.retries = row[33] as number;
  job.lost = row[34] as number;
  job.revision = row[35] as number;
  job.runId = row[36] as string | null;
  job.workerId = row[37] as string | null;
  job.leaseUntilMs = row[38] as number | null;
  job.runOutcome = row[39] as RunOutcome | null;
  job.error = row[40] as string | null;
  job.result = row[41] as string | null;
  job.params = row[42] as string;
  job.state = row[43] as string | null;
  job.tags = row[44] as string | null;
  job.meta = row[45] as string | null;
  job.upstreamJobId = row[46] as string | null;
  job.limitKey = row[47] as string | null;
  // Where a row must not grow, none are 0.
  job.extras = (row[48] as number | null) || null;
  return job;
}

/** The value of a property as a statement binds it. */
export function boundValue(value: unknown): SqlValue {
  return typeof value === 'boolean' ? Number(value) : ((value ?? null) as SqlValue);
}
