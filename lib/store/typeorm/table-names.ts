import { NIL_TENANT } from '../../model/tenant.js';
import type { Phrase, RowsInto, SqlValue } from '../dialects/sql.js';
import { amongBound, insertBoundRows } from '../dialects/sqlite/bound-rows.js';

/** Phrases in which databases differ, and which stand in statements that they share. */
export interface SqlWords {
  /** What stands around an identifier. */
  readonly quote: '"' | '`';
  /** Jobs, and lines of them, that one statement of retention deletes: the time is looked at after each. */
  readonly purgedAtOnce: number;
  readonly linesPurgedAtOnce: number;
  /** After a column of numbers: is in the JSON array that is bound. */
  readonly amongNumbers: string;
  /** The same of numbers that are known to be few, as a rule. */
  among(values: readonly number[]): Phrase;
  /** The same for texts. */
  readonly amongTexts: string;
  /** After a table: read it by that index, or by its key; else the planner decides. */
  using(index: string | undefined): string;
  /** After a statement that reads: at most so many rows, a number that is bound. */
  readonly limit: string;
  /** After a statement that reads: as committed by now, also in a transaction that began before. */
  readonly latest: string;
  /** After a statement that reads rows that are changed then: nobody else changes them meanwhile. */
  readonly forUpdate: string;
  /** The same, and rows that somebody else changes are left out. */
  readonly skipLocked: string;
  /** Statements that do what the given one does, which ends in FOR UPDATE: it waits at most so long. */
  waiting(select: string, ms: number): readonly string[];
  /**
   * Whether rows are locked only by their key: elsewhere a lock by another index, whose entry whoever
   * writes the row locks last, does not close a circle.
   */
  readonly locksByKey: boolean;
  /** Whether an index is read from a value of another row on; else all rows are with the same columns before it. */
  readonly startsAtRows: boolean;
  /** After FROM: a table of the rows of a JSON array of arrays, which is bound. */
  table(name: string, columns: Readonly<Record<string, 'number' | 'text'>>): string;
  /**
   * A statement: the values of an index's first column above one that is bound, at most so many, in their
   * order, each with the least of the second. It costs what there are values, not rows.
   */
  eachWithLeast(of: {
    readonly table: string;
    readonly index: string;
    readonly columns: readonly [string, string];
    readonly most: number;
  }): string;
  /**
   * After WHERE: rows with two values of an index's first columns, bound twice, below a third one of its
   * last, and the greatest first.
   */
  pageOf(columns: readonly [string, string, string]): string;
  /** Between INSERT … SELECT … FROM and what {@link insertNew} and {@link replacing} add. */
  readonly afterSelect: string;
  /** A JSON array of numbers. */
  tuple(columns: readonly string[]): string;
  /** An aggregate: such values, or numbers, of all rows as a JSON array; of none it may be null. */
  gather(value: string, where?: string): string;
  /** Whether the job has the tag that is bound. */
  readonly tagged: string;
  /**
   * Whether `jobs` is a view of `job_rows`, which say by the number of a declaration what jobs have
   * in common by their type.
   */
  readonly hasDeclarations: boolean;
  /**
   * Whether rows of jobs say that others wait for them, so that whoever ends one compares what it knew.
   * Where one writes at a time the edges tell, and nobody writes those rows.
   */
  readonly marksParents: boolean;
  /** Whether a column begins with a text that is bound twice. */
  beginsWith(column: string): string;
  /** After an INSERT: rows that are there already are left as they are. */
  insertNew(insert: string, key: string): string;
  /** Statements that insert rows, of which there is at least one; those that are there already stay. */
  insertRows(into: RowsInto, rows: readonly (readonly SqlValue[])[]): readonly Phrase[];
  /** After an INSERT: rows that are there already get the new values of those columns. */
  replacing(key: string, columns: readonly string[]): string;
  /** Deletes at most so many rows of a table that meet a condition; `key`: its columns, with commas. */
  deleteSome(table: string, key: string, condition: string, most: number): string;
  /** What finds jobs of a kind by the index that holds them; the column that it is sorted by. */
  readonly later: string;
  readonly laterKey: string;
  /** The status is bound. */
  readonly ended: string;
  readonly endedKey: string;
  /** The column by which that index sorts what ended at the same time, before the row number. */
  readonly endedTie?: string;
  readonly held: string;
  /** Jobs of any tenant but the nil one, which has no index; of one such tenant, which is bound. */
  readonly ofTenants: string;
  readonly ofTenant: string;
}

