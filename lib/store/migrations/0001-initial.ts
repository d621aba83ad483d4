import { NIL_TENANT } from '../../model/tenant.js';
import { msOfSeqSql } from '../dialects/shared/row-numbers.js';
import { jobIdSql } from '../dialects/sqlite/job-ids.js';
import type { TableNames } from '../typeorm/table-names.js';

/** The tenant of a row: most applications have one, which is then not written a million times. */
const TENANT = `COALESCE(tenant_id, '${NIL_TENANT}')`;

/** When a row was enqueued. */
const ENQUEUED = msOfSeqSql('seq');

/** Columns that a row holds as the view shows them. */
const OWN = [
  'seq',
  'user_id',
  'idempotency_key',
  'request_hash',
  'channel',
  'priority',
  'status',
  'ready',
  'sequence',
  'run_at_ms',
  'started_at_ms',
  'finished_at_ms',
  'expires_at_ms',
  'eta_ms',
  'cancel_requested_at_ms',
  'locked_by',
  'progress',
  'progress_details',
  'completed',
  'total',
  'details',
  'retries',
  'lost',
  'revision',
  'run_id',
  'worker_id',
  'lease_until_ms',
  'run_outcome',
  'error',
  'result',
  'params',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
  'limit_key',
  'declaration',
];

/** What a job was enqueued as, and how its row says so. */
const SETTLED = [
  'seq',
  'job_id',
  'scheduled_at_ms',
  'type',
  'type_version',
  'group_name',
  'queue',
  'declaration',
  'other_tenant_id',
];

/** Columns that a row has only where they differ from what is usual. */
const USUAL = ['updated_at_ms', 'timeout_sec', 'max_retries', 'retry_delay_sec'];

