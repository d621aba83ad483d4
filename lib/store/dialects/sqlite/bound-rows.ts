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
  const statements = [];
  for (let at = 0; at < rows.length;) {
    const left = rows.length - at;
    const count = SIZES.find((size) => left >= size) ?? Math.min(left, MOST_EXACT);
    statements.push({ sql: insertOf(into, count), params: valuesOf(rows, at, at + count) });
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

function valuesOf(
  rows: readonly (readonly SqlValue[])[],
  from: number,
  to: number,
): readonly SqlValue[] {
  const values: SqlValue[] = [];
  for (let at = from; at < to; at += 1) {
    values.push(...(rows[at] ?? []));
  }
  return values;
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
