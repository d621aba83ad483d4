import type { JobEntity, JobField } from '../../entities/job.entity.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { idOfSeq, msOfSeq, seqOfId } from '../dialects/shared/row-numbers.js';
import type { JobList, ListedJob, ResolvedJobQuery } from '../store.js';
import { withBeside } from './beside.script.js';
import { JOB_COLUMNS, jobOfRow } from './job.columns.js';
import { JobScan, type Picks, type Way } from './job-scan.js';
import { allOf, type Condition, type Selection } from './job-selection.js';
import { COUNT_LIMIT, type Source } from './job-source.js';
import type { Pace } from './slices.js';
import type { TableNames } from './table-names.js';

/** Whole rows of one statement: a row may be a megabyte. */
const ROWS_AT_ONCE = 50;
const WIDTH = Object.keys(JOB_COLUMNS).length;

const SEQ: Picks = { columns: ['seq'] };

type Order = ResolvedJobQuery['order'];

/** A row's place in an order: the values of its columns, the last one the row number. */
type Place = readonly number[];

/** What whole rows are read with. */
export interface ListTables {
  readonly tables: TableNames;
  /** All columns, and whether the queue is paused. */
  readonly columns: string;
}

/** One page of a list, read from one source. */
export class PageScript {
  readonly #parts: ListTables;
  readonly #wanted: Selection;
  readonly #source: Source;
  readonly #request: ResolvedJobQuery;
  readonly #pace: Pace;
  readonly #keys: Order;
  readonly #after: Place | undefined;
  #count: number;

  constructor(
    parts: ListTables,
    wanted: Selection,
    source: Source,
    request: ResolvedJobQuery,
    pace: Pace,
  ) {
    this.#parts = parts;
    this.#wanted = wanted;
    this.#source = source;
    this.#request = request;
    this.#pace = pace;
    this.#keys = keysOf(request.order);
    this.#after = placeAfter(request, this.#keys);
    this.#count = source.isMany === true ? COUNT_LIMIT + 1 : 0;
  }

  /** Undefined when it takes a look at more rows than that. */
  read(mostRows: number): Script<JobList | undefined> {
    return this.#keys.length === 1 ? this.#inRowOrder(mostRows) : this.#inAnyOrder();
  }

