import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { JobKind, RunOutcome } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import { instant } from './columns.js';
import type { JobExtrasEntity } from './job-extras.entity.js';

/**
 * A job as stored: instants are Unix milliseconds of the database's clock, JSON is text as
 * accepted. The public shape is `Job`.
 */
@Entity({ name: 'jobs', synchronize: false })
export class JobEntity {
  /** Row number: the age that breaks ties of a claim; never on the wire. */
  @PrimaryColumn({ name: 'seq', type: 'integer' })
  seq: number;

  @Column({ name: 'job_id', type: 'text' })
  id: string;

  @Column({ name: 'tenant_id', type: 'text' })
  tenantId: string;

  @Column({ name: 'user_id', type: 'text', nullable: true })
  userId: string | null;

  @Column({ name: 'idempotency_key', type: 'text', nullable: true })
  idempotencyKey: string | null;

  /** SHA-256 of type and canonical params as received; only with an idempotency key. */
  @Column({ name: 'request_hash', type: 'text', nullable: true })
  requestHash: string | null;

  @Column({ name: 'type', type: 'text' })
  type: string;

  @Column({ name: 'type_version', type: 'integer' })
  typeVersion: number;

  @Column({ name: 'group_name', type: 'text' })
  group: string;

  @Column({ name: 'queue', type: 'text' })
  queue: string;

  @Column({ name: 'channel', type: 'text' })
  channel: string;

  @Column({ name: 'kind', type: 'text' })
  kind: JobKind;

  @Column({ name: 'priority', type: 'integer' })
  priority: number;

  @Column({ name: 'status', type: 'text' })
  status: JobStatus;

  /**
   * While waiting and due, so that a claim may take it: 1, or 2 where it has a `limitKey`. While it
   * waits for other jobs, or for a signal without a deadline: -1. Else 0.
   */
  @Column({ name: 'ready', type: 'integer' })
  ready: number;

  /** Grows with each change of status; the version of every compare-and-set. */
  @Column({ name: 'sequence', type: 'integer' })
  sequence: number;

  @Column(instant('scheduled_at_ms'))
  scheduledAtMs: number;

  @Column(instant('run_at_ms'))
  runAtMs: number;

  @Column(instant('updated_at_ms'))
  updatedAtMs: number;

  @Column(instant('started_at_ms', true))
  startedAtMs: number | null;

  @Column(instant('finished_at_ms', true))
  finishedAtMs: number | null;

  @Column(instant('expires_at_ms', true))
  expiresAtMs: number | null;

  @Column(instant('eta_ms', true))
  etaMs: number | null;

  @Column(instant('cancel_requested_at_ms', true))
  cancelRequestedAtMs: number | null;

  @Column({ name: 'locked_by', type: 'text', nullable: true })
  lockedBy: string | null;

  @Column({ name: 'progress', type: 'double precision' })
  progress: number;

  @Column({ name: 'progress_details', type: 'text', nullable: true })
  progressDetails: string | null;

  @Column({ name: 'completed', type: 'double precision', nullable: true })
  completed: number | null;

  @Column({ name: 'total', type: 'double precision', nullable: true })
  total: number | null;

  @Column({ name: 'details', type: 'text', nullable: true })
  details: string | null;

  @Column({ name: 'timeout_sec', type: 'double precision' })
  timeoutSec: number;

  @Column({ name: 'max_retries', type: 'integer' })
  maxRetries: number;

  @Column({ name: 'retry_delay_sec', type: 'double precision' })
  retryDelaySec: number;

  @Column({ name: 'retries', type: 'integer' })
  retries: number;

  @Column({ name: 'lost', type: 'integer' })
  lost: number;

  @Column({ name: 'revision', type: 'integer' })
  revision: number;

  /** The run that holds the job, or the last one of an ended job: the fence of every write. */
  @Column({ name: 'run_id', type: 'text', nullable: true })
  runId: string | null;

  @Column({ name: 'worker_id', type: 'text', nullable: true })
  workerId: string | null;

  /** End of the lease by the database's clock; null when nobody holds the job. */
  @Column(instant('lease_until_ms', true))
  leaseUntilMs: number | null;

  /** How the last run of an ended job ended, where its status does not say. */
  @Column({ name: 'run_outcome', type: 'text', nullable: true })
  runOutcome: RunOutcome | null;

  @Column({ name: 'error', type: 'text', nullable: true })
  error: string | null;

  /** JSON text. */
  @Column({ name: 'result', type: 'text', nullable: true })
  result: string | null;

  /** JSON text. */
  @Column({ name: 'params', type: 'text' })
  params: string;

  /** The checkpoint, JSON text. */
  @Column({ name: 'state', type: 'text', nullable: true })
  state: string | null;

  /** JSON text of an array of strings. */
  @Column({ name: 'tags', type: 'text', nullable: true })
  tags: string | null;

  /** JSON text of an object. */
  @Column({ name: 'meta', type: 'text', nullable: true })
  meta: string | null;

  @Column({ name: 'upstream_job_id', type: 'text', nullable: true })
  upstreamJobId: string | null;

  /** What limits count it by, part by part; null where its type had no limit when it was enqueued. */
  @Column({ name: 'limit_key', type: 'text', nullable: true })
  limitKey: string | null;

  /** What stands beside the row, bit by bit (`EXTRA`); null for a plain job. */
  @Column({ name: 'extras', type: 'integer', nullable: true })
  extras: number | null;

  /** That, where it was read. */
  beside?: JobExtrasEntity | undefined;
}

/** A property of a job that is a column of its table. */
export type JobField = Exclude<keyof JobEntity, 'beside'>;
