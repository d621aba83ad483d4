import { IDLE_MS, STATEMENT_MS } from '../shared/answer-patience.js';
import { numbers, texts } from './arrays.js';
import { COMMON_WORDS, filter, type SqlWords } from '../../typeorm/table-names.js';

/** The server's time in Unix milliseconds. */
export const POSTGRES_NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';

/** What statements that databases share say in PostgreSQL's own words. */
export const POSTGRES_WORDS: SqlWords = {
  ...COMMON_WORDS,
  // Nobody waits for it, and each statement is a message there and back.
  purgedAtOnce: 200,
  linesPurgedAtOnce: 2000,
  amongNumbers: '= ANY(ARRAY(SELECT value::bigint FROM json_array_elements_text(?::json)))',
  amongTexts: '= ANY(ARRAY(SELECT value FROM json_array_elements_text(?::json)))',
  // Told that the first two are equal, it takes any other index that is sorted by the last.
  pageOf: ([a, b, last]) =>
    `(${a}, ${b}, ${last}) >= (?, ?, '') AND (${a}, ${b}, ${last}) < (?, ?, ?)
     ORDER BY ${a} DESC, ${b} DESC, ${last} DESC`,
  forUpdate: 'FOR UPDATE',
  skipLocked: 'FOR UPDATE SKIP LOCKED',
  // Of 0 it would wait for ever.
  waiting: (select, ms) =>
    ms === 0 ? [`${select} NOWAIT`] : [`SET LOCAL lock_timeout = ${ms}`, select],
  // Not json, which would be read from its beginning for each column of each row.
  table: (name, columns) =>
    `(SELECT ${Object.entries(columns)
      .map(([column, type], at) =>
        type === 'number'
          ? `(value ->> ${at})::bigint AS ${column}`
          : `value ->> ${at} AS ${column}`,
      )
      .join(', ')} FROM jsonb_array_elements(?::jsonb) AS value) AS ${name}`,
  among: (values) => ({ sql: '= ANY(?::bigint[])', params: [numbers(values)] }),
  insertRows: ({ table, columns }, rows) => {
    const names = Object.keys(columns);
    const kinds = Object.values(columns);
    return [
      {
        sql: `INSERT INTO ${table} (${names.join(', ')})
          SELECT * FROM unnest(${kinds.map((kind) => (kind === 'number' ? '?::bigint[]' : '?::text[]')).join(', ')}) ON CONFLICT DO NOTHING`,
        params: kinds.map((kind, at) =>
          kind === 'number'
            ? numbers(rows.map((row) => row[at] as number | null))
            : texts(rows.map((row) => row[at] as string | null)),
        ),
      },
    ];
  },
  tuple: (columns) => `json_build_array(${columns.join(', ')})`,
  gather: (value, where) => `json_agg(${value})${filter(where)}`,
  tagged: 'EXISTS (SELECT 1 FROM json_array_elements_text(tags::json) AS tag WHERE tag = ?)',
  hasDeclarations: false,
  marksParents: true,
};

/**
 * No session of the engine waits for a lock for long, holds one while its process is stuck, or keeps a
 * connection busy for long.
 */
export const settings = (lockTimeoutMs: number): string =>
  `SET lock_timeout = ${lockTimeoutMs}; SET statement_timeout = ${STATEMENT_MS}; SET idle_in_transaction_session_timeout = ${IDLE_MS}; SET client_min_messages = error`;

/**
 * What writes jobs always means a few rows by an index. The planner's other ideas come from
 * statistics that are older than the last burst.
 */
export const BY_INDEX =
  'SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off';

/** Nor does anybody who only reads walk through the table, or a whole index. */
export const searching = (lockTimeoutMs: number): string =>
  `${settings(lockTimeoutMs)}; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off`;
