import type { JobEntity } from '../../entities/job.entity.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { jobOfDraft } from '../job-of-draft.js';
import type { InsertResult, JobDraft } from '../store.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import type { TableNames } from './table-names.js';

const COLUMNS = [
  'job_id',
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
  'scheduled_at_ms',
  'run_at_ms',
  'updated_at_ms',
  'expires_at_ms',
  'timeout_sec',
  'max_retries',
  'retry_delay_sec',
  'params',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
] as const;

/** Rows of one statement: enough to share a round trip, few enough to stay in the statement cache. */
const CHUNKS = [32, 8, 1] as const;

/** Stores drafts and finds the jobs that hold their idempotency keys. */
export class InsertScript {
  readonly #t: TableNames;
  readonly #statements = new Map<number, string>();
  readonly #withKey: string;

  constructor(tables: TableNames) {
    this.#t = tables;
    for (const rows of CHUNKS) {
      this.#statements.set(rows, `${this.#insert(rows)}`);
    }
    this.#withKey = `${this.#insert(1)} ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING seq`;
  }

  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    const results: InsertResult[] = [];
    const plain: JobEntity[] = [];
    for (const draft of drafts) {
      const job = jobOfDraft(draft, nowMs);
      if (draft.idempotencyKey === null) {
        plain.push(job);
        results.push({ outcome: 'created', job });
      } else {
        results.push(yield* this.#insertKeyed(job, draft.idempotencyKey));
      }
    }
    yield* this.#insertPlain(plain);
    return results;
  }

  /**
   * Stores all drafts or none: keys are looked at first, in the same transaction, and when one is
   * taken by a job that `refuses`, nothing is stored and the outcomes so far are returned.
   */
  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (taken: InsertResult, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    for (const [index, { tenantId, idempotencyKey }] of drafts.entries()) {
      const taken =
        idempotencyKey === null ? undefined : yield* this.findByKey(tenantId, idempotencyKey);
      if (taken !== undefined && refuses({ outcome: 'taken', job: taken }, index)) {
        return [];
      }
    }
    return yield* this.insert(drafts, nowMs);
  }

  /** The job that holds a key of a tenant. */
  *findByKey(tenantId: string, key: string): Script<JobEntity | undefined> {
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    const [row] = rows;
    return row === undefined ? undefined : jobOfRow(row);
  }

  *#insertPlain(jobs: readonly JobEntity[]): Script<void> {
    let at = 0;
    for (const size of CHUNKS) {
      const sql = this.#statements.get(size) ?? '';
      for (; jobs.length - at >= size; at += size) {
        yield* query(
          sql,
          size === 1 ? valuesAt(jobs, at) : jobs.slice(at, at + size).flatMap(valuesOf),
        );
      }
    }
  }

  *#insertKeyed(job: JobEntity, key: string): Script<InsertResult> {
    const rows = yield* query(this.#withKey, valuesOf(job));
    if (rows.length === 1) {
      return { outcome: 'created', job };
    }
    const existing = yield* this.findByKey(job.tenantId, key);
    if (existing === undefined) {
      throw new Error(
        `The idempotency key of job ${job.id} was taken and is free again within one transaction.`,
      );
    }
    return { outcome: 'taken', job: existing };
  }

  #insert(rows: number): string {
    const row = `(${COLUMNS.map(() => '?').join(', ')})`;
    const values = Array.from({ length: rows }, () => row).join(', ');
    return `INSERT INTO ${this.#t.jobs} (${COLUMNS.join(', ')}) VALUES ${values}`;
  }
}

function valuesAt(jobs: readonly JobEntity[], at: number): SqlValue[] {
  const job = jobs[at];
  return job === undefined ? [] : valuesOf(job);
}

function valuesOf(job: JobEntity): SqlValue[] {
  return [
    job.id,
    job.tenantId,
    job.userId,
    job.idempotencyKey,
    job.requestHash,
    job.type,
    job.typeVersion,
    job.group,
    job.queue,
    job.channel,
    job.kind,
    job.priority,
    job.status,
    job.ready,
    job.sequence,
    job.scheduledAtMs,
    job.runAtMs,
    job.updatedAtMs,
    job.expiresAtMs,
    job.timeoutSec,
    job.maxRetries,
    job.retryDelaySec,
    job.params,
    job.state,
    job.tags,
    job.meta,
    job.upstreamJobId,
  ];
}
