import { NIL_TENANT } from '../../model/tenant.js';
import type { TableNames } from '../typeorm/table-names.js';

/**
 * The first schema, for PostgreSQL. Never edited after release. The tables and what each index is
 * for are those of SQLite (`0001-initial.ts`), and so is the row number: the time in the job's id,
 * so that one b-tree serves ids, ages and lists. Text compares by code point in every database.
 *
 * Columns of a fixed width that are never NULL come first: the server finds them, and what follows
 * them, without walking through the row; what is mostly NULL comes last.
 *
 * Each claim and each end writes a new version of the row, and one entry into every index that the
 * row is in. So there are few, all partial but the key, and vacuum comes by number of dead rows, not
 * by a share of a history that grows.
 */
export function initialPostgresSchema(t: TableNames): readonly string[] {
  const text = 'TEXT COLLATE "C"';
  const vacuumed =
    'WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.05)';
  return [
    `CREATE TABLE ${t.jobs} (
      seq BIGINT PRIMARY KEY,
      scheduled_at_ms BIGINT NOT NULL,
      run_at_ms BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      timeout_sec DOUBLE PRECISION NOT NULL,
      retry_delay_sec DOUBLE PRECISION NOT NULL,
      progress DOUBLE PRECISION NOT NULL DEFAULT 0,
      ready INTEGER NOT NULL,
      priority INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      revision INTEGER NOT NULL DEFAULT 0,
      retries INTEGER NOT NULL DEFAULT 0,
      lost INTEGER NOT NULL DEFAULT 0,
      type_version INTEGER NOT NULL,
      max_retries INTEGER NOT NULL,
      status ${text} NOT NULL,
      type ${text} NOT NULL,
      channel ${text} NOT NULL,
      job_id ${text} NOT NULL,
      tenant_id ${text} NOT NULL,
      queue ${text} NOT NULL,
      group_name ${text} NOT NULL,
      kind ${text} NOT NULL,
      params ${text} NOT NULL,
      lease_until_ms BIGINT,
      started_at_ms BIGINT,
      finished_at_ms BIGINT,
      run_id ${text},
      worker_id ${text},
      expires_at_ms BIGINT,
      eta_ms BIGINT,
      idempotency_key ${text},
      user_id ${text},
      upstream_job_id ${text},
      cancel_requested_at_ms BIGINT,
      request_hash ${text},
      locked_by ${text},
      progress_details ${text},
      completed DOUBLE PRECISION,
      total DOUBLE PRECISION,
      details ${text},
      run_outcome ${text},
      error ${text},
      result ${text},
      state ${text},
      tags ${text},
      meta ${text},
      limit_key ${text}
    ) ${vacuumed}`,
    // Unlike SQLite's, an index does not end in the row number by itself, and the claim orders by it.
    `CREATE INDEX ${t.index('jobs_ready')} ON ${t.jobs} (type, channel, priority DESC, run_at_ms, seq) WHERE ready = 1`,
    `CREATE INDEX ${t.index('jobs_turns')} ON ${t.jobs} (type, channel, limit_key, priority DESC, run_at_ms, seq) WHERE ready = 2`,
    // What is at work under limits, by what they count it by.
    `CREATE INDEX ${t.index('jobs_at_work')} ON ${t.jobs} (limit_key, type, queue) WHERE lease_until_ms IS NOT NULL AND limit_key IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_due')} ON ${t.jobs} (run_at_ms) WHERE status = 'waiting' AND ready = 0`,
    // Led by the worker: each looks at its own runs many times a second, however many others run.
    `CREATE INDEX ${t.index('jobs_lease')} ON ${t.jobs} (worker_id, lease_until_ms) WHERE lease_until_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_expiry')} ON ${t.jobs} (expires_at_ms) WHERE expires_at_ms IS NOT NULL AND finished_at_ms IS NULL`,
    `CREATE INDEX ${t.index('jobs_ended')} ON ${t.jobs} (status, finished_at_ms) WHERE finished_at_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_suspended')} ON ${t.jobs} (seq) WHERE status = 'suspended'`,
    `CREATE UNIQUE INDEX ${t.index('jobs_key')} ON ${t.jobs} (idempotency_key, tenant_id) WHERE idempotency_key IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_tenant')} ON ${t.jobs} (tenant_id, seq) WHERE tenant_id <> '${NIL_TENANT}'`,
    `CREATE INDEX ${t.index('jobs_user')} ON ${t.jobs} (user_id, seq) WHERE user_id IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_upstream')} ON ${t.jobs} (upstream_job_id, seq) WHERE upstream_job_id IS NOT NULL`,
    `CREATE TABLE ${t.runs} (
      run_id ${text} PRIMARY KEY,
      job_id ${text} NOT NULL,
      revision INTEGER NOT NULL,
      worker_id ${text},
      started_at_ms BIGINT,
      updated_at_ms BIGINT NOT NULL,
      ended_at_ms BIGINT,
      outcome ${text} NOT NULL,
      error ${text},
      completed DOUBLE PRECISION,
      total DOUBLE PRECISION
    )`,
    `CREATE INDEX ${t.index('job_runs_job')} ON ${t.runs} (job_id, revision)`,
    `CREATE TABLE ${t.types} (
      type_id ${text} PRIMARY KEY,
      description ${text} NOT NULL,
      group_name ${text} NOT NULL,
      name ${text} NOT NULL,
      version INTEGER NOT NULL,
      timeout_sec DOUBLE PRECISION NOT NULL,
      max_retries INTEGER NOT NULL,
      retry_delay_sec DOUBLE PRECISION NOT NULL,
      suspendable INTEGER NOT NULL
    )`,
    `CREATE TABLE ${t.groups} (
      name ${text} PRIMARY KEY,
      queue_name ${text} NOT NULL,
      description ${text} NOT NULL
    )`,
    `CREATE TABLE ${t.queues} (
      name ${text} PRIMARY KEY,
      paused INTEGER NOT NULL,
      updated_at_ms BIGINT NOT NULL
    )`,
    `CREATE TABLE ${t.workers} (
      worker_id ${text} PRIMARY KEY,
      host ${text} NOT NULL,
      pid INTEGER NOT NULL,
      version ${text} NOT NULL,
      queues ${text} NOT NULL,
      started_at_ms BIGINT NOT NULL,
      heartbeat_at_ms BIGINT NOT NULL
    )`,
    `CREATE TABLE ${t.logs} (
      seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
      job_id ${text} NOT NULL,
      run_id ${text} NOT NULL,
      at_ms BIGINT NOT NULL,
      level INTEGER NOT NULL,
      message ${text} NOT NULL,
      fields ${text}
    )`,
    `CREATE INDEX ${t.index('job_logs_job')} ON ${t.logs} (job_id, seq)`,
    `CREATE TABLE ${t.limits} (
      scope ${text} NOT NULL,
      limit_key ${text} NOT NULL,
      turn ${text},
      taken ${text},
      until_ms BIGINT,
      PRIMARY KEY (scope, limit_key)
    )`,
    `CREATE INDEX ${t.index('job_limits_until')} ON ${t.limits} (until_ms) WHERE until_ms IS NOT NULL`,
  ];
}
