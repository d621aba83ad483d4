import { NIL_TENANT } from '../../model/tenant.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { ORDERED, type Condition, type IndexRange, type Selection } from './job-selection.js';
import type { TableNames } from './table-names.js';

/** Lists and cells are counted so far. */
export const COUNT_LIMIT = 10_000;

/** How far a search goes: entries of indexes, and rows that are walked. */
export interface Effort {
  readonly entries: number;
  readonly rows: number;
}

/** As many entries as are counted: whatever has more needs no counting. */
export const LITTLE: Effort = { entries: COUNT_LIMIT, rows: 20_000 };
export const MUCH: Effort = { entries: 100_000, rows: Infinity };

/** Entries of one statement; reading an index costs little, for the rows are not touched. */
const PART = COUNT_LIMIT + 1;
/** So many of each range are read with those of all others. */
const FEW = 1000;
/** So much is read at once of an index that cannot be read in parts. */
const MOST_AT_ONCE = 20_000;

/** Where rows are looked for. */
export interface Source {
  /** The row numbers, sorted; else all rows that meet `where` are walked. */
  readonly seqs?: readonly number[];
  readonly where?: Condition;
  /** What the rows have yet to meet. */
  readonly rest: readonly Condition[];
  /** The indexes alone hold more rows than are counted. */
  readonly isMany?: boolean;
}

/** Decides where rows are looked for. */
export class JobSources {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  /**
   * Without other tenants the nil tenant is nobody: each condition less is a look at the rows less,
   * and that is how REST asks as long as nobody is identified.
   */
  *scopeOf(tenantId: string | undefined): Script<string | undefined> {
    if (tenantId !== NIL_TENANT) {
      return tenantId;
    }
    const others = yield* query(
      `SELECT 1 FROM ${this.#t.jobs} WHERE ${this.#t.isOfOthers} LIMIT 1`,
    );
    return others.length === 0 ? undefined : tenantId;
  }

  /** The smallest index that holds all rows wanted, unless each has more than `most`. */
  *choose(selection: Selection, most: number): Script<Source> {
    const { conditions, ranges } = selection;
    const ordered = ORDERED.filter((name) => conditions.has(name));
    let smallest: (typeof ORDERED)[number] | undefined;
    let size = most;
    for (const name of ordered) {
      const isOnlyWay = ordered.length === 1 && ranges.length === 0;
      const count = isOnlyWay ? 0 : yield* this.size(restOf(conditions.get(name)), most);
      if (smallest === undefined || count < size) {
        smallest = name;
        size = count;
      }
    }
    if (ranges.length > 0) {
      const seqs = yield* this.load(ranges, size);
      if (seqs !== undefined) {
        return { seqs, rest: without(conditions, selection.rangesMeet) };
      }
    }
    return smallest === undefined
      ? { rest: without(conditions, []), isMany: areMany(selection) }
      : { where: restOf(conditions.get(smallest)), rest: without(conditions, [smallest]) };
  }

  /** How many rows meet a condition, to a limit. */
  *size(condition: Condition, most: number): Script<number> {
    const rows = yield* query(
      `SELECT COUNT(*) FROM (SELECT 1 FROM ${this.#t.jobs} WHERE ${condition.sql} ${this.#t.words.limit}) AS counted`,
      [...condition.params, most],
    );
    return Number(rows[0]?.[0] ?? 0);
  }

  /**
   * The rows of index ranges, sorted by number; undefined when there are more than `most`. A job moves
   * from one range to another, and would be missed by a look at each for itself: short ranges are
   * looked at together, and before and after those that take more than one statement.
   */
  *load(ranges: readonly IndexRange[], most: number): Script<readonly number[] | undefined> {
    const found: number[] = [];
    const long = yield* this.#loadFew(ranges, found);
    for (const range of long) {
      const isWhole =
        range.key === undefined
          ? yield* this.#loadAtOnce(range, Math.min(most, MOST_AT_ONCE), found)
          : yield* this.#loadInParts(range, range.key, most, found);
      if (!isWhole || found.length > most + FEW * ranges.length) {
        return undefined;
      }
    }
    if (long.length > 0 && ranges.length > 1) {
      yield* this.#loadFew(ranges, found);
    }
    // What was read twice, or changed its status between two statements.
    const seqs = [...new Set(Float64Array.from(found).sort())];
    return seqs.length > most ? undefined : seqs;
  }

