import type { SqlValue } from '../sql.js';

/** Printable ASCII without quote and backslash: such text means the same in every mode and charset. */
const PLAIN = /^[\x20-\x26\x28-\x5b\x5d-\x7e]*$/;

/**
 * A value in SQL. Whatever the session's `sql_mode` and character set: text with anything special in
 * it is written as bytes, in which nothing needs to be escaped.
 */
export function literal(value: SqlValue | undefined): string {
  if (value === null || value === undefined) {
    return 'NULL';
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) {
      throw new RangeError(`${value} is no number that SQL has.`);
    }
    return String(value);
  }
  return PLAIN.test(value) ? `'${value}'` : `_utf8mb4 x'${Buffer.from(value).toString('hex')}'`;
}

/** Values for IN; without any, one that equals nothing. */
export function list(values: readonly SqlValue[]): string {
  return values.length === 0 ? '(NULL)' : `(${values.map(literal).join(',')})`;
}

/** Each `?` becomes its value, each `(?*)` the list of a JSON array. */
export function bind(sql: string, params: readonly SqlValue[]): string {
  if (params.length === 0) {
    return sql;
  }
  let bound = '';
  let from = 0;
  for (const value of params) {
    const at = sql.indexOf('?', from);
    if (sql.startsWith('(?*)', at - 1)) {
      bound += sql.slice(from, at - 1) + list(JSON.parse(String(value)) as SqlValue[]);
      from = at + 3;
    } else {
      bound += sql.slice(from, at) + literal(value);
      from = at + 1;
    }
  }
  return bound + sql.slice(from);
}
