import { NIL_TENANT } from '../../../model/tenant.js';
import { extrasOf, isDue, kindOf, readyOf } from '../../job-of-draft.js';
import type { JobDraft } from '../../store.js';
import { areAlike } from '../../typeorm/inserts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { msOfSeqSql } from '../shared/row-numbers.js';
import type { SqlValue } from '../sql.js';
import type { Declaration } from './declarations.js';
import { freeNumbersSql } from './free-numbers.js';

/** What each job has to itself. */
const OWN = ['seq', 'id_high', 'id_low', 'params'] as const;

/** What every row says. */
const PLAIN = ['declaration', 'channel', 'priority', 'ready', 'kind'] as const;

/** What few rows say: what is not as declared, and what only some jobs have. */
const SPECIAL = [
  'tenant_id',
  'user_id',
  'idempotency_key',
  'request_hash',
  'expires_at_ms',
  'timeout_sec',
  'max_retries',
  'retry_delay_sec',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
  'extras',
] as const;

/** What rows say of what they share: what each does, that and who waits for others, or all of it. */
export type Shape = 'plain' | 'extras' | 'special';

const SHARED: Readonly<Record<Shape, readonly string[]>> = {
  plain: PLAIN,
  extras: [...PLAIN, 'extras'],
  special: [...PLAIN, ...SPECIAL],
};

/**
 * How many rows a statement may have: each is a text of its own that stays prepared, so that many
 * rows go in few sizes.
 */
const SIZES = [100, 64, 32];
const MOST_EXACT = 16;

/** The texts of the statements that store jobs, made once each. */
export class InsertStatements {
  readonly #t: TableNames;
  readonly #texts = new Map<string, string>();

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  /** `free` is worked out once, before the first row is there. The rows follow each other in order. */
  atOnce(rows: number, shape: Shape): string {
    const key = `${rows} ${shape} o`;
    let sql = this.#texts.get(key);
    if (sql === undefined) {
      const shared = SHARED[shape];
      const own = Array.from({ length: rows }, (_, at) => `(${at}, ?, ?, ?)`).join(', ');
      sql = `WITH free AS MATERIALIZED (${freeNumbersSql(this.#t.rows, rows)}),
          own AS (VALUES ${own})
        INSERT INTO ${this.#t.rows} (run_at_ms, ${OWN.join(', ')}, ${shared.join(', ')})
        SELECT ${msOfSeqSql('first')}, first + column1, column2, column3, column4, ${shared.map(() => '?').join(', ')}
        FROM free CROSS JOIN own ORDER BY column1`;
      this.#texts.set(key, sql);
    }
    return sql;
  }

  /** What `startOf` says, in SQL, for jobs that start when they were enqueued, each at its time. */
  many(rows: number, shape: Shape, isEach: boolean, isLimited: boolean): string {
    const key = `${rows} ${shape} ${isEach ? 'e' : ''}${isLimited ? 'l' : ''}`;
    let sql = this.#texts.get(key);
    if (sql === undefined) {
      const shared = SHARED[shape];
      const start = isEach ? `MIN(${msOfSeqSql('column1')}, ?)` : '?';
      const columns = isLimited ? [...OWN, 'limit_key'] : OWN;
      const own = Array.from({ length: rows }, () => `(${columns.map(() => '?').join(', ')})`);
      sql = `INSERT INTO ${this.#t.rows} (run_at_ms, ${shared.join(', ')}, ${columns.join(', ')})
        SELECT ${start}, ${shared.map(() => '?').join(', ')}, ${columns.map((_, at) => `column${at + 1}`).join(', ')} FROM (VALUES ${own.join(', ')})`;
      this.#texts.set(key, sql);
    }
    return sql;
  }
}

/** How many drafts in a row, from one on, can share a statement. */
export function alikeFrom(drafts: readonly JobDraft[], start: number, to: number): number {
  const first = drafts[start] as JobDraft;
  const most = Math.min(to, start + (SIZES[0] ?? 0));
  let at = start + 1;
  while (at < most && areAlike(drafts[at] as JobDraft, first)) {
    at += 1;
  }
  return at - start;
}

/** How many of so many rows the next statement takes. */
export function rowsAtOnce(rows: number): number {
  return SIZES.find((size) => rows >= size) ?? Math.min(rows, MOST_EXACT);
}

/** Adds the values that rows share, and says which; `always`: all of them. */
export function addShared(
  values: SqlValue[],
  draft: JobDraft,
  declared: Declaration,
  nowMs: number,
  always = false,
): Shape {
  const { terms, idempotencyKey, requestHash } = draft;
  const due = isDue(terms, nowMs);
  const kind = kindOf(draft, due);
  values.push(
    declared.number,
    terms.channel,
    terms.priority,
    readyOf(draft, due),
    kind === 'generic' ? null : kind,
  );
  const special = [
    terms.tenantId === NIL_TENANT ? null : terms.tenantId,
    terms.userId,
    idempotencyKey,
    requestHash,
    terms.expiresAtMs,
    terms.timeoutSec === declared.timeoutSec ? null : terms.timeoutSec,
    terms.maxRetries === declared.maxRetries ? null : terms.maxRetries,
    terms.retryDelaySec === declared.retryDelaySec ? null : terms.retryDelaySec,
    terms.state,
    terms.tags,
    terms.meta,
    terms.upstreamJobId,
  ];
  const extras = extrasOf(draft);
  if (always || special.some((value) => value !== null)) {
    values.push(...special, extras);
    return 'special';
  }
  if (extras === null) {
    return 'plain';
  }
  values.push(extras);
  return 'extras';
}
