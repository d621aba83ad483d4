import type { Phrase, RowsInto, SqlValue } from '../sql.js';

/** Each size is a text of its own that stays prepared: few sizes for many rows. */
const SIZES = [100, 64];
const MOST_EXACT = 32;

const inserts = new WeakMap<RowsInto, string[]>();
const lists: string[] = [];

/** Values that are bound one by one: half the cost of a JSON array that is taken apart. */
export function insertBoundRows(
  into: RowsInto,
  rows: readonly (readonly SqlValue[])[],
): readonly Phrase[] {
  const values: SqlValue[] = [];
  for (const row of rows) {
    values.push(...row);
  }
  return insertBound(into, values);
}

/** The same of the values of one row behind those of another. */
export function insertBound(into: RowsInto, values: readonly SqlValue[]): readonly Phrase[] {
  const width = Object.keys(into.columns).length;
  const rows = values.length / width;
  const statements = [];
  for (let at = 0; at < rows;) {
    const left = rows - at;
    const count = SIZES.find((size) => left >= size) ?? Math.min(left, MOST_EXACT);
    const params = count === rows ? values : values.slice(at * width, (at + count) * width);
    statements.push({ sql: insertOf(into, count), params });
    at += count;
  }
  return statements;
}

/** After a column: is one of those numbers. */
export function amongBound(values: readonly number[]): Phrase {
  return values.length > MOST_EXACT
    ? { sql: 'IN (SELECT value FROM json_each(?))', params: [JSON.stringify(values)] }
    : { sql: (lists[values.length] ??= `IN ${marks(values.length)}`), params: values };
}

function insertOf(into: RowsInto, count: number): string {
  let known = inserts.get(into);
  if (known === undefined) {
    known = [];
    inserts.set(into, known);
  }
  return (known[count] ??= statement(into, count));
}

function statement({ table, columns }: RowsInto, count: number): string {
  const names = Object.keys(columns);
  const row = marks(names.length);
  const values = Array.from({ length: count }, () => row).join(', ');
  return `INSERT OR IGNORE INTO ${table} (${names.join(', ')}) VALUES ${values}`;
}

function marks(count: number): string {
  return `(${Array.from({ length: count }, () => '?').join(', ')})`;
}