/** The tables' names under the data source's `entityPrefix` and naming strategy, quoted. */
export interface TableNames {
  /** What is read: one row a job, with the columns of the contract. */
  readonly jobs: string;
  /** What is written; `jobs` itself where that is a table. */
  readonly rows: string;
  readonly declarations: string;
  readonly runs: string;
  readonly types: string;
  readonly groups: string;
  readonly queues: string;
  readonly workers: string;
  readonly logs: string;
  readonly limits: string;
  readonly extras: string;
  readonly dependencies: string;
  readonly untold: string;
  readonly steps: string;
  readonly signals: string;
  readonly schedules: string;
  readonly scheduleTimes: string;
  readonly scheduleSlots: string;
  readonly scheduleJobs: string;
  readonly uniques: string;
  readonly events: string;
  readonly webhooks: string;
  readonly deliveries: string;
  readonly keys: string;
  readonly migrations: string;
  readonly words: SqlWords;
  /** The quoted name of an index; unique in the schema, so it carries the prefix too. */
  index(name: string): string;
  /** Whether a job belongs to the tenant that is bound, which is not the nil one: by its index. */
  readonly isOfTenant: string;
  /** Whether a job belongs to any but the nil tenant. */
  readonly isOfOthers: string;
  /** Whether a job has one of so many types, which are bound. */
  ofTypes(count: number): string;
}

