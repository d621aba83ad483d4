import type { JobEntity } from '../../entities/job.entity.js';
import { ACTIVE_STATUSES, FINAL_STATUSES, type JobStatus } from '../../model/job-status.js';
import { NIL_TENANT } from '../../model/tenant.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { seqOfId, seqOfMs } from '../dialects/sqlite/row-numbers.js';
import type { JobCounts, JobList, ListedJob, ResolvedJobQuery } from '../store.js';
import { ALL_JOB_COLUMNS, JOB_COLUMNS, jobOfRow } from './job.columns.js';
import type { TableNames } from './table-names.js';

/** Lists are counted so far. */
export const COUNT_LIMIT = 10_000;

/** So many of the newest jobs are looked at to count by type and queue. */
export const SAMPLE = 50_000;

const STATUS_CONDITIONS: readonly (readonly [JobStatus, readonly string[]])[] = [
  ['waiting', ['ready = 1', "status = 'waiting' AND ready = 0"]],
  ['suspended', ["status = 'suspended'"]],
  ...(['resuming', ...ACTIVE_STATUSES] as const).map(
    (status) => [status, [`lease_until_ms IS NOT NULL AND status = '${status}'`]] as const,
  ),
  ...FINAL_STATUSES.map(
    (status) => [status, [`status = '${status}' AND finished_at_ms IS NOT NULL`]] as const,
  ),
];

const WIDTH = Object.keys(JOB_COLUMNS).length;

interface Condition {
  readonly sql: string;
  readonly params: readonly SqlValue[];
}

