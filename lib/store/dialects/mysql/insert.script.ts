import { isDue, startOf, startsNow, type CreatedJob } from '../../job-of-draft.js';
import { sharedOf, SHARED } from '../../typeorm/inserts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import type { NumberSource } from '../shared/number-source.js';
import { ServerInserts } from '../shared/server-inserts.js';
import { CHANGES_SQL, query, type Script } from '../sql.js';
import { chunks } from '../shared/chunks.js';
import { literal } from './literals.js';

const OWN_KEYS: readonly string[] = ['idempotency_key', 'request_hash'];
const COMMON = SHARED.filter((column) => !OWN_KEYS.includes(column));
const KEY_AT = SHARED.indexOf('idempotency_key');
const HASH_AT = SHARED.indexOf('request_hash');
const EXTRAS_AT = SHARED.indexOf('extras');
const COLUMNS = [
  ...COMMON,
  'seq',
  'job_id',
  'params',
  'scheduled_at_ms',
  'updated_at_ms',
  'run_at_ms',
  ...OWN_KEYS,
];

/** Rows of one statement. */
const MOST_ROWS = 500;

/** Stores drafts on MySQL and MariaDB. */
export class MysqlInsertScript extends ServerInserts {
  readonly #jobs: string;

  constructor(tables: TableNames, source: NumberSource) {
    super(tables, source);
    this.#jobs = tables.jobs;
  }

  protected override *store(
    created: readonly CreatedJob[],
    nowMs: number,
    _isKeyed: boolean,
    isAlone: boolean,
  ): Script<number> {
    const texts = this.textsOf(created, nowMs);
    let stored = 0;
    for (const sql of texts) {
      yield isAlone && texts.length === 1 ? { sql, params: [], alone: true } : { sql, params: [] };
      const changes = yield* query(CHANGES_SQL);
      stored += Number(changes[0]?.[0]);
    }
    return stored;
  }

  /** The statements that store jobs of the same terms, of which there is at least one. */
  textsOf(created: readonly CreatedJob[], nowMs: number): readonly string[] {
    const first = (created[0] as CreatedJob).draft;
    const { terms } = first;
    const columns = first.limitKey === null ? COLUMNS : [...COLUMNS, 'limit_key'];
    // A row without extras has a number there too: one that becomes longer does not fit into a full page.
    const common = sharedOf(first, isDue(terms, nowMs))
      .map((value, at) => (at === EXTRAS_AT ? (value ?? 0) : value))
      .filter((_, at) => at !== KEY_AT && at !== HASH_AT)
      .map(literal)
      .join(',');
    const startMs = startsNow(terms) ? undefined : startOf(terms, nowMs, nowMs);
    const rows = created.map(
      ({ draft, seq, id, scheduledAtMs }) =>
        `(${common},${seq},${literal(id)},${literal(draft.params)},${scheduledAtMs},${scheduledAtMs},${startMs ?? Math.min(scheduledAtMs, nowMs)},${literal(draft.idempotencyKey)},${literal(draft.requestHash)}${draft.limitKey === null ? '' : `,${literal(draft.limitKey)}`})`,
    );
    return chunks(rows, MOST_ROWS, (row) => row.length).map(
      (part) => `INSERT IGNORE INTO ${this.#jobs} (${columns.join(', ')}) VALUES ${part.join(',')}`,
    );
  }
}