  /** The first rows of an index range, sorted by number. */
  *first(range: IndexRange, count: number): Script<readonly number[]> {
    const { seqs } = yield* this.#part('seq', range.sql, [...range.params, count]);
    return seqs.toSorted((a, b) => a - b);
  }

  /** The first entries of each range, all of one moment. Returns the ranges that hold more. */
  *#loadFew(ranges: readonly IndexRange[], found: number[]): Script<readonly IndexRange[]> {
    const { words } = this.#t;
    const looks = ranges.map((range, at) => {
      const { sql, params } = fromKey(range, Number.MIN_SAFE_INTEGER);
      return {
        sql: `SELECT ${at} AS place, COUNT(*) AS entries, ${words.gather('seq')} AS seqs
              FROM (SELECT seq FROM ${this.#t.jobs} WHERE ${sql} ${words.limit}) AS part${at}`,
        params: [...params, FEW],
      };
    });
    const rows = yield* query(
      looks.map(({ sql }) => sql).join(' UNION ALL '),
      looks.flatMap(({ params }) => params),
    );
    for (const row of rows) {
      append(found, numbersOf(row[2]));
    }
    const full = new Set(rows.filter((row) => Number(row[1]) === FEW).map((row) => Number(row[0])));
    return ranges.filter((_, at) => full.has(at));
  }

  *#loadAtOnce(range: IndexRange, most: number, found: number[]): Script<boolean> {
    const { count, seqs } = yield* this.#part('seq', range.sql, [...range.params, most + 1]);
    append(found, seqs);
    return count <= most;
  }

  *#loadInParts(range: IndexRange, key: string, most: number, found: number[]): Script<boolean> {
    let from = Number.MIN_SAFE_INTEGER;
    let read = 0;
    for (;;) {
      const part = Math.min(PART, most + 1);
      // The last ones of a part come again with the next one: others may have the same key.
      const wanted = fromKey(range, from);
      const { count, last, seqs } = yield* this.#part(key, wanted.sql, [...wanted.params, part]);
      append(found, seqs);
      if (count < part) {
        return true;
      }
      read += count;
      if (read > most || last === from) {
        return false;
      }
      from = last;
    }
  }

  *#part(
    key: string,
    sql: string,
    params: readonly SqlValue[],
  ): Script<{ count: number; last: number; seqs: readonly number[] }> {
    const rows = yield* query(
      `SELECT COUNT(*) AS entries, MAX(k) AS last, ${this.#t.words.gather('seq')} AS seqs
       FROM (SELECT seq, ${key} AS k FROM ${this.#t.jobs} WHERE ${sql} ${this.#t.words.limit}) AS part`,
      params,
    );
    const [count, last, seqs] = rows[0] ?? [];
    return {
      count: Number(count),
      last: Number(last),
      seqs: numbersOf(seqs),
    };
  }
}

/** When all of a selection is in ranges that were too long to load. */
function areMany({ conditions, ranges, rangesMeet, low, high }: Selection): boolean {
  return (
    ranges.length > 0 &&
    [...conditions.keys()].every((name) => rangesMeet.includes(name)) &&
    low === 0 &&
    high === Number.MAX_SAFE_INTEGER
  );
}

/** A range from a value of its key on, in its order; all of it where it has none. */
function fromKey({ sql, params, key }: IndexRange, from: number): Condition {
  return key === undefined
    ? { sql, params }
    : { sql: `${sql} AND ${key} >= ? ORDER BY ${key}`, params: [...params, from] };
}

function numbersOf(gathered: SqlValue | undefined): readonly number[] {
  return (JSON.parse(String(gathered)) as number[] | null) ?? [];
}

function append(to: number[], values: readonly number[]): void {
  for (const value of values) {
    to.push(value);
  }
}

function without(
  conditions: ReadonlyMap<string, Condition>,
  names: readonly string[],
): readonly Condition[] {
  return [...conditions].filter(([name]) => !names.includes(name)).map(([, each]) => each);
}

function restOf(condition: Condition | undefined): Condition {
  return condition ?? { sql: '1 = 1', params: [] };
}
