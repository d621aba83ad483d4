import { COMMON_WORDS, type SqlWords } from '../../typeorm/table-names.js';
import { chunks } from '../shared/chunks.js';
import { list, literal } from './literals.js';

/** Rows of one statement. */
const MOST_ROWS = 1000;

/** The database's time in Unix milliseconds, whatever the time zone of the session. */
export const MYSQL_NOW = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";

/**
 * InnoDB has no partial indexes: one index, sorted by status and by the time that counts in it, stands
 * in for those of due, held, suspended and ended jobs. `phase_at_ms` is the end of a job that has
 * ended, the lease's end of one that is held, and the start of one that waits.
 */
export const HELD =
  "status IN ('running', 'canceling', 'suspending', 'locked', 'resuming') AND ready = 0";

export const MYSQL_WORDS: SqlWords = {
  hasDeclarations: false,
  marksParents: true,
  quote: '`',
  // Nobody waits for it, and each statement is a message there and back.
  purgedAtOnce: 200,
  linesPurgedAtOnce: 2000,
  amongNumbers: 'IN (?*)',
  amongTexts: 'IN (?*)',
  // The planner's estimates ignore LIMIT, so that it thinks little of a range that is read from one end.
  using: (index = 'PRIMARY') => ` FORCE INDEX (${index})`,
  limit: 'LIMIT ?',
  latest: 'LOCK IN SHARE MODE',
  forUpdate: 'FOR UPDATE',
  skipLocked: 'FOR UPDATE SKIP LOCKED',
  // A lock's own patience is counted in seconds; each server reads the other's words as a comment.
  waiting: (select, ms) => [
    ms === 0
      ? `${select} NOWAIT`
      : `/*M! SET STATEMENT max_statement_time = ${ms / 1000} FOR */ ${select.replace('SELECT', `SELECT /*+ MAX_EXECUTION_TIME(${ms}) */`)}`,
  ],
  locksByKey: true,
  startsAtRows: false,
  // A loose scan; in a recursive query each step would read all rows above its value.
  eachWithLeast: ({ table, index, columns: [key, least], most }) =>
    `SELECT ${key}, MIN(${least}) AS ${least} FROM ${table} FORCE INDEX (${index})
     WHERE ${key} > ? GROUP BY ${key} ORDER BY ${key} LIMIT ${most}`,
  pageOf: COMMON_WORDS.pageOf,
  afterSelect: '',
  table: (name, columns) =>
    `JSON_TABLE(?, '$[*]' COLUMNS (${Object.entries(columns)
      .map(
        ([column, type], at) =>
          `${column} ${type === 'number' ? 'BIGINT' : 'LONGTEXT CHARACTER SET utf8mb4'} PATH '$[${at}]'`,
      )
      .join(', ')})) AS ${name}`,
  tuple: (columns) => `CONCAT('[', CONCAT_WS(',', ${columns.join(', ')}), ']')`,
  gather: (value, where) =>
    `CONCAT('[', GROUP_CONCAT(${where === undefined ? value : `CASE WHEN ${where} THEN ${value} END`}), ']')`,
  tagged: 'JSON_CONTAINS(tags, JSON_QUOTE(?))',
  beginsWith: (column) => `LEFT(${column}, CHAR_LENGTH(?)) = ?`,
  insertNew: (insert) => insert.replace(/^INSERT/, 'INSERT IGNORE'),
  among: (values) => ({ sql: `IN ${list(values)}`, params: [] }),
  insertRows: ({ table, columns }, rows) =>
    chunks(
      rows.map((row) => `(${row.map(literal).join(',')})`),
      MOST_ROWS,
      (row) => row.length,
    ).map((part) => ({
      sql: `INSERT IGNORE INTO ${table} (${Object.keys(columns).join(', ')}) VALUES ${part.join(',')}`,
      params: [],
    })),
  replacing: (_key, columns) =>
    `ON DUPLICATE KEY UPDATE ${columns.map((name) => `${name} = VALUES(${name})`).join(', ')}`,
  deleteSome: (table, _key, condition, most) =>
    `DELETE FROM ${table} WHERE ${condition} LIMIT ${most}`,
  later: "status = 'waiting' AND ready = 0",
  laterKey: 'phase_at_ms',
  ended: 'status = ? AND ready = 0',
  endedKey: 'phase_at_ms',
  endedTie: 'worker_id',
  held: HELD,
  ofTenants: 'other_tenant_id IS NOT NULL',
  ofTenant: 'other_tenant_id = ?',
};