/** What SQLite and PostgreSQL say alike. */
export const COMMON_WORDS = {
  hasDeclarations: false,
  marksParents: true,
  quote: '"',
  using: () => '',
  // SQLite prepares a statement with a bare `LIMIT ?` anew at each execution.
  limit: 'LIMIT ? + 0',
  latest: '',
  // SQLite has one writer, PostgreSQL words of its own.
  forUpdate: '',
  skipLocked: '',
  waiting: (select) => [select],
  locksByKey: false,
  startsAtRows: true,
  // From value to value by the index.
  eachWithLeast: ({ table, columns: [key, least], most }) =>
    `WITH RECURSIVE walk (${key}, nth) AS (
        SELECT (SELECT MIN(${key}) FROM ${table} WHERE ${key} > ?), 1
        UNION ALL
        SELECT (SELECT MIN(other.${key}) FROM ${table} AS other WHERE other.${key} > walk.${key}), nth + 1
        FROM walk WHERE walk.${key} IS NOT NULL AND nth < ${most})
      SELECT ${key}, (SELECT MIN(mine.${least}) FROM ${table} AS mine WHERE mine.${key} = walk.${key}) AS ${least}
      FROM walk WHERE ${key} IS NOT NULL`,
  pageOf: ([a, b, last]) =>
    `${a} = ? AND ${b} = ? AND ${a} = ? AND ${b} = ? AND ${last} < ? ORDER BY ${last} DESC`,
  // Else SQLite takes ON for the condition of a join.
  afterSelect: ' WHERE true',
  beginsWith: (column) => `substr(${column}, 1, length(?)) = ?`,
  insertNew: (insert, key) => `${insert} ON CONFLICT (${key}) DO NOTHING`,
  replacing: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((name) => `${name} = excluded.${name}`).join(', ')}`,
  deleteSome: (table, key, condition, most) =>
    `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE ${condition} LIMIT ${most})`,
  later: "status = 'waiting' AND ready = 0",
  laterKey: 'run_at_ms',
  ended: 'status = ? AND finished_at_ms IS NOT NULL',
  endedKey: 'finished_at_ms',
  held: 'lease_until_ms IS NOT NULL',
  // The literal lets the planner use the partial index of tenants.
  ofTenants: `tenant_id <> '${NIL_TENANT}'`,
  ofTenant: `tenant_id = ? AND tenant_id <> '${NIL_TENANT}'`,
} satisfies Partial<SqlWords>;

const SQLITE_WORDS: SqlWords = {
  ...COMMON_WORDS,
  among: amongBound,
  insertRows: insertBoundRows,
  ofTenants: 'other_tenant_id IS NOT NULL',
  ofTenant: 'other_tenant_id = ?',
  // A job may be a megabyte, and the one writer is held up.
  purgedAtOnce: 5,
  linesPurgedAtOnce: 200,
  amongNumbers: 'IN (SELECT value FROM json_each(?))',
  amongTexts: 'IN (SELECT value FROM json_each(?))',
  table: (name, columns) =>
    `(SELECT ${Object.keys(columns)
      .map((column, at) => `value ->> ${at} AS ${column}`)
      .join(', ')} FROM json_each(?)) AS ${name}`,
  tuple: (columns) => `json_array(${columns.join(', ')})`,
  gather: (value, where) => `json_group_array(${value})${filter(where)}`,
  tagged: 'EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)',
  hasDeclarations: true,
  marksParents: false,
};

/** An aggregate is over those rows only. */
export function filter(where: string | undefined): string {
  return where === undefined ? '' : ` FILTER (WHERE ${where})`;
}

/** Names for a prefix, or as somebody names them: identifiers of the host's own configuration, not of a user. */
export function tableNames(
  prefix: string | ((name: string) => string) = '',
  schema?: string,
  words: SqlWords = SQLITE_WORDS,
): TableNames {
  const named = typeof prefix === 'string' ? (name: string) => prefix + name : prefix;
  const { quote } = words;
  const identifier = (name: string): string =>
    `${quote}${name.replaceAll(quote, quote + quote)}${quote}`;
  const quoted = (name: string): string =>
    `${schema === undefined ? '' : `${identifier(schema)}.`}${identifier(named(name))}`;
  const declarations = quoted('job_declarations');
  return {
    words,
    jobs: quoted('jobs'),
    rows: quoted(words.hasDeclarations ? 'job_rows' : 'jobs'),
    declarations,
    runs: quoted('job_runs'),
    types: quoted('job_types'),
    groups: quoted('job_groups'),
    queues: quoted('job_queues'),
    workers: quoted('job_workers'),
    logs: quoted('job_logs'),
    limits: quoted('job_limits'),
    extras: quoted('job_extras'),
    dependencies: quoted('job_dependencies'),
    untold: quoted('job_untold'),
    steps: quoted('job_steps'),
    signals: quoted('job_signals'),
    schedules: quoted('job_schedules'),
    scheduleTimes: quoted('job_schedule_times'),
    scheduleSlots: quoted('job_schedule_slots'),
    scheduleJobs: quoted('job_schedule_jobs'),
    uniques: quoted('job_uniques'),
    events: quoted('job_events'),
    webhooks: quoted('job_webhooks'),
    deliveries: quoted('job_deliveries'),
    keys: quoted('job_keys'),
    migrations: quoted('job_migrations'),
    index: (name) => identifier(named(`ix_${name}`)),
    isOfTenant: words.ofTenant,
    isOfOthers: words.ofTenants,
    ofTypes: (count) => {
      const among = `IN (${Array.from({ length: count }, () => '?').join(', ')})`;
      return words.hasDeclarations
        ? `declaration IN (SELECT declaration FROM ${declarations} WHERE type ${among})`
        : `type ${among}`;
    },
  };
}
