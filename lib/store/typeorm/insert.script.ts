import type { JobEntity } from '../../entities/job.entity.js';
import { query, type Script } from '../dialects/sql.js';
import { idOfSeq, msOfSeq, msOfSeqSql, seqOfId } from '../dialects/shared/row-numbers.js';
import { freeNumbers } from '../dialects/sqlite/free-numbers.js';
import { CreatedJob, isDue, startOf, startsNow } from '../job-of-draft.js';
import type { InsertResult, JobDraft, KeyHolder } from '../store.js';
import { areAlike, ID_TAKEN, SHARED, sharedOf, type Inserts } from './inserts.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import type { TableNames } from './table-names.js';

/** What each job has to itself. */
const OWN = ['seq', 'job_id', 'params'] as const;

/** What follows from the row number. */
const DERIVED = ['scheduled_at_ms', 'updated_at_ms'] as const;

const COLUMNS = [...SHARED, 'run_at_ms', ...OWN, ...DERIVED].join(', ');

/** The most rows of one statement. */
const MOST_ROWS = 50;

/** Stores drafts and finds the jobs that hold their idempotency keys. */
export class InsertScript implements Inserts {
  readonly #t: TableNames;
  readonly #statements = new Map<number, string>();
  readonly #withKey: string;

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#withKey = `${this.#insertMany(1, false)} WHERE true
      ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING seq`;
  }

  /** Stores drafts in their order. */
  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    const results: InsertResult[] = [];
    let from = 0;
    for (let at = 0; at < drafts.length; at += 1) {
      const draft = drafts[at] as JobDraft;
      if (draft.id !== undefined || draft.idempotencyKey !== null) {
        yield* this.#insertPlain(drafts, from, at, nowMs, results);
        from = at + 1;
        results.push(yield* this.#insertAlone(draft, nowMs));
      }
    }
    yield* this.#insertPlain(drafts, from, drafts.length, nowMs, results);
    return results;
  }

  /**
   * Stores all drafts or none: keys and given ids are looked at first, in the same transaction, and
   * when one is taken and its holder `refuses`, nothing is stored and there are no outcomes.
   */
  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    const keys = new Map<string, JobDraft>();
    for (const [index, draft] of drafts.entries()) {
      const { id, idempotencyKey } = draft;
      const { tenantId } = draft.terms;
      if (id !== undefined && (yield* this.#numberOf(id)) === undefined) {
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

  /**
   * The same ahead of a write in somebody's transaction. The write lock is taken first: a
   * transaction that has read cannot write any more once another connection has committed.
   */
  *findByKeyToWrite(tenantId: string, key: string): Script<JobEntity | undefined> {
    yield* this.#lock();
    return yield* this.findByKey(tenantId, key);
  }

  /** {@link insert} in somebody's transaction. */
  *insertLocked(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    yield* this.#lock();
    return yield* this.insert(drafts, nowMs);
  }

  /** {@link insertAll} in somebody's transaction. */
  *insertAllLocked(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    yield* this.#lock();
    return yield* this.insertAll(drafts, refuses, nowMs);
  }

  /** The job that holds a key of a tenant. */
  *findByKey(tenantId: string, key: string): Script<JobEntity | undefined> {
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    const [row] = rows;
    return row === undefined ? undefined : jobOfRow(row);
  }

  /** Row numbers are free only while nobody else writes. */
  *#lock(): Script<void> {
    yield* query(`UPDATE ${this.#t.jobs} SET ready = ready WHERE 0 = 1`);
  }

  /**
   * Jobs that differ in nothing but id and params share the other bound values: half the cost of a
   * bulk enqueue, and a quarter of one by ten callers (better-sqlite3).
   */
  *#insertPlain(
    drafts: readonly JobDraft[],
    from: number,
    to: number,
    nowMs: number,
    results: InsertResult[],
  ): Script<void> {
    if (from === to) {
      return;
    }
    let seq = yield* freeNumbers(this.#t.jobs, to - from, nowMs);
    for (let start = from; start < to;) {
      const { terms } = drafts[start] as JobDraft;
      const isNow = startsNow(terms);
      const values = sharedOf(terms, null, null, isDue(terms, nowMs));
      values.push(isNow ? nowMs : startOf(terms, nowMs, nowMs));
      let at = start;
      for (; at < to && at - start < MOST_ROWS; at += 1, seq += 1) {
        const draft = drafts[at] as JobDraft;
        if (draft.terms !== terms && !areAlike(draft.terms, terms)) {
          break;
        }
        const created = new CreatedJob(draft, seq, idOfSeq(seq), msOfSeq(seq), nowMs);
        values.push(seq, created.id, draft.params);
        results.push(created);
      }
      yield* query(this.#insertMany(at - start, isNow), values);
      start = at;
    }
  }

  /** One with a key, or with an id that somebody has seen already. */
  *#insertAlone(draft: JobDraft, nowMs: number): Script<InsertResult> {
    const seq =
      draft.id === undefined
        ? yield* freeNumbers(this.#t.jobs, 1, nowMs)
        : yield* this.#numberOf(draft.id);
    if (seq === undefined) {
      return ID_TAKEN;
    }
    const created = new CreatedJob(draft, seq, draft.id ?? idOfSeq(seq), msOfSeq(seq), nowMs);
    const { idempotencyKey, requestHash, terms } = draft;
    const values = sharedOf(terms, idempotencyKey, requestHash, isDue(terms, nowMs));
    values.push(created.job.runAtMs, seq, created.id, draft.params);
    if ((yield* query(this.#withKey, values)).length === 1) {
      return created;
    }
    const holder = yield* this.findByKey(terms.tenantId, idempotencyKey ?? '');
    if (holder === undefined) {
      throw new Error(
        `The idempotency key of job ${created.id} was taken and is free again within one transaction.`,
      );
    }
    return { outcome: 'taken', job: holder };
  }

  /** The row number of a new id, unless another job of the same moment has it. */
  *#numberOf(id: string): Script<number | undefined> {
    const seq = seqOfId(id);
    if (seq === undefined) {
      return undefined;
    }
    const taken = yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE seq = ?`, [seq]);
    return taken.length > 0 ? undefined : seq;
  }

  /** What {@link startOf} says, in SQL: jobs that start now, or others that share one start. */
  #insertMany(rows: number, isNow: boolean): string {
    const key = isNow ? rows : -rows;
    let sql = this.#statements.get(key);
    if (sql === undefined) {
      const shared = SHARED.map(() => '?').join(', ');
      const enqueued = msOfSeqSql('column1');
      const own = Array.from({ length: rows }, () => '(?, ?, ?)').join(', ');
      sql = `INSERT INTO ${this.#t.jobs} (${COLUMNS})
        SELECT ${shared}, ${isNow ? `MIN(${enqueued}, ?)` : '?'}, column1, column2, column3, ${enqueued}, ${enqueued} FROM (VALUES ${own})`;
      this.#statements.set(key, sql);
    }
    return sql;
  }
}
