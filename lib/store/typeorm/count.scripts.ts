import { FINAL_STATUSES, JOB_STATUSES, type JobStatus } from '../../model/job-status.js';
import { query, type Script } from '../dialects/sql.js';
import { msOfSeq } from '../dialects/shared/row-numbers.js';
import type { JobCounts, WaitingJobs } from '../store.js';
import { JobScan, type Picks, type Way } from './job-scan.js';
import {
  held,
  HELD_BACK,
  laterOf,
  rangesOf,
  readyIn,
  readyOf,
  selection,
  type Condition,
  type IndexRange,
  type Selection,
} from './job-selection.js';
import { COUNT_LIMIT, JobSources, LITTLE, MUCH, type Source } from './job-source.js';
import type { Pace } from './slices.js';
import type { TableNames } from './table-names.js';

/** So many of the newest jobs are looked at to count by type and queue. */
export const SAMPLE = 50_000;

const INDEXED = ['waiting', 'suspended', ...FINAL_STATUSES] as const;
const SEQ: Picks = { columns: ['seq'] };
const ALL_ROWS: Way = { low: 0, high: Number.MAX_SAFE_INTEGER, descending: true };

/** What is counted, of a tenant or of all; each count goes to 10,000. */
export class CountScripts {
  readonly #t: TableNames;
  readonly #sources: JobSources;

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#sources = new JobSources(tables);
  }

  /**
   * Each status is counted in the index that holds just its rows; a tenant with few jobs, and what
   * a tenant has of a status with many, by going through its own jobs, newest first. Types and
   * queues are counted over the newest {@link SAMPLE} jobs, since nothing on the path of a job pays
   * for an index of theirs.
   */
  *counts(tenantId: string | undefined, pace: Pace): Script<JobCounts> {
    const scope = yield* this.#sources.scopeOf(tenantId);
    const own = selection(this.#t, scope, {}, [], []);
    const newest = yield* this.#sources.choose(own, LITTLE.entries);
    const isSmall =
      newest.where !== undefined &&
      (yield* this.#sources.size(newest.where, COUNT_LIMIT)) < COUNT_LIMIT;
    const byStatus = new Map<string, number>();
    const many: ReadonlySet<JobStatus> = isSmall
      ? new Set<JobStatus>(JOB_STATUSES)
      : yield* this.#countByIndex([...own.conditions.values()], byStatus, pace);
    const byType = new Map<string, number>();
    const byQueue = new Map<string, number>();
    let sampled = 0;
    const scan = new JobScan(this.#t, newest, ALL_ROWS, pace);
    while (!scan.isDone && sampled < SAMPLE) {
      for (const { status, type, queue, count } of yield* scan.tally()) {
        sampled += count;
        if (many.has(status)) {
          add(byStatus, status, count);
        }
        add(byType, type, count);
        add(byQueue, queue, count);
      }
    }
    yield* this.#countRest(own, scan, [...many], byStatus, pace);
    return {
      byStatus: limited(byStatus),
      byType: limited(byType),
      byQueue: limited(byQueue),
    };
  }

  /** How many jobs of a queue, which has these types, wait and are held by a worker. */
  *queueCounts(
    queue: string,
    types: readonly string[],
    tenantId: string | undefined,
    pace: Pace,
  ): Script<{ waiting: number; running: number }> {
    const scope = yield* this.#sources.scopeOf(tenantId);
    const ofQueue: Condition = { sql: 'queue = ?', params: [queue] };
    const ready = readyIn(this.#t, types);
    const ranges = readyOf(this.#t, types);
    const waiting =
      types.length === 0
        ? 0
        : yield* this.#count(selection(this.#t, scope, { ready }, ranges, ['ready']), pace);
    const later = laterOf(this.#t);
    const waitingLater = yield* this.#count(
      selection(this.#t, scope, { later, ofQueue }, [later], ['later']),
      pace,
    );
    const heldBack = yield* this.#count(
      selection(this.#t, scope, { heldBack: HELD_BACK, ofQueue }, [HELD_BACK], ['heldBack']),
      pace,
    );
    const range = held(this.#t);
    const active: Condition = { sql: `${range.sql} AND status <> 'resuming'`, params: [] };
    const running = yield* this.#count(
      selection(this.#t, scope, { active, ofQueue }, [range], []),
      pace,
    );
    return { waiting: Math.min(COUNT_LIMIT, waiting + waitingLater + heldBack), running };
  }

  /** When the oldest job that could run now was enqueued; a long line is looked at from its head. */
  *oldestWaiting(
    types: readonly string[],
    tenantId: string | undefined,
    pace: Pace,
  ): Script<number | undefined> {
    const scope = yield* this.#sources.scopeOf(tenantId);
    const tenant = [...selection(this.#t, scope, {}, [], []).conditions.values()];
    let oldest: number | undefined;
    let isLong = false;
    for (const type of types) {
      for (const range of readyOf(this.#t, [type])) {
        const seqs = yield* this.#sources.first(range, COUNT_LIMIT);
        isLong ||= seqs.length === COUNT_LIMIT;
        const first = yield* this.#first({ seqs, rest: tenant }, pace);
        oldest = first === undefined ? oldest : Math.min(first, oldest ?? first);
      }
    }
    if (oldest === undefined && isLong) {
      // Behind ten thousand of others.
      const ready = readyIn(this.#t, types);
      const wanted = selection(this.#t, scope, { ready }, [], []);
      oldest = yield* this.#first(yield* this.#sources.choose(wanted, LITTLE.entries), pace);
    }
    return oldest === undefined ? undefined : msOfSeq(oldest);
  }

  /** How many jobs were completed since then. */
  *completedSince(sinceMs: number, tenantId: string | undefined, pace: Pace): Script<number> {
    const scope = yield* this.#sources.scopeOf(tenantId);
    const recent: IndexRange = {
      sql: `${this.#t.words.ended} AND ${this.#t.words.endedKey} >= ?`,
      params: ['completed', sinceMs],
      key: this.#t.words.endedKey,
    };
    return yield* this.#count(selection(this.#t, scope, { recent }, [recent], ['recent']), pace);
  }

  /** Jobs that wait in a queue, behind a row, in the order in which they were enqueued. */
  *waitingIn(
    queue: string,
    limit: number,
    after: number,
    tenantId: string | undefined,
    pace: Pace,
  ): Script<WaitingJobs> {
    const scope = yield* this.#sources.scopeOf(tenantId);
    const conditions = {
      waiting: { sql: "status = 'waiting'", params: [] },
      ofQueue: { sql: 'queue = ?', params: [queue] },
    };
    const wanted = selection(this.#t, scope, conditions, rangesOf('waiting', this.#t), ['waiting']);
    // Page after page: what is many would be read anew for each, in a statement that takes long.
    const source = yield* this.#sources.choose(wanted, LITTLE.entries);
    const way = { low: after + 1, high: Number.MAX_SAFE_INTEGER, descending: false };
    const scan = new JobScan(this.#t, source, way, pace);
    const seqs: number[] = [];
    while (!scan.isDone && seqs.length < limit) {
      const { picked } = yield* scan.next(SEQ);
      seqs.push(...picked.map(([seq]) => seq ?? 0).sort((a, b) => a - b));
    }
    const page = seqs.slice(0, limit);
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers} ORDER BY seq`,
      [JSON.stringify(page)],
    );
    return {
      ids: rows.map((row) => String(row[0])),
      next: page.length < limit ? undefined : page.at(-1),
    };
  }

  /** The number of the first row. */
  *#first(source: Source, pace: Pace): Script<number | undefined> {
    const scan = new JobScan(this.#t, source, { ...ALL_ROWS, descending: false }, pace);
    while (!scan.isDone) {
      const { picked } = yield* scan.next(SEQ);
      if (picked.length > 0) {
        return Math.min(...picked.map(([seq]) => seq ?? 0));
      }
    }
    return undefined;
  }

  *#count(wanted: Selection, pace: Pace): Script<number> {
    for (const effort of [LITTLE, MUCH]) {
      const source = yield* this.#sources.choose(wanted, effort.entries);
      const most = source.seqs === undefined ? effort.rows : Infinity;
      const count = source.isMany === true ? COUNT_LIMIT : yield* this.#countIn(source, most, pace);
      if (count !== undefined) {
        return count;
      }
    }
    return 0;
  }

  /** Undefined when it takes a look at more rows than that. */
  *#countIn(source: Source, mostRows: number, pace: Pace): Script<number | undefined> {
    const scan = new JobScan(this.#t, source, ALL_ROWS, pace);
    let count = 0;
    while (!scan.isDone && count < COUNT_LIMIT) {
      if (scan.seen >= mostRows) {
        return undefined;
      }
      count += (yield* scan.next()).count;
    }
    return Math.min(count, COUNT_LIMIT);
  }

  /** What the sample did not tell: from long indexes, and at last from the rest of the rows. */
  *#countRest(
    own: Selection,
    scan: JobScan,
    statuses: readonly JobStatus[],
    byStatus: Map<string, number>,
    pace: Pace,
  ): Script<void> {
    const isMissing = (status: JobStatus): boolean => (byStatus.get(status) ?? 0) < COUNT_LIMIT;
    const missing = new Set<JobStatus>();
    for (const status of scan.isDone ? [] : statuses.filter(isMissing)) {
      const seqs = isIndexed(status)
        ? yield* this.#sources.load(rangesOf(status, this.#t), MUCH.entries)
        : undefined;
      if (seqs === undefined) {
        missing.add(status);
      } else {
        const rest = [...own.conditions.values()];
        byStatus.set(status, (yield* this.#countIn({ seqs, rest }, Infinity, pace)) ?? 0);
      }
    }
    while (!scan.isDone && statuses.some((status) => missing.has(status) && isMissing(status))) {
      for (const { status, count } of yield* scan.tally()) {
        if (missing.has(status)) {
          add(byStatus, status, count);
        }
      }
    }
  }

  /** Counts what indexes tell, and says of which statuses they hold too much to look through. */
  *#countByIndex(
    tenant: readonly Condition[],
    byStatus: Map<string, number>,
    pace: Pace,
  ): Script<ReadonlySet<JobStatus>> {
    const many = new Set<JobStatus>();
    const few: number[] = [];
    for (const status of INDEXED) {
      if (tenant.length === 0) {
        for (const range of rangesOf(status, this.#t)) {
          add(byStatus, status, yield* this.#sources.size(range, COUNT_LIMIT));
        }
        continue;
      }
      const seqs = yield* this.#sources.load(rangesOf(status, this.#t), LITTLE.entries);
      if (seqs === undefined) {
        many.add(status);
      } else {
        few.push(...seqs);
      }
    }
    few.push(...((yield* this.#sources.load([held(this.#t)], MUCH.entries)) ?? []));
    const seqs = [...new Set(few)].sort((a, b) => a - b);
    const scan = new JobScan(this.#t, { seqs, rest: tenant }, ALL_ROWS, pace);
    while (!scan.isDone) {
      for (const { status, count } of yield* scan.tally()) {
        add(byStatus, status, count);
      }
    }
    return many;
  }
}

function isIndexed(status: JobStatus): status is (typeof INDEXED)[number] {
  return INDEXED.some((each) => each === status);
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

function limited(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].map(([key, count]) => [key, Math.min(count, COUNT_LIMIT)]));
}
