import {
  ACTIVE_STATUSES,
  FINAL_STATUSES,
  type FinalStatus,
  type JobStatus,
} from '../../model/job-status.js';
import { EARLIEST_ID_MS, isUuid, LATEST_ID_MS } from '../../model/id.js';
import { NIL_TENANT } from '../../model/tenant.js';
import type { SqlValue } from '../dialects/sql.js';
import { seqOfId, seqOfMs } from '../dialects/shared/row-numbers.js';
import type { ResolvedJobQuery } from '../store.js';
import type { TableNames } from './table-names.js';

/** A part of a WHERE clause, with its bound values. */
export interface Condition {
  readonly sql: string;
  readonly params: readonly SqlValue[];
  /** The index that answers it with rows in their order. */
  readonly index?: 'jobs_tenant' | 'jobs_user' | 'jobs_upstream';
}

/** Rows that one partial index holds, all of them. */
export interface IndexRange extends Condition {
  /** What the index is sorted by, where that is a number: long ranges are read in parts. */
  readonly key?: string;
}

/** Which jobs a list or a count is about. */
export interface Selection {
  /** By name, so that a way to the rows can say which of them it has already met. */
  readonly conditions: ReadonlyMap<string, Condition>;
  /** Ranges that together hold every row that meets the conditions of those names. */
  readonly ranges: readonly IndexRange[];
  readonly rangesMeet: readonly string[];
  /** The first and the last row number. */
  readonly low: number;
  readonly high: number;
}

/** Conditions that an index answers with rows in their order: `seq` follows the column in each. */
export const ORDERED = ['upstreamJobId', 'userId', 'tenantId'] as const;

/** In line, and in line behind a key. */
const READY = ['ready = 1', 'ready = 2'] as const;
const HIGHEST_CHARACTER = '\u{10FFFF}';

/** Every row that somebody holds. */
export function held({ words }: TableNames): IndexRange {
  return { sql: words.held, params: [] };
}

/** Waiting for other jobs, or for a signal. */
export const HELD_BACK: IndexRange = { sql: "status = 'waiting' AND ready = -1", params: [] };

/** The rows of a status that has an index of its own; `waiting` has four, that of later ones last. */
export function rangesOf(
  status: 'waiting' | 'suspended' | FinalStatus,
  tables: TableNames,
): readonly IndexRange[] {
  const { words } = tables;
  switch (status) {
    case 'waiting':
      return [...READY.map((sql) => ({ sql, params: [] })), HELD_BACK, laterOf(tables)];
    case 'suspended':
      return [{ sql: "status = 'suspended'", params: [] }];
    default:
      return [{ sql: words.ended, params: [status], key: words.endedKey }];
  }
}

/** Ready jobs of some types, by the indexes that hold them. */
export function readyOf(
  tables: TableNames,
  types: readonly string[],
  channel?: string,
): readonly IndexRange[] {
  return READY.map((ready) => {
    const sql = `${ready} AND ${tables.ofTypes(types.length)}`;
    return channel === undefined
      ? { sql, params: types }
      : { sql: `${sql} AND channel = ?`, params: [...types, channel] };
  });
}

/** The same as one condition, which no index answers alone. */
export function readyIn(tables: TableNames, types: readonly string[]): Condition {
  return { sql: `ready > 0 AND ${tables.ofTypes(types.length)}`, params: types };
}

/** Waiting jobs that are not due yet. */
export function laterOf({ words }: TableNames): IndexRange {
  return { sql: words.later, params: [], key: words.laterKey };
}

export function oneOf(column: string, values: readonly SqlValue[]): Condition {
  return { sql: `${column} IN (${values.map(() => '?').join(', ')})`, params: values };
}

/** All conditions as one value, which tempts the planner into no index. */
export function allOf(conditions: readonly Condition[]): Condition {
  return {
    sql: `(${conditions.map((each) => each.sql).join(' AND ')}) IS TRUE`,
    params: conditions.flatMap((each) => each.params),
  };
}

/** A selection of jobs by conditions of any kind. */
export function selection(
  tables: TableNames,
  tenantId: string | undefined,
  conditions: Readonly<Record<string, Condition>>,
  ranges: readonly IndexRange[],
  rangesMeet: readonly string[],
): Selection {
  const all = new Map(Object.entries(conditions));
  if (tenantId !== undefined) {
    addTenant(all, tenantId, tables);
  }
  return { conditions: all, ranges, rangesMeet, low: 0, high: Number.MAX_SAFE_INTEGER };
}