/** What lists, counts and look-ups read. Column names come from a closed set, values are bound. */
export class ListScripts {
  readonly #t: TableNames;
  readonly #columns: string;

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#columns = `${ALL_JOB_COLUMNS}, EXISTS (SELECT 1 FROM ${tables.queues} WHERE name = queue AND paused = 1)`;
  }

  *find(id: string, tenantId: string | undefined): Script<ListedJob | undefined> {
    const seq = seqOfId(id);
    if (seq === undefined) {
      return undefined;
    }
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const rows = yield* query(
      `SELECT ${this.#columns} FROM ${this.#t.jobs} WHERE seq = ? AND job_id = ?${scope}`,
      tenantId === undefined ? [seq, id] : [seq, id, tenantId],
    );
    return rows.map(listedOfRow)[0];
  }

  *findByKey(tenantId: string, key: string): Script<ListedJob | undefined> {
    const rows = yield* query(
      `SELECT ${this.#columns} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    return rows.map(listedOfRow)[0];
  }

  *list(request: ResolvedJobQuery): Script<JobList> {
    const filters = filtersOf(request);
    const filter = join(filters);
    const count = yield* query(
      `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs}${filter.sql} LIMIT ${COUNT_LIMIT + 1})`,
      filter.params,
    );
    const page =
      request.after === undefined ? filter : join([...filters, afterOf(request, request.after)]);
    const offset = request.after === undefined ? (request.page - 1) * request.limit : 0;
    const rows = yield* query(
      `SELECT ${this.#columns} FROM ${this.#t.jobs}${page.sql}
       ORDER BY ${orderOf(request)
         .map((by) => `${sortKey(by.column)}${by.descending ? ' DESC' : ''}`)
         .join(', ')}
       LIMIT ? + 0 OFFSET ? + 0`,
      [...page.params, request.limit, offset],
    );
    return { jobs: rows.map(listedOfRow), count: Number(count[0]?.[0] ?? 0) };
  }

  *waitingIn(
    queue: string,
    limit: number,
    tenantId: string | undefined,
  ): Script<readonly string[]> {
    const where = join([
      { sql: "status = 'waiting'", params: [] },
      { sql: 'queue = ?', params: [queue] },
      ...(tenantId === undefined ? [] : [{ sql: 'tenant_id = ?', params: [tenantId] }]),
    ]);
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs}${where.sql} ORDER BY seq LIMIT ?`,
      [...where.params, limit],
    );
    return rows.map((row) => String(row[0]));
  }

  /**
   * Counts of a tenant, or of all, each to 10,000. Every status is counted in an index that holds
   * just its rows; types and queues are counted over the newest {@link SAMPLE} jobs, since nothing
   * on the path of a job pays for an index of theirs.
   */
  *counts(tenantId: string | undefined): Script<JobCounts> {
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const scoped = tenantId === undefined ? [] : [tenantId];
    const byStatus: Partial<Record<JobStatus, number>> = {};
    for (const [status, conditions] of STATUS_CONDITIONS) {
      let count = 0;
      for (const condition of conditions) {
        const rows = yield* query(
          `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs} WHERE ${condition}${scope} LIMIT ${COUNT_LIMIT})`,
          scoped,
        );
        count += Number(rows[0]?.[0] ?? 0);
      }
      byStatus[status] = Math.min(count, COUNT_LIMIT);
    }
    const where = tenantId === undefined ? '' : ' WHERE tenant_id = ?';
    const groups = yield* query(
      `SELECT type, queue, COUNT(*) FROM
         (SELECT type, queue FROM ${this.#t.jobs}${where} ORDER BY seq DESC LIMIT ${SAMPLE})
       GROUP BY type, queue`,
      scoped,
    );
    const byType: Record<string, number> = {};
    const byQueue: Record<string, number> = {};
    for (const [type, queue, count] of groups) {
      byType[String(type)] = Math.min(COUNT_LIMIT, (byType[String(type)] ?? 0) + Number(count));
      byQueue[String(queue)] = Math.min(COUNT_LIMIT, (byQueue[String(queue)] ?? 0) + Number(count));
    }
    return { byStatus, byType, byQueue };
  }

  /** How many jobs of a queue wait and run, each counted to 10,000. */
  *queueCounts(
    queue: string,
    types: readonly string[],
    tenantId: string | undefined,
  ): Script<{ waiting: number; running: number }> {
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const scoped = tenantId === undefined ? [] : [tenantId];
    let waiting = 0;
    for (const type of types) {
      const ready = yield* query(
        `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs} WHERE ready = 1 AND type = ?${scope} LIMIT ${COUNT_LIMIT})`,
        [type, ...scoped],
      );
      waiting += Number(ready[0]?.[0] ?? 0);
    }
    const later = yield* query(
      `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs} WHERE status = 'waiting' AND ready = 0 AND queue = ?${scope} LIMIT ${COUNT_LIMIT})`,
      [queue, ...scoped],
    );
    const running = yield* query(
      `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs} WHERE lease_until_ms IS NOT NULL AND status <> 'resuming' AND queue = ?${scope} LIMIT ${COUNT_LIMIT})`,
      [queue, ...scoped],
    );
    return {
      waiting: Math.min(COUNT_LIMIT, waiting + Number(later[0]?.[0] ?? 0)),
      running: Number(running[0]?.[0] ?? 0),
    };
  }

  /** When the oldest job that waits was enqueued; of each type only the first in line is looked at. */
  *oldestWaiting(
    types: readonly string[],
    tenantId: string | undefined,
  ): Script<number | undefined> {
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    let oldest: number | undefined;
    for (const type of types) {
      const rows = yield* query(
        `SELECT MIN(scheduled_at_ms) FROM
           (SELECT scheduled_at_ms FROM ${this.#t.jobs} WHERE ready = 1 AND type = ?${scope} LIMIT ${COUNT_LIMIT})`,
        tenantId === undefined ? [type] : [type, tenantId],
      );
      const first = rows[0]?.[0] ?? null;
      if (first !== null && (oldest === undefined || Number(first) < oldest)) {
        oldest = Number(first);
      }
    }
    return oldest;
  }

  *completedSince(sinceMs: number, tenantId: string | undefined): Script<number> {
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const rows = yield* query(
      `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs}
       WHERE status = 'completed' AND finished_at_ms IS NOT NULL AND finished_at_ms >= ?${scope} LIMIT ${COUNT_LIMIT})`,
      tenantId === undefined ? [sinceMs] : [sinceMs, tenantId],
    );
    return Number(rows[0]?.[0] ?? 0);
  }
}

