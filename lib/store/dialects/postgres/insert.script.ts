import { isDue, startOf, startsNow, type CreatedJob } from '../../job-of-draft.js';
import { sharedOf, SHARED } from '../../typeorm/inserts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import type { NumberSource } from '../shared/number-source.js';
import { msOfSeqSql } from '../shared/row-numbers.js';
import { ServerInserts } from '../shared/server-inserts.js';
import { CHANGES_SQL, query, type Script, type SqlValue } from '../sql.js';
import { JOINED, joined, numbers, texts } from './arrays.js';

/** Of what type the bound values are that jobs have in common: a SELECT does not tell the server. */
const CASTS: Readonly<Record<string, string>> = {
  type_version: 'int',
  priority: 'int',
  ready: 'int',
  sequence: 'int',
  max_retries: 'int',
  expires_at_ms: 'bigint',
  timeout_sec: 'float8',
  retry_delay_sec: 'float8',
};
const OWN_KEYS: readonly string[] = ['idempotency_key', 'request_hash'];
const COMMON = SHARED.filter((column) => !OWN_KEYS.includes(column));
const KEY_AT = SHARED.indexOf('idempotency_key');
const HASH_AT = SHARED.indexOf('request_hash');

/** Stores drafts on PostgreSQL, which takes the arrays of a statement apart. */
export class PostgresInsertScript extends ServerInserts {
  readonly #sql: string;
  readonly #keyedSql: string;

  constructor(tables: TableNames, source: NumberSource) {
    super(tables, source);
    this.#sql = statement(tables, false);
    this.#keyedSql = statement(tables, true);
  }

  protected override *store(
    created: readonly CreatedJob[],
    nowMs: number,
    isKeyed: boolean,
    isAlone: boolean,
  ): Script<number> {
    // There is at least one.
    const { terms } = (created[0] as CreatedJob).draft;
    const common = sharedOf(terms, null, null, isDue(terms, nowMs)).filter(
      (_, at) => at !== KEY_AT && at !== HASH_AT,
    );
    const params: SqlValue[] = [
      ...common,
      startsNow(terms) ? null : startOf(terms, nowMs, nowMs),
      nowMs,
      numbers(created.map((each) => each.seq)),
      joined(created.map((each) => each.id)),
      joined(created.map((each) => each.draft.params)),
    ];
    if (isKeyed) {
      params.push(
        texts(created.map((each) => each.draft.idempotencyKey)),
        texts(created.map((each) => each.draft.requestHash)),
      );
    }
    const sql = isKeyed ? this.#keyedSql : this.#sql;
    yield isAlone ? { sql, params, alone: true } : { sql, params };
    const changes = yield* query(CHANGES_SQL);
    return Number(changes[0]?.[0]);
  }
}

function statement(tables: TableNames, isKeyed: boolean): string {
  const keys = isKeyed ? ['idempotency_key', 'request_hash'] : [];
  const own = ['seq', 'job_id', 'params', ...keys];
  const columns = [...COMMON, 'run_at_ms', ...own, 'scheduled_at_ms', 'updated_at_ms'];
  const common = COMMON.map((column) => `?::${CASTS[column] ?? 'text'}`).join(', ');
  const enqueued = msOfSeqSql('seq');
  return `INSERT INTO ${tables.jobs} (${columns.join(', ')})
    SELECT ${common}, COALESCE(?::bigint, LEAST(${enqueued}, ?::bigint)), ${own.join(', ')}, ${enqueued}, ${enqueued}
    FROM unnest(?::bigint[], ${JOINED}, ${JOINED}${keys.map(() => ', ?::text[]').join('')}) AS own (${own.join(', ')})
    ON CONFLICT DO NOTHING`;
}
