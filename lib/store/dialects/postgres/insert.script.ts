import type { JobEntity } from '../../../entities/job.entity.js';
import { CreatedJob, isDue, startOf, startsNow } from '../../job-of-draft.js';
import type { InsertResult, JobDraft, JobTerms, KeyHolder } from '../../store.js';
import { areAlike, ID_TAKEN, sharedOf, SHARED, type Inserts } from '../../typeorm/insert.script.js';
import { ALL_JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { CHANGES_SQL, query, type Script, type SqlValue, type Statement } from '../sql.js';
import { idOfSeq, msOfSeq, msOfSeqSql, seqOfId } from '../sqlite/row-numbers.js';
import { numbers, texts } from './arrays.js';
import type { NumberSource } from './number-source.js';

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

/** A draft and where its result goes. */
interface Placed {
  readonly draft: JobDraft;
  readonly at: number;
}

/** Stores drafts on PostgreSQL: one statement for all that have the same terms, however many. */
export class PostgresInsertScript implements Inserts {
  readonly #t: TableNames;
  readonly #source: NumberSource;
  readonly #sql: string;
  readonly #keyedSql: string;

  constructor(tables: TableNames, source: NumberSource) {
    this.#t = tables;
    this.#source = source;
    this.#sql = this.#statement(false);
    this.#keyedSql = this.#statement(true);
  }

  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    const results = Array.from<InsertResult>({ length: drafts.length });
    const groups = groupByTerms(drafts);
    for (const group of groups) {
      yield* this.#insertGroup(group, nowMs, results, groups.length === 1);
    }
    return results;
  }

  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    const keys = new Map<string, JobDraft>();
    for (const [index, draft] of drafts.entries()) {
      const { id, idempotencyKey } = draft;
      const { tenantId } = draft.terms;
      if (id !== undefined && (yield* this.#isTaken(id))) {
        return [ID_TAKEN];
      }
      if (idempotencyKey === null) {
        continue;
      }
      const key = `${tenantId}\n${idempotencyKey}`;
      const holder = keys.get(key) ?? (yield* this.findByKey(tenantId, idempotencyKey));
      if (holder !== undefined && refuses(holder, index)) {
        return [];
      }
      keys.set(key, keys.get(key) ?? draft);
    }
    return yield* this.insert(drafts, nowMs);
  }

  findByKeyToWrite(tenantId: string, key: string): Script<JobEntity | undefined> {
    return this.findByKey(tenantId, key);
  }

  insertLocked(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    return this.insert(drafts, nowMs);
  }

  insertAllLocked(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    return this.insertAll(drafts, refuses, nowMs);
  }

  *findByKey(tenantId: string, key: string): Script<JobEntity | undefined> {
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    const [row] = rows;
    return row === undefined ? undefined : jobOfRow(row);
  }

  /** What the statement leaves out had a number or a key that was taken; that is looked at after. */
  *#insertGroup(
    group: readonly Placed[],
    nowMs: number,
    results: InsertResult[],
    isOnly: boolean,
  ): Script<void> {
    let left = group;
    while (left.length > 0) {
      const created = this.#number(left, nowMs);
      const isKeyed = left.some(({ draft }) => draft.idempotencyKey !== null);
      yield this.#bound(created, nowMs, isKeyed, isOnly && !isKeyed);
      const changes = yield* query(CHANGES_SQL);
      if (changes[0]?.[0] === created.length) {
        left.forEach(({ at }, index) => (results[at] = created[index] as InsertResult));
        return;
      }
      left = yield* this.#leftOver(left, created, results);
    }
  }

  /** Sorts out what was stored, what a key kept out, and what must be tried with other numbers. */
  *#leftOver(
    group: readonly Placed[],
    created: readonly CreatedJob[],
    results: InsertResult[],
  ): Script<readonly Placed[]> {
    const rows = yield* query(`SELECT job_id FROM ${this.#t.jobs} WHERE seq = ANY(?::bigint[])`, [
      numbers(created.map(({ seq }) => seq)),
    ]);
    const stored = new Set(rows.map((row) => row[0]));
    const again: Placed[] = [];
    for (const [index, placed] of group.entries()) {
      const { draft, at } = placed;
      const job = created[index] as CreatedJob;
      if (stored.has(job.id)) {
        results[at] = job;
        continue;
      }
      const holder =
        draft.idempotencyKey === null
          ? undefined
          : yield* this.findByKey(draft.terms.tenantId, draft.idempotencyKey);
      if (holder !== undefined) {
        results[at] = { outcome: 'taken', job: holder };
      } else if (draft.id !== undefined) {
        results[at] = ID_TAKEN;
      } else {
        again.push(placed);
      }
    }
    return again;
  }

  #number(group: readonly Placed[], nowMs: number): CreatedJob[] {
    let seq = this.#source.take(group.length, nowMs);
    return group.map(({ draft }) => {
      const given = draft.id === undefined ? undefined : seqOfId(draft.id);
      const own = given ?? seq++;
      return new CreatedJob(draft, own, draft.id ?? idOfSeq(own), msOfSeq(own), nowMs);
    });
  }

  #bound(
    created: readonly CreatedJob[],
    nowMs: number,
    isKeyed: boolean,
    isAlone: boolean,
  ): Statement {
    // The caller has at least one.
    const { terms } = (created[0] as CreatedJob).draft;
    const common = sharedOf(terms, null, null, isDue(terms, nowMs)).filter(
      (_, at) => at !== KEY_AT && at !== HASH_AT,
    );
    const params: SqlValue[] = [
      ...common,
      startsNow(terms) ? null : startOf(terms, nowMs, nowMs),
      nowMs,
      numbers(created.map((each) => each.seq)),
      texts(created.map((each) => each.id)),
      texts(created.map((each) => each.draft.params)),
    ];
    if (isKeyed) {
      params.push(
        texts(created.map((each) => each.draft.idempotencyKey)),
        texts(created.map((each) => each.draft.requestHash)),
      );
    }
    const sql = isKeyed ? this.#keyedSql : this.#sql;
    return isAlone ? { sql, params, alone: true } : { sql, params };
  }

  *#isTaken(id: string): Script<boolean> {
    const taken = yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE seq = ?`, [seqOfId(id) ?? -1]);
    return taken.length > 0;
  }

  #statement(isKeyed: boolean): string {
    const keys = isKeyed ? ['idempotency_key', 'request_hash'] : [];
    const own = ['seq', 'job_id', 'params', ...keys];
    const columns = [...COMMON, 'run_at_ms', ...own, 'scheduled_at_ms', 'updated_at_ms'];
    const common = COMMON.map((column) => `?::${CASTS[column] ?? 'text'}`).join(', ');
    const enqueued = msOfSeqSql('seq');
    return `INSERT INTO ${this.#t.jobs} (${columns.join(', ')})
      SELECT ${common}, COALESCE(?::bigint, LEAST(${enqueued}, ?::bigint)), ${own.join(', ')}, ${enqueued}, ${enqueued}
      FROM unnest(?::bigint[], ${own
        .slice(1)
        .map(() => '?::text[]')
        .join(', ')}) AS own (${own.join(', ')})
      ON CONFLICT DO NOTHING`;
  }
}

/** Drafts that share a statement, in their order. */
function groupByTerms(drafts: readonly JobDraft[]): readonly (readonly Placed[])[] {
  const groups: { readonly terms: JobTerms; readonly placed: Placed[] }[] = [];
  for (const [at, draft] of drafts.entries()) {
    const last = groups.at(-1);
    if (last !== undefined && (last.terms === draft.terms || areAlike(last.terms, draft.terms))) {
      last.placed.push({ draft, at });
    } else {
      groups.push({ terms: draft.terms, placed: [{ draft, at }] });
    }
  }
  return groups.map(({ placed }) => placed);
}
