import { NIL_TENANT } from '../../model/tenant.js';
import type { TableNames } from '../typeorm/table-names.js';

/**
 * The first schema, for SQLite. Never edited after release.
 *
 * Indexes of `jobs`, each for one query:
 * - ready: the claim. Partial, so it holds just the rows that may be taken: a million delayed,
 *   running or ended rows cost a claim nothing. Its order is the claim's order within a type and a channel.
 * - due: what promotion looks at, and the time of the next promotion.
 * - lease: renewal, the reaper and remote control; only runs that somebody holds.
 * - expiry: jobs that may expire unstarted.
 * - ended: retention, and lists by a final status.
 * - suspended: counts and lists of suspended jobs.
 * - key: the idempotency keys; the key comes first, so that lists find it by its beginning too.
 * - tenant: the default order of a list, for one tenant of several. Applications without tenants
 *   have one index less to keep, which is a sixth of the cost of a single enqueue.
 * - user, upstream: lists of a user's jobs, and of what a job has enqueued; empty for plain jobs.
 * Ids and the default order of a list need none: both are the row number (`row-numbers.ts`).
 */
export function initialSchema(t: TableNames): readonly string[] {
  return [
    `CREATE TABLE ${t.jobs} (
      seq INTEGER PRIMARY KEY,
      job_id TEXT NOT NULL,
      tenant_id TEXT NOT NULL,
      user_id TEXT,
      idempotency_key TEXT,
      request_hash TEXT,
      type TEXT NOT NULL,
      type_version INTEGER NOT NULL,
      group_name TEXT NOT NULL,
      queue TEXT NOT NULL,
      channel TEXT NOT NULL,
      kind TEXT NOT NULL,
      priority INTEGER NOT NULL,
      status TEXT NOT NULL,
      ready INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      scheduled_at_ms BIGINT NOT NULL,
      run_at_ms BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      started_at_ms BIGINT,
      finished_at_ms BIGINT,
      expires_at_ms BIGINT,
      eta_ms BIGINT,
      cancel_requested_at_ms BIGINT,
      locked_by TEXT,
      progress REAL NOT NULL DEFAULT 0,
      progress_details TEXT,
      completed REAL,
      total REAL,
      details TEXT,
      timeout_sec REAL NOT NULL,
      max_retries INTEGER NOT NULL,
      retry_delay_sec REAL NOT NULL,
      retries INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      revision INTEGER NOT NULL DEFAULT 0,
      run_id TEXT,
      worker_id TEXT,
      lease_until_ms BIGINT,
      run_outcome TEXT,
      error TEXT,
      result TEXT,
      params TEXT NOT NULL,
      state TEXT,
      tags TEXT,
      meta TEXT,
      upstream_job_id TEXT
    )`,
    `CREATE INDEX ${t.index('jobs_ready')} ON ${t.jobs} (type, channel, priority DESC, run_at_ms) WHERE ready = 1`,
    `CREATE INDEX ${t.index('jobs_due')} ON ${t.jobs} (run_at_ms) WHERE status = 'waiting' AND ready = 0`,
    `CREATE INDEX ${t.index('jobs_lease')} ON ${t.jobs} (lease_until_ms) WHERE lease_until_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_expiry')} ON ${t.jobs} (expires_at_ms) WHERE expires_at_ms IS NOT NULL AND finished_at_ms IS NULL`,
    `CREATE INDEX ${t.index('jobs_ended')} ON ${t.jobs} (status, finished_at_ms) WHERE finished_at_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_suspended')} ON ${t.jobs} (seq) WHERE status = 'suspended'`,
    `CREATE UNIQUE INDEX ${t.index('jobs_key')} ON ${t.jobs} (idempotency_key, tenant_id) WHERE idempotency_key IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_tenant')} ON ${t.jobs} (tenant_id) WHERE tenant_id <> '${NIL_TENANT}'`,
    `CREATE INDEX ${t.index('jobs_user')} ON ${t.jobs} (user_id) WHERE user_id IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_upstream')} ON ${t.jobs} (upstream_job_id) WHERE upstream_job_id IS NOT NULL`,
    `CREATE TABLE ${t.runs} (
      run_id TEXT PRIMARY KEY,
      job_id TEXT NOT NULL,
      revision INTEGER NOT NULL,
      worker_id TEXT,
      started_at_ms BIGINT,
      updated_at_ms BIGINT NOT NULL,
      ended_at_ms BIGINT,
      outcome TEXT NOT NULL,
      error TEXT,
      completed REAL,
      total REAL
    ) WITHOUT ROWID`,
    `CREATE INDEX ${t.index('job_runs_job')} ON ${t.runs} (job_id, revision)`,
    `CREATE TABLE ${t.types} (
      type_id TEXT PRIMARY KEY,
      description TEXT NOT NULL,
      group_name TEXT NOT NULL,
      name TEXT NOT NULL,
      version INTEGER NOT NULL,
      timeout_sec REAL NOT NULL,
      max_retries INTEGER NOT NULL,
      retry_delay_sec REAL NOT NULL,
      suspendable INTEGER NOT NULL
    ) WITHOUT ROWID`,
    `CREATE TABLE ${t.groups} (
      name TEXT PRIMARY KEY,
      queue_name TEXT NOT NULL,
      description TEXT NOT NULL
    ) WITHOUT ROWID`,
    `CREATE TABLE ${t.queues} (
      name TEXT PRIMARY KEY,
      paused INTEGER NOT NULL,
      updated_at_ms BIGINT NOT NULL
    ) WITHOUT ROWID`,
    `CREATE TABLE ${t.workers} (
      worker_id TEXT PRIMARY KEY,
      host TEXT NOT NULL,
      pid INTEGER NOT NULL,
      version TEXT NOT NULL,
      queues TEXT NOT NULL,
      started_at_ms BIGINT NOT NULL,
      heartbeat_at_ms BIGINT NOT NULL
    ) WITHOUT ROWID`,
    `CREATE TABLE ${t.logs} (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      job_id TEXT NOT NULL,
      run_id TEXT NOT NULL,
      at_ms BIGINT NOT NULL,
      level INTEGER NOT NULL,
      message TEXT NOT NULL,
      fields TEXT
    )`,
    `CREATE INDEX ${t.index('job_logs_job')} ON ${t.logs} (job_id, seq)`,
  ];
}