function filtersOf(q: ResolvedJobQuery): Condition[] {
  const conditions: Condition[] = [];
  const add = (sql: string, ...params: SqlValue[]): void => {
    conditions.push({ sql, params });
  };
  const oneOf = (column: string, values: readonly string[]): void =>
    add(`${column} IN (${values.map(() => '?').join(', ')})`, ...values);
  if (q.tenantId !== undefined) {
    // The literal lets the planner use the partial index of tenants.
    add(
      q.tenantId === NIL_TENANT
        ? 'tenant_id = ?'
        : `tenant_id = ? AND tenant_id <> '${NIL_TENANT}'`,
      q.tenantId,
    );
  }
  if (q.status !== undefined) oneOf('status', q.status);
  if (q.type !== undefined) oneOf('type', q.type);
  if (q.group !== undefined) add('group_name = ?', q.group);
  if (q.queue !== undefined) add('queue = ?', q.queue);
  if (q.channel !== undefined) add('channel = ?', q.channel);
  if (q.kind !== undefined) add('kind = ?', q.kind);
  if (q.userId !== undefined) add('user_id = ?', q.userId);
  if (q.upstreamJobId !== undefined) add('upstream_job_id = ?', q.upstreamJobId);
  if (q.idempotencyKey !== undefined) add('idempotency_key = ?', q.idempotencyKey);
  if (q.scheduledAfter !== undefined) add('seq >= ?', seqOfMs(q.scheduledAfter.getTime() + 1));
  if (q.scheduledBefore !== undefined) add('seq < ?', seqOfMs(q.scheduledBefore.getTime()));
  if (q.tag !== undefined) add('EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)', q.tag);
  if (q.q !== undefined) {
    const prefix = '= ?';
    add(
      `(seq = ? AND job_id = ? OR substr(type, 1, length(?)) ${prefix} OR substr(idempotency_key, 1, length(?)) ${prefix})`,
      seqOfId(q.q.toLowerCase()) ?? -1,
      q.q.toLowerCase(),
      q.q,
      q.q,
      q.q,
      q.q,
    );
  }
  return conditions;
}

/** The order in which rows are read: by row number wherever that is the order asked for. */
function orderOf({ order }: ResolvedJobQuery): ResolvedJobQuery['order'] {
  const [first, second] = order;
  return first?.column === 'scheduledAtMs' &&
    second?.column === 'id' &&
    second.descending === first.descending
    ? order.slice(1)
    : order;
}

/** Rows after the last one of the page before, in an order whose columns may go either way. */
function afterOf(q: ResolvedJobQuery, given: readonly SqlValue[]): Condition {
  const order = orderOf(q);
  const after = given
    .slice(q.order.length - order.length)
    .map((value, at) => (order[at]?.column === 'id' ? (seqOfId(String(value)) ?? -1) : value));
  const alternatives = order.map((by, at) => {
    const equal = order.slice(0, at).map((each) => `${sortKey(each.column)} = ?`);
    const beyond = `${sortKey(by.column)} ${by.descending ? '<' : '>'} ?`;
    return { sql: [...equal, beyond].join(' AND '), params: after.slice(0, at + 1) };
  });
  return {
    sql: `(${alternatives.map((each) => `(${each.sql})`).join(' OR ')})`,
    params: alternatives.flatMap((each) => each.params),
  };
}

/** What a column sorts by: an absent instant comes before every other. */
export function sortKey(column: keyof JobEntity): string {
  if (column === 'id') {
    return 'seq';
  }
  return column === 'startedAtMs' || column === 'finishedAtMs'
    ? `COALESCE(${JOB_COLUMNS[column]}, 0)`
    : JOB_COLUMNS[column];
}

function join(conditions: readonly Condition[]): Condition {
  return {
    sql:
      conditions.length === 0 ? '' : ` WHERE ${conditions.map((each) => each.sql).join(' AND ')}`,
    params: conditions.flatMap((each) => each.params),
  };
}

function listedOfRow(row: readonly SqlValue[]): ListedJob {
  return { job: jobOfRow(row), isPaused: row[WIDTH] === 1 };
}