/**
 * The first schema, for SQLite. Never edited after release.
 *
 * Jobs are rows of `job_rows`, and `jobs` is the view that shows them with the columns that are
 * promised. A row leaves out what follows from its number (id, time of enqueuing), what its type
 * declares, and what is as usual: half the bytes, and with them half the cost of an enqueue, since
 * that is mostly pages to be logged and copied back. See docs/adr/0010.
 *
 * Indexes of `job_rows`, each for one query:
 * - ready: the claim. Partial, so it holds just the rows that may be taken: a million delayed,
 *   running or ended rows cost a claim nothing. Its order is the claim's order within a type and a channel.
 * - turns: the claim where limits count jobs by keys, which take turns. A job is in this one or in ready.
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
    `CREATE TABLE ${t.declarations} (
      declaration INTEGER PRIMARY KEY,
      type TEXT NOT NULL,
      type_version INTEGER NOT NULL,
      group_name TEXT NOT NULL,
      queue TEXT NOT NULL,
      timeout_sec REAL NOT NULL,
      max_retries INTEGER NOT NULL,
      retry_delay_sec REAL NOT NULL
    )`,
    `CREATE UNIQUE INDEX ${t.index('job_declarations_type')} ON ${t.declarations} (type, type_version, group_name, queue)`,
    // Rows, and every process in its memory, say declarations by number.
    `CREATE TRIGGER ${t.index('job_declarations_kept')} BEFORE DELETE ON ${t.declarations}
     BEGIN SELECT RAISE(IGNORE); END`,
    `CREATE TABLE ${t.rows} (
      seq INTEGER PRIMARY KEY,
      declaration INTEGER NOT NULL,
      channel TEXT NOT NULL,
      priority INTEGER NOT NULL,
      ready INTEGER NOT NULL,
      run_at_ms BIGINT NOT NULL,
      id_high INTEGER NOT NULL,
      id_low INTEGER NOT NULL,
      tenant_id TEXT,
      user_id TEXT,
      idempotency_key TEXT,
      request_hash TEXT,
      kind TEXT,
      status TEXT NOT NULL DEFAULT 'waiting',
      sequence INTEGER NOT NULL DEFAULT 1,
      updated_at_ms BIGINT,
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
      timeout_sec REAL,
      max_retries INTEGER,
      retry_delay_sec REAL,
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
      upstream_job_id TEXT,
      limit_key TEXT
    )`,
    `CREATE INDEX ${t.index('jobs_ready')} ON ${t.rows} (declaration, channel, priority DESC, run_at_ms) WHERE ready = 1`,
    `CREATE INDEX ${t.index('jobs_turns')} ON ${t.rows} (declaration, channel, limit_key, priority DESC, run_at_ms) WHERE ready = 2`,
    `CREATE INDEX ${t.index('jobs_due')} ON ${t.rows} (run_at_ms) WHERE status = 'waiting' AND ready = 0`,
    `CREATE INDEX ${t.index('jobs_lease')} ON ${t.rows} (lease_until_ms) WHERE lease_until_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_expiry')} ON ${t.rows} (expires_at_ms) WHERE expires_at_ms IS NOT NULL AND finished_at_ms IS NULL`,
    `CREATE INDEX ${t.index('jobs_ended')} ON ${t.rows} (status, finished_at_ms) WHERE finished_at_ms IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_suspended')} ON ${t.rows} (seq) WHERE status = 'suspended'`,
    `CREATE UNIQUE INDEX ${t.index('jobs_key')} ON ${t.rows} (idempotency_key, ${TENANT}) WHERE idempotency_key IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_tenant')} ON ${t.rows} (tenant_id) WHERE tenant_id IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_user')} ON ${t.rows} (user_id) WHERE user_id IS NOT NULL`,
    `CREATE INDEX ${t.index('jobs_upstream')} ON ${t.rows} (upstream_job_id) WHERE upstream_job_id IS NOT NULL`,
    viewOfJobs(t),
    ...changesOfJobs(t),
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
    `CREATE TABLE ${t.limits} (
      scope TEXT NOT NULL,
      limit_key TEXT NOT NULL,
      turn TEXT,
      taken TEXT,
      until_ms BIGINT,
      PRIMARY KEY (scope, limit_key)
    ) WITHOUT ROWID`,
    `CREATE INDEX ${t.index('job_limits_until')} ON ${t.limits} (until_ms) WHERE until_ms IS NOT NULL`,
  ];
}

/** `more`: what later migrations have added, by the row `held`. */
export function viewOfJobs(t: TableNames, more: readonly string[] = []): string {
  const declared = (column: string): string =>
    `(SELECT declared.${column} FROM ${t.declarations} AS declared WHERE declared.declaration = held.declaration)`;
  const columns = [
    ...OWN.map((column) => `held.${column}`),
    ...more,
    `${jobIdSql(ENQUEUED)} AS job_id`,
    `${TENANT} AS tenant_id`,
    'held.tenant_id AS other_tenant_id',
    `${ENQUEUED} AS scheduled_at_ms`,
    `COALESCE(held.updated_at_ms, ${ENQUEUED}) AS updated_at_ms`,
    `COALESCE(held.kind, 'generic') AS kind`,
    ...['type', 'type_version', 'group_name', 'queue'].map(
      (column) => `${declared(column)} AS ${column}`,
    ),
    ...['timeout_sec', 'max_retries', 'retry_delay_sec'].map(
      (column) => `COALESCE(held.${column}, ${declared(column)}) AS ${column}`,
    ),
  ];
  return `CREATE VIEW ${t.jobs} AS SELECT ${columns.join(', ')} FROM ${t.rows} AS held`;
}

/**
 * Whoever mends a job by hand may update and delete in the view; jobs are enqueued through the
 * library. What a job was enqueued as stays: to leave such a change out in silence would be worse.
 */
export function changesOfJobs(t: TableNames, more: readonly string[] = []): readonly string[] {
  const columns = [...OWN, ...more, ...USUAL].filter((column) => !SETTLED.includes(column));
  const set = [
    ...columns.map((column) => `${column} = NEW.${column}`),
    `tenant_id = NULLIF(NEW.tenant_id, '${NIL_TENANT}')`,
    `kind = NULLIF(NEW.kind, 'generic')`,
  ];
  return [
    `CREATE TRIGGER ${t.index('jobs_update')} INSTEAD OF UPDATE OF ${columns.join(', ')}, tenant_id, kind ON ${t.jobs}
     BEGIN UPDATE ${t.rows} SET ${set.join(', ')} WHERE seq = OLD.seq; END`,
    `CREATE TRIGGER ${t.index('jobs_settled')} INSTEAD OF UPDATE OF ${SETTLED.join(', ')} ON ${t.jobs}
     WHEN ${SETTLED.map((column) => `NEW.${column} IS NOT OLD.${column}`).join(' OR ')}
     BEGIN SELECT RAISE(ABORT, 'id, type, version, group and queue of a job and the time of its enqueuing cannot be changed'); END`,
    `CREATE TRIGGER ${t.index('jobs_delete')} INSTEAD OF DELETE ON ${t.jobs}
     BEGIN DELETE FROM ${t.rows} WHERE seq = OLD.seq; END`,
  ];
}
