import { NIL_TENANT } from '../../model/tenant.js';
import type { TableNames } from '../typeorm/table-names.js';

/**
 * The first schema, for MySQL 8 and MariaDB. Never edited after release. The columns are those of
 * SQLite (`0001-initial.ts`), and so is the row number: the time in the job's id, which is the
 * clustered key, so that what is enqueued together lies together.
 *
 * - Neither server has partial indexes. `jobs_phase` stands in for most of them; columns that are
 *   computed and null where a row does not belong to an index stand in for the rest.
 * - A row that grows is moved, which costs more than all else that a claim does. So ids and statuses
 *   have a fixed length, and `room` keeps free what the claim will fill.
 * - The collation compares by code point, and trailing spaces count; its name is the server's own.
 *
 * Each statement may be repeated: changes of a schema cannot be rolled back here, and whoever boots
 * next goes on where another was ended.
 */
export function initialMysqlSchema(t: TableNames, collation: string): readonly string[] {
  const varied = (length: number): string => `VARCHAR(${length})`;
  const word = (length: number): string => `CHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
  const id = word(36);
  const text = 'LONGTEXT';
  const created = `ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${collation}`;
  return [
    `CREATE TABLE IF NOT EXISTS ${t.jobs} (
      seq BIGINT NOT NULL PRIMARY KEY,
      job_id ${id} NOT NULL,
      tenant_id ${varied(64)} NOT NULL,
      user_id ${varied(64)},
      idempotency_key ${varied(255)},
      request_hash ${word(64)},
      type ${varied(129)} NOT NULL,
      type_version INT NOT NULL,
      group_name ${varied(64)} NOT NULL,
      queue ${varied(64)} NOT NULL,
      channel ${varied(64)} NOT NULL,
      kind ${word(12)} NOT NULL,
      priority INT NOT NULL,
      status ${word(12)} NOT NULL,
      ready INT NOT NULL,
      sequence INT NOT NULL,
      scheduled_at_ms BIGINT NOT NULL,
      run_at_ms BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      started_at_ms BIGINT,
      finished_at_ms BIGINT,
      expires_at_ms BIGINT,
      eta_ms BIGINT,
      cancel_requested_at_ms BIGINT,
      locked_by ${id},
      progress DOUBLE NOT NULL DEFAULT 0,
      progress_details ${text},
      completed DOUBLE,
      total DOUBLE,
      details ${text},
      timeout_sec DOUBLE NOT NULL,
      max_retries INT NOT NULL,
      retry_delay_sec DOUBLE NOT NULL,
      retries INT NOT NULL DEFAULT 0,
      lost INT NOT NULL DEFAULT 0,
      revision INT NOT NULL DEFAULT 0,
      run_id ${id},
      worker_id ${id},
      lease_until_ms BIGINT,
      run_outcome ${word(12)},
      error ${text},
      result ${text},
      params ${text} NOT NULL,
      state ${text},
      tags ${text},
      meta ${text},
      upstream_job_id ${id},
      limit_key ${varied(520)},
      room BINARY(110) DEFAULT '',
      phase_at_ms BIGINT GENERATED ALWAYS AS (COALESCE(finished_at_ms, lease_until_ms, run_at_ms)) STORED,
      overdue_at_ms BIGINT GENERATED ALWAYS AS (CASE WHEN revision = 0 AND finished_at_ms IS NULL AND status = 'waiting' THEN expires_at_ms END) STORED,
      other_tenant_id ${varied(64)} GENERATED ALWAYS AS (NULLIF(tenant_id, '${NIL_TENANT}')) STORED,
      UNIQUE INDEX ${t.index('jobs_key')} (idempotency_key, tenant_id),
      INDEX ${t.index('jobs_ready')} (ready, type, channel, limit_key, priority DESC, run_at_ms, seq),
      INDEX ${t.index('jobs_phase')} (status, ready, phase_at_ms, worker_id),
      INDEX ${t.index('jobs_overdue')} (overdue_at_ms),
      INDEX ${t.index('jobs_tenant')} (other_tenant_id, seq),
      INDEX ${t.index('jobs_user')} (user_id, seq),
      INDEX ${t.index('jobs_upstream')} (upstream_job_id, seq)
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.runs} (
      run_id ${id} NOT NULL PRIMARY KEY,
      job_id ${id} NOT NULL,
      revision INT NOT NULL,
      worker_id ${id},
      started_at_ms BIGINT,
      updated_at_ms BIGINT NOT NULL,
      ended_at_ms BIGINT,
      outcome ${word(12)} NOT NULL,
      error ${text},
      completed DOUBLE,
      total DOUBLE,
      INDEX ${t.index('job_runs_job')} (job_id, revision)
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.types} (
      type_id ${varied(129)} NOT NULL PRIMARY KEY,
      description ${text} NOT NULL,
      group_name ${varied(64)} NOT NULL,
      name ${varied(64)} NOT NULL,
      version INT NOT NULL,
      timeout_sec DOUBLE NOT NULL,
      max_retries INT NOT NULL,
      retry_delay_sec DOUBLE NOT NULL,
      suspendable INT NOT NULL
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.groups} (
      name ${varied(64)} NOT NULL PRIMARY KEY,
      queue_name ${varied(64)} NOT NULL,
      description ${text} NOT NULL
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.queues} (
      name ${varied(64)} NOT NULL PRIMARY KEY,
      paused INT NOT NULL,
      updated_at_ms BIGINT NOT NULL
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.workers} (
      worker_id ${id} NOT NULL PRIMARY KEY,
      host ${varied(255)} NOT NULL,
      pid INT NOT NULL,
      version ${varied(64)} NOT NULL,
      queues ${text} NOT NULL,
      started_at_ms BIGINT NOT NULL,
      heartbeat_at_ms BIGINT NOT NULL
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.logs} (
      seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
      job_id ${id} NOT NULL,
      run_id ${id} NOT NULL,
      at_ms BIGINT NOT NULL,
      level INT NOT NULL,
      message ${text} NOT NULL,
      fields ${text},
      INDEX ${t.index('job_logs_job')} (job_id, seq)
    ) ${created}`,
    `CREATE TABLE IF NOT EXISTS ${t.limits} (
      scope ${varied(140)} NOT NULL,
      limit_key ${varied(520)} NOT NULL,
      turn ${varied(520)},
      taken ${text},
      until_ms BIGINT,
      PRIMARY KEY (scope, limit_key),
      INDEX ${t.index('job_limits_until')} (until_ms)
    ) ${created}`,
  ];
}