/** What a list asks for; the tenant is undefined where it is the only one. */
export function selectionOf(
  q: ResolvedJobQuery,
  tenantId: string | undefined,
  tables: TableNames,
): Selection {
  const conditions = new Map<string, Condition>();
  const add = (name: keyof ResolvedJobQuery, sql: string, ...params: SqlValue[]): void => {
    conditions.set(name, { sql, params });
  };
  if (tenantId !== undefined) addTenant(conditions, tenantId, tables);
  if (q.status !== undefined) conditions.set('status', oneOf('status', q.status));
  if (q.type !== undefined) {
    conditions.set('type', { sql: tables.ofTypes(q.type.length), params: q.type });
  }
  if (q.group !== undefined) add('group', 'group_name = ?', q.group);
  if (q.queue !== undefined) add('queue', 'queue = ?', q.queue);
  if (q.channel !== undefined) add('channel', 'channel = ?', q.channel);
  if (q.kind !== undefined) add('kind', 'kind = ?', q.kind);
  if (q.userId !== undefined) {
    conditions.set('userId', { sql: 'user_id = ?', params: [q.userId], index: 'jobs_user' });
  }
  if (q.upstreamJobId !== undefined) {
    conditions.set('upstreamJobId', {
      sql: 'upstream_job_id = ?',
      params: [q.upstreamJobId],
      index: 'jobs_upstream',
    });
  }
  if (q.scheduleId !== undefined) conditions.set('scheduleId', ofSchedule(q.scheduleId, tables));
  if (q.idempotencyKey !== undefined)
    add('idempotencyKey', 'idempotency_key = ?', q.idempotencyKey);
  if (q.q !== undefined) {
    const begins = `${tables.words.beginsWith('type')} OR ${tables.words.beginsWith('idempotency_key')}`;
    const prefixes = [q.q, q.q, q.q, q.q];
    if (isUuid(q.q)) {
      const id = q.q.toLowerCase();
      add('q', `((seq = ? AND job_id = ?) OR ${begins})`, seqOfId(id) ?? -1, id, ...prefixes);
    } else {
      add('q', `(${begins})`, ...prefixes);
    }
  }
  if (q.tag !== undefined) add('tag', tables.words.tagged, q.tag);
  const low = q.scheduledAfter === undefined ? 0 : seqAt(q.scheduledAfter.getTime() + 1);
  const high =
    q.scheduledBefore === undefined
      ? Number.MAX_SAFE_INTEGER
      : seqAt(q.scheduledBefore.getTime()) - 1;
  return { conditions, low, high, ...indexRanges(q, tenantId, tables) };
}

/** The first row number of a time, of any that a Date may have: there are no rows before the first and after the last one. */
function seqAt(ms: number): number {
  return seqOfMs(Math.min(Math.max(ms, EARLIEST_ID_MS), LATEST_ID_MS + 1));
}

/** The narrowest way into the table that the filters leave. */
function indexRanges(
  q: ResolvedJobQuery,
  tenantId: string | undefined,
  tables: TableNames,
): Pick<Selection, 'ranges' | 'rangesMeet'> {
  if (q.idempotencyKey !== undefined) {
    const sql = 'idempotency_key = ? AND idempotency_key IS NOT NULL';
    const range =
      tenantId === undefined
        ? { sql, params: [q.idempotencyKey] }
        : { sql: `${sql} AND tenant_id = ?`, params: [q.idempotencyKey, tenantId] };
    return { ranges: [range], rangesMeet: ['idempotencyKey'] };
  }
  if (q.scheduleId !== undefined) {
    return { ranges: [ofSchedule(q.scheduleId, tables)], rangesMeet: ['scheduleId'] };
  }
  if (q.q !== undefined && isUuid(q.q)) {
    // No type begins with an id: its group would have to be called so.
    const byKey = 'idempotency_key IS NOT NULL AND idempotency_key >= ? AND idempotency_key < ?';
    return {
      ranges: [
        { sql: 'seq = ?', params: [seqOfId(q.q.toLowerCase()) ?? -1] },
        { sql: byKey, params: [q.q, q.q + HIGHEST_CHARACTER] },
      ],
      rangesMeet: [],
    };
  }
  return q.status === undefined
    ? { ranges: [], rangesMeet: [] }
    : { ranges: statusRanges(q, q.status, tables), rangesMeet: ['status'] };
}

/** Jobs of a schedule, as what stands beside them says. */
function ofSchedule(id: string, { extras }: TableNames): IndexRange {
  return { sql: `seq IN (SELECT seq FROM ${extras} WHERE schedule_id = ?)`, params: [id] };
}

function statusRanges(
  q: ResolvedJobQuery,
  statuses: readonly JobStatus[],
  tables: TableNames,
): readonly IndexRange[] {
  const has = new Set(statuses);
  const ranges: IndexRange[] = [];
  if (has.has('waiting')) {
    ranges.push(
      ...(q.type === undefined
        ? rangesOf('waiting', tables)
        : [...readyOf(tables, q.type, q.channel), HELD_BACK, laterOf(tables)]),
    );
  }
  if (has.has('suspended')) {
    ranges.push(...rangesOf('suspended', tables));
  }
  const active = (['resuming', ...ACTIVE_STATUSES] as const).filter((status) => has.has(status));
  if (active.length > 0) {
    const status = oneOf('status', active);
    ranges.push({ sql: `${tables.words.held} AND ${status.sql}`, params: status.params });
  }
  for (const status of FINAL_STATUSES.filter((each) => has.has(each))) {
    ranges.push(...rangesOf(status, tables));
  }
  // Nothing is ever stored as `initializing`: no range, no row.
  return ranges.length > 0 ? ranges : [{ sql: 'seq = ?', params: [-1] }];
}

/** The nil tenant has no index: where it is one of several its jobs are found by looking. */
function addTenant(conditions: Map<string, Condition>, tenantId: string, tables: TableNames): void {
  if (tenantId === NIL_TENANT) {
    conditions.set('nilTenant', { sql: 'tenant_id = ?', params: [tenantId] });
  } else {
    conditions.set('tenantId', {
      sql: tables.isOfTenant,
      params: [tenantId],
      index: 'jobs_tenant',
    });
  }
}
