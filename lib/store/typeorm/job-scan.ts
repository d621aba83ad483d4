import type { JobStatus } from '../../model/job-status.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { allOf, type Condition } from './job-selection.js';
import type { Source } from './job-source.js';
import type { Pace } from './slices.js';
import type { TableNames } from './table-names.js';

const FIRST_ROWS = 500;
const FEWEST_ROWS = 50;
const MOST_ROWS = 5000;
/** A statement should take about so long. */
const STATEMENT_MS = 3;

const ALWAYS: Condition = { sql: '1 = 1', params: [] };

/** Which way, and between which row numbers. */
export interface Way {
  readonly low: number;
  readonly high: number;
  readonly descending: boolean;
}

/** What is wanted of the rows that were hit: values, the last one the row number. */
export interface Picks {
  readonly columns: readonly string[];
  /** Over the columns, named `k0`, `k1` …; all of them without it. */
  readonly where?: Condition;
}

/** What the next rows gave. */
export interface Hits {
  readonly count: number;
  readonly picked: readonly (readonly number[])[];
}

/** One group of the rows that were hit. */
export interface Tally {
  readonly status: JobStatus;
  readonly type: string;
  readonly queue: string;
  readonly count: number;
}

/**
 * Goes through the rows of a source by row number, so many a statement as fit into a few
 * milliseconds: rows of a hundred bytes and of a megabyte alike.
 */
export class JobScan {
  readonly #t: TableNames;
  readonly #source: Source;
  readonly #pace: Pace;
  readonly #filter: Condition;
  readonly #descending: boolean;
  readonly #seqs: readonly number[] | undefined;
  #low: number;
  #high: number;
  #at = 0;
  #rows = FIRST_ROWS;
  #seen = 0;

  constructor(tables: TableNames, source: Source, way: Way, pace: Pace) {
    this.#t = tables;
    this.#source = source;
    this.#pace = pace;
    this.#filter = source.rest.length === 0 ? ALWAYS : allOf(source.rest);
    this.#descending = way.descending;
    this.#low = way.low;
    this.#high = way.high;
    const seqs = source.seqs?.filter((seq) => seq >= way.low && seq <= way.high);
    this.#seqs = way.descending ? seqs?.reverse() : seqs;
  }

  get isDone(): boolean {
    return this.#seqs === undefined ? this.#low > this.#high : this.#at >= this.#seqs.length;
  }

  /** How many rows were looked at. */
  get seen(): number {
    return this.#seen;
  }

  /** Counts the hits among the next rows, and picks what is wanted of them. */
  *next(picks?: Picks): Script<Hits> {
    const known = this.#knownHits(picks);
    if (known !== undefined) {
      return known;
    }
    const { words } = this.#t;
    const columns = picks?.columns ?? [];
    const names = columns.map((_, at) => `k${at}`);
    const rows = this.#nextRows([
      ...columns.map((column, at) => `${column} AS k${at}`),
      `${this.#filter.sql} AS hit`,
    ]);
    const picked =
      picks === undefined
        ? ''
        : `, ${words.gather(words.tuple(names), `hit${picks.where === undefined ? '' : ` AND (${picks.where.sql})`}`)} AS picked`;
    const [row] = yield* query(
      `SELECT COUNT(*) AS seen, MIN(seq) AS lowest, MAX(seq) AS highest,
         COUNT(CASE WHEN hit THEN 1 END) AS hits${picked} FROM (${rows.sql}) AS looked_at`,
      [...(picks?.where?.params ?? []), ...this.#filter.params, ...rows.params],
    );
    const [seen, lowest, highest, hits, found] = row ?? [];
    this.#passed(Number(seen), Number(lowest), Number(highest));
    return {
      count: Number(hits),
      picked: picks === undefined ? [] : ((JSON.parse(String(found)) as number[][] | null) ?? []),
    };
  }

  /** Counts the hits among the next rows by status, type and queue. */
  *tally(): Script<readonly Tally[]> {
    const rows = this.#nextRows(['status', 'type', 'queue', `${this.#filter.sql} AS hit`]);
    const groups = yield* query(
      `SELECT status, type, queue, hit, COUNT(*) AS seen, MIN(seq) AS lowest, MAX(seq) AS highest
       FROM (${rows.sql}) AS looked_at GROUP BY status, type, queue, hit`,
      [...this.#filter.params, ...rows.params],
    );
    const lowest = Math.min(...groups.map((group) => Number(group[5])));
    const highest = Math.max(...groups.map((group) => Number(group[6])));
    const seen = groups.reduce((sum, group) => sum + Number(group[4]), 0);
    this.#passed(seen, lowest, highest);
    return groups
      .filter((group) => group[3] === 1)
      .map((group) => ({
        status: group[0] as JobStatus,
        type: String(group[1]),
        queue: String(group[2]),
        count: Number(group[4]),
      }));
  }

  /** Row numbers that have nothing more to meet are hits without a look at the rows. */
  #knownHits(picks: Picks | undefined): Hits | undefined {
    if (
      this.#seqs === undefined ||
      this.#filter !== ALWAYS ||
      (picks !== undefined && (picks.columns.length !== 1 || picks.where !== undefined))
    ) {
      return undefined;
    }
    const seqs = this.#seqs.slice(this.#at, picks === undefined ? undefined : this.#at + MOST_ROWS);
    this.#at += seqs.length;
    return { count: seqs.length, picked: seqs.map((seq) => [seq]) };
  }

  #nextRows(columns: readonly string[]): Condition {
    const select = `SELECT seq, ${columns.join(', ')} FROM ${this.#t.jobs}`;
    const { words } = this.#t;
    if (this.#seqs !== undefined) {
      const part = this.#seqs.slice(this.#at, this.#at + this.#rows);
      return {
        sql: `${select} WHERE seq ${words.amongNumbers}`,
        params: [JSON.stringify(part)],
      };
    }
    const { where } = this.#source;
    const order = this.#descending ? 'seq DESC' : 'seq';
    const params: SqlValue[] = [...(where?.params ?? []), this.#low, this.#high, this.#rows];
    return {
      sql: `${select}${words.using(where?.index === undefined ? undefined : this.#t.index(where.index))} WHERE ${where === undefined ? '' : `${where.sql} AND `}seq BETWEEN ? AND ? ORDER BY ${order} ${words.limit}`,
      params,
    };
  }

  #passed(seen: number, lowest: number, highest: number): void {
    this.#seen += seen;
    if (this.#seqs !== undefined) {
      this.#at += this.#rows;
    } else if (seen < this.#rows) {
      this.#low = this.#high + 1;
    } else if (this.#descending) {
      this.#high = lowest - 1;
    } else {
      this.#low = highest + 1;
    }
    const fitting = (this.#rows * STATEMENT_MS) / Math.max(this.#pace.lastMs, 0.1);
    this.#rows = Math.round(
      Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, Math.min(fitting, this.#rows * 2))),
    );
  }
}
