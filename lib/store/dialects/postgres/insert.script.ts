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
  extras: 'int',
  timeout_sec: 'float8',
  retry_delay_sec: 'float8',
};
const OWN_KEYS: readonly string[] = ['idempotency_key', 'request_hash'];
const COMMON = SHARED.filter((column) => !OWN_KEYS.includes(column));
const KEY_AT = SHARED.indexOf('idempotency_key');
const HASH_AT = SHARED.indexOf('request_hash');

/** Stores drafts on PostgreSQL, which takes the arrays of a statement apart. */
export class PostgresInsertScript extends ServerInserts {
  readonly #sql: (isKeyed: boolean, isLimited: boolean) => string;

  constructor(tables: TableNames, source: NumberSource) {
    super(tables, source);
    const [plain, limited, keyed, both] = [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ].map(([isKeyed = false, isLimited = false]) => statement(tables, isKeyed, isLimited));
    this.#sql = (isKeyed, isLimited) =>
      (isKeyed ? (isLimited ? both : keyed) : isLimited ? limited : plain) ?? '';
  }

  protected override *store(
    created: readonly CreatedJob[],
    nowMs: number,
    isKeyed: boolean,
    isAlone: boolean,
  ): Script<number> {
    const params = paramsOf(created, nowMs);
    const isLimited = created[0]?.draft.limitKey !== null;
    if (isKeyed) {
      params.push(
        texts(created.map((each) => each.draft.idempotencyKey)),
        texts(created.map((each) => each.draft.requestHash)),
      );
    }
    if (isLimited) {
      params.push(texts(created.map((each) => each.draft.limitKey)));
    }
    const sql = this.#sql(isKeyed, isLimited);
    yield isAlone ? { sql, params, alone: true } : { sql, params };
    const changes = yield* query(CHANGES_SQL);
    return Number(changes[0]?.[0]);
  }
}

/** What {@link statement} binds for jobs of the same terms, of which there is at least one. */
export function paramsOf(created: readonly CreatedJob[], nowMs: number): SqlValue[] {
  const { draft } = created[0] as CreatedJob;
  const { terms } = draft;
  const common = sharedOf(draft, isDue(terms, nowMs)).filter(
    (_, at) => at !== KEY_AT && at !== HASH_AT,
  );
  return [
    ...common,
    startsNow(terms) ? null : startOf(terms, nowMs, nowMs),
    nowMs,
    numbers(created.map((each) => each.seq)),
    joined(created.map((each) => each.id)),
    joined(created.map((each) => each.draft.params)),
  ];
}

/** `where`: a condition for all of them. */
export function statement(
  tables: TableNames,
  isKeyed: boolean,
  isLimited: boolean,
  where = '',
): string {
  const keys = [
    ...(isKeyed ? ['idempotency_key', 'request_hash'] : []),
    ...(isLimited ? ['limit_key'] : []),
  ];
  const own = ['seq', 'job_id', 'params', ...keys];
  const columns = [...COMMON, 'run_at_ms', ...own, 'scheduled_at_ms', 'updated_at_ms'];
  const common = COMMON.map((column) => `?::${CASTS[column] ?? 'text'}`).join(', ');
  const enqueued = msOfSeqSql('seq');
  return `INSERT INTO ${tables.jobs} (${columns.join(', ')})
    SELECT ${common}, COALESCE(?::bigint, LEAST(${enqueued}, ?::bigint)), ${own.join(', ')}, ${enqueued}, ${enqueued}
    FROM unnest(?::bigint[], ${JOINED}, ${JOINED}${keys.map(() => ', ?::text[]').join('')}) AS own (${own.join(', ')}) ${where}
    ON CONFLICT DO NOTHING`;
}