  /** In the order of row numbers the page is there as soon as it is full. */
  *#inRowOrder(mostRows: number): Script<JobList | undefined> {
    const { limit, order } = this.#request;
    const [ahead, behind] = this.#ways();
    const scan = this.#scan(ahead);
    const jobs: ListedJob[] = [];
    let skip = this.#offset;
    while (!scan.isDone && (jobs.length < limit || this.#count <= COUNT_LIMIT)) {
      if (scan.seen >= mostRows) {
        return undefined;
      }
      const hits = yield* scan.next(jobs.length < limit ? SEQ : undefined);
      this.#count += hits.count;
      const picked = hits.picked.toSorted(byKeys(this.#keys)).slice(skip);
      skip -= Math.min(skip, hits.picked.length);
      // What has gone since it was picked is made up for by the rows behind it.
      for (let at = 0; at < picked.length && jobs.length < limit;) {
        const part = picked.slice(at, at + Math.min(ROWS_AT_ONCE, limit - jobs.length));
        jobs.push(...(yield* this.#rowsAt(part)));
        at += part.length;
      }
    }
    if (behind !== undefined) {
      const rest = this.#scan(behind);
      while (!rest.isDone && this.#count <= COUNT_LIMIT) {
        this.#count += (yield* rest.next()).count;
      }
    }
    const last = jobs.at(-1)?.job;
    const isFull = jobs.length === limit && last !== undefined;
    return {
      jobs,
      count: this.#count,
      next: isFull ? order.map((by) => valueOf(last, by.column)) : undefined,
    };
  }

  /** In any other order every row is looked at; only the best places are kept. */
  *#inAnyOrder(): Script<JobList> {
    const { limit, order } = this.#request;
    const { low, high } = this.#wanted;
    const scan = this.#scan({ low, high, descending: true });
    const columns = this.#keys.map((by) => sortKey(by.column));
    const sorted = byKeys(this.#keys);
    const most = this.#offset + limit;
    let best: Place[] = [];
    while (!scan.isDone) {
      const worst = best.length < most ? undefined : best.at(-1);
      const where = between(this.#keys, this.#after, worst);
      const hits = yield* scan.next(where === undefined ? { columns } : { columns, where });
      this.#count += hits.count;
      best = merged(best, hits.picked.toSorted(sorted), sorted, most);
    }
    const places = best.slice(this.#offset);
    const jobs: ListedJob[] = [];
    for (let at = 0; at < places.length; at += ROWS_AT_ONCE) {
      jobs.push(...(yield* this.#rowsAt(places.slice(at, at + ROWS_AT_ONCE))));
    }
    // From where the row was when it was picked: it may have moved since.
    const last = places.length < limit ? undefined : places.at(-1);
    return {
      jobs,
      count: this.#count,
      next: last === undefined ? undefined : order.map((by) => this.#valueAt(last, by.column)),
    };
  }

  get #offset(): number {
    return this.#after === undefined ? (this.#request.page - 1) * this.#request.limit : 0;
  }

  #scan(way: Way): JobScan {
    return new JobScan(this.#parts.tables, this.#source, way, this.#pace);
  }

  /** From the cursor on, and for the count what lies before it. */
  #ways(): readonly [Way, Way | undefined] {
    const { low, high } = this.#wanted;
    const descending = this.#keys[0]?.descending ?? false;
    const cursor = this.#after?.[0];
    if (cursor === undefined) {
      return [{ low, high, descending }, undefined];
    }
    const below = { low, high: Math.min(high, descending ? cursor - 1 : cursor), descending };
    const above = { low: Math.max(low, descending ? cursor : cursor + 1), high, descending };
    return descending ? [below, above] : [above, below];
  }

  /** Whole rows, in the order of their places; those that do not fit any more are left out. */
  *#rowsAt(places: readonly Place[]): Script<readonly ListedJob[]> {
    const seqs = places.map((place) => place.at(-1));
    const conditions = [...this.#wanted.conditions.values()];
    const filter = conditions.length === 0 ? undefined : allOf(conditions);
    const rows = yield* query(
      `SELECT ${this.#parts.columns} FROM ${this.#parts.tables.jobs}
       WHERE seq ${this.#parts.tables.words.amongNumbers}${filter === undefined ? '' : ` AND ${filter.sql}`}`,
      [JSON.stringify(seqs), ...(filter?.params ?? [])],
    );
    const read = yield* withBeside(this.#parts.tables, rows.map(listedOfRow));
    const listed = new Map(read.map((each) => [each.job.seq, each]));
    return seqs.flatMap((seq) => listed.get(seq ?? -1) ?? []);
  }

  #valueAt(place: Place, column: JobField): string | number {
    const seq = place.at(-1) ?? 0;
    if (column === 'id') {
      return idOfSeq(seq);
    }
    const at = this.#keys.findIndex((by) => by.column === column);
    return place[at] ?? (column === 'scheduledAtMs' ? msOfSeq(seq) : 0);
  }
}

export function listedOfRow(row: readonly SqlValue[]): ListedJob {
  return { job: jobOfRow(row), isPaused: row[WIDTH] === 1 };
}

/** The columns that decide: none after the id, and not the time of enqueuing, which is in the id. */
function keysOf(order: Order): Order {
  const keys = order.slice(0, order.findIndex((by) => by.column === 'id') + 1);
  return keys.filter((by, at) => {
    const next = keys[at + 1];
    return !(
      by.column === 'scheduledAtMs' &&
      next?.column === 'id' &&
      next.descending === by.descending
    );
  });
}

function placeAfter(request: ResolvedJobQuery, keys: Order): Place | undefined {
  const { after, order } = request;
  return after === undefined
    ? undefined
    : keys.map(({ column }) => {
        const value = after[order.findIndex((by) => by.column === column)] ?? 0;
        return column === 'id' ? (seqOfId(String(value)) ?? -1) : Number(value);
      });
}

/** What a column sorts by: an absent instant comes before every other. */
function sortKey(column: JobField): string {
  if (column === 'id') {
    return 'seq';
  }
  return column === 'startedAtMs' || column === 'finishedAtMs'
    ? `COALESCE(${JOB_COLUMNS[column]}, 0)`
    : JOB_COLUMNS[column];
}

function valueOf(job: JobEntity, column: JobField): string | number {
  const value = job[column];
  return typeof value === 'string' ? value : Number(value ?? 0);
}

function byKeys(keys: Order): (a: Place, b: Place) => number {
  return (a, b) => {
    for (const [at, by] of keys.entries()) {
      const difference = (a[at] ?? 0) - (b[at] ?? 0);
      if (difference !== 0) {
        return by.descending ? -difference : difference;
      }
    }
    return 0;
  };
}

/** The first so many of two sorted lists. */
function merged(
  a: Place[],
  b: readonly Place[],
  compare: (a: Place, b: Place) => number,
  most: number,
): Place[] {
  if (b.length === 0) {
    return a;
  }
  const all: Place[] = [];
  for (let atA = 0, atB = 0; all.length < most;) {
    const fromA = a[atA];
    const fromB = b[atB];
    if (fromA !== undefined && (fromB === undefined || compare(fromA, fromB) <= 0)) {
      all.push(fromA);
      atA += 1;
    } else if (fromB !== undefined) {
      all.push(fromB);
      atB += 1;
    } else {
      break;
    }
  }
  return all;
}

/** Places behind the cursor and before the worst one that is kept. */
function between(
  keys: Order,
  after: Place | undefined,
  worst: Place | undefined,
): Condition | undefined {
  const parts = [
    ...(after === undefined ? [] : [beyond(keys, after, false)]),
    ...(worst === undefined ? [] : [beyond(keys, worst, true)]),
  ];
  return parts.length === 0 ? undefined : allOf(parts);
}

/** Behind a place in an order whose columns may go either way, or before it. */
function beyond(keys: Order, place: Place, isBackwards: boolean): Condition {
  const alternatives = keys.map((by, at) => {
    const equal = keys.slice(0, at).map((_, before) => `k${before} = ?`);
    const sign = by.descending === isBackwards ? '>' : '<';
    return { sql: [...equal, `k${at} ${sign} ?`].join(' AND '), params: place.slice(0, at + 1) };
  });
  return {
    sql: `(${alternatives.map((each) => `(${each.sql})`).join(' OR ')})`,
    params: alternatives.flatMap((each) => each.params),
  };
}
