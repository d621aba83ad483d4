import type { JobEntity } from '../../../entities/job.entity.js';
import { query, type Script, type SqlValue } from '../sql.js';
import { msOfSeq, seqOfId } from '../shared/row-numbers.js';
import type { Declarations } from './declarations.js';
import { freeNumbers } from './free-numbers.js';
import { addShared, alikeFrom, InsertStatements, rowsAtOnce } from './insert.statements.js';
import { givenJobId, jobIdOf, newJobId } from './job-ids.js';
import type { DatabaseClock } from './sqlite-clock.js';
import { randomHigh, randomLow } from '../../../model/id.js';
import { NIL_TENANT } from '../../../model/tenant.js';
import { CreatedJob, startOf, startsNow } from '../../job-of-draft.js';
import type { InsertResult, JobDraft, KeyHolder } from '../../store.js';
import { ID_TAKEN, type Inserts } from '../../typeorm/inserts.js';
import { readBeside } from '../../typeorm/beside.script.js';
import { ALL_JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import type { TableNames } from '../../typeorm/table-names.js';

/** The most rows of a statement that does all at once. */
const MOST_AT_ONCE = 32;

/** Stores drafts and finds the jobs that hold their idempotency keys. */
export class SqliteInsertScript implements Inserts {
  readonly #t: TableNames;
  readonly #declarations: Declarations;
  readonly #clock: DatabaseClock | undefined;
  readonly #statements: InsertStatements;

  /** @param clock given where each statement is a journey to another thread: then one does it all */
  constructor(tables: TableNames, declarations: Declarations, clock?: DatabaseClock) {
    this.#t = tables;
    this.#declarations = declarations;
    this.#clock = clock;
    this.#statements = new InsertStatements(tables);
  }

  /** Stores drafts in their order. */
  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    return (yield* this.#insertAtOnce(drafts)) ?? (yield* this.#insertInOrder(drafts, nowMs));
  }

  *#insertInOrder(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    const results: InsertResult[] = [];
    let from = 0;
    for (let at = 0; at < drafts.length; at += 1) {
      const draft = drafts[at] as JobDraft;
      if (isSingled(draft)) {
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
    return (yield* this.#refused(drafts, refuses)) ?? (yield* this.insert(drafts, nowMs));
  }

  *#refused(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
  ): Script<readonly InsertResult[] | undefined> {
    const keys = new Map<string, JobDraft>();
    for (let index = 0; index < drafts.length; index += 1) {
      const draft = drafts[index] as JobDraft;
      if (!isSingled(draft)) {
        continue;
      }
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
    return undefined;
  }

  /**
   * The same ahead of a write in somebody's transaction. The write lock is taken first: a
   * transaction that has read cannot write any more once another connection has committed.
   */
  *findByKeyToWrite(tenantId: string, key: string): Script<JobEntity | undefined> {
    yield* this.lock();
    return yield* this.findByKey(tenantId, key);
  }

  /** {@link insert} in somebody's transaction. */
  *insertLocked(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    yield* this.lock();
    return yield* this.#insertInOrder(drafts, nowMs);
  }

  /** {@link insertAll} in somebody's transaction. */
  *insertAllLocked(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    yield* this.lock();
    return (yield* this.#refused(drafts, refuses)) ?? (yield* this.#insertInOrder(drafts, nowMs));
  }

  /** The job that holds a key of a tenant. */
  *findByKey(tenantId: string, key: string): Script<JobEntity | undefined> {
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    return (yield* readBeside(this.#t, rows.map(jobOfRow)))[0];
  }

  /** Row numbers are free only while nobody else writes. */
  *lock(): Script<void> {
    yield* query(`UPDATE ${this.#t.rows} SET ready = ready WHERE 0 = 1`);
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
    let seq = yield* freeNumbers(this.#t.rows, to - from, nowMs);
    // All of a millisecond, nearly always: then they share their start too.
    const isOneStart = msOfSeq(seq) === msOfSeq(seq + to - from - 1);
    for (let start = from; start < to;) {
      const { terms } = drafts[start] as JobDraft;
      const declaration = yield* this.#declarations.of(terms);
      const isEach = !isOneStart && startsNow(terms);
      const isLimited = (drafts[start] as JobDraft).limitKey !== null;
      const values: SqlValue[] = [isEach ? nowMs : startOf(terms, msOfSeq(seq), nowMs)];
      const shape = addShared(values, drafts[start] as JobDraft, declaration, nowMs);
      let at = start;
      const end = start + rowsAtOnce(alikeFrom(drafts, start, to));
      for (; at < end; at += 1, seq += 1) {
        const draft = drafts[at] as JobDraft;
        const { id, high, low } = newJobId(seq);
        values.push(seq, high, low, draft.params);
        if (isLimited) {
          values.push(draft.limitKey);
        }
        results.push(new CreatedJob(draft, seq, id, msOfSeq(seq), nowMs));
      }
      yield* query(this.#statements.many(at - start, shape, isEach, isLimited), values);
      start = at;
    }
  }

  /** Jobs that start now, in one statement that also asks for the time and for free numbers. */
  *#insertAtOnce(drafts: readonly JobDraft[]): Script<readonly InsertResult[] | undefined> {
    const [first] = drafts;
    const terms = first?.terms;
    if (
      this.#clock === undefined ||
      first === undefined ||
      terms === undefined ||
      drafts.length > MOST_AT_ONCE ||
      !startsNow(terms) ||
      !drafts.every(
        (each) =>
          each.terms === terms &&
          each.limitKey === null &&
          each.extras === null &&
          !isSingled(each),
      )
    ) {
      return undefined;
    }
    const declaration = this.#declarations.known(terms);
    if (declaration === undefined) {
      return undefined;
    }
    const shared: SqlValue[] = [];
    const shape = addShared(shared, first, declaration, 0);
    const tails = drafts.map(() => ({ high: randomHigh(), low: randomLow() }));
    const [inserted] = yield {
      sql: this.#statements.atOnce(drafts.length, shape),
      params: [
        this.#clock.shiftMs,
        ...tails.flatMap(({ high, low }, at) => [high, low, drafts[at]?.params ?? '']),
        ...shared,
      ],
      alone: true,
      tells: 'inserted',
    };
    if (inserted === undefined) {
      // To go on would store the jobs twice.
      throw new Error('The driver did not tell how many jobs were inserted.');
    }
    const [last, count] = inserted;
    if (count !== drafts.length) {
      return undefined;
    }
    const firstSeq = Number(last) - count + 1;
    const nowMs = msOfSeq(firstSeq);
    return drafts.map((draft, at) => {
      // As many tails as drafts.
      const { high, low } = tails[at] as (typeof tails)[number];
      return new CreatedJob(draft, firstSeq + at, jobIdOf(firstSeq + at, high, low), nowMs, nowMs);
    });
  }

  /** One with a key, or with an id that somebody has seen already. */
  *#insertAlone(draft: JobDraft, nowMs: number): Script<InsertResult> {
    const seq =
      draft.id === undefined
        ? yield* freeNumbers(this.#t.rows, 1, nowMs)
        : yield* this.#numberOf(draft.id);
    if (seq === undefined) {
      return ID_TAKEN;
    }
    const { idempotencyKey, terms, limitKey } = draft;
    const { id, high, low } = draft.id === undefined ? newJobId(seq) : givenJobId(draft.id);
    const created = new CreatedJob(draft, seq, id, msOfSeq(seq), nowMs);
    const declaration = yield* this.#declarations.of(terms);
    const values: SqlValue[] = [startOf(terms, msOfSeq(seq), nowMs)];
    addShared(values, draft, declaration, nowMs, true);
    values.push(seq, high, low, draft.params);
    if (limitKey !== null) {
      values.push(limitKey);
    }
    const sql = `${this.#statements.many(1, 'special', false, limitKey !== null)} WHERE true
      ON CONFLICT (idempotency_key, COALESCE(tenant_id, '${NIL_TENANT}')) WHERE idempotency_key IS NOT NULL
      DO NOTHING RETURNING seq`;
    if ((yield* query(sql, values)).length === 1) {
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
    const taken = yield* query(`SELECT 1 FROM ${this.#t.rows} WHERE seq = ?`, [seq]);
    return taken.length > 0 ? undefined : seq;
  }
}

/** Whether a draft needs a statement of its own. */
function isSingled({ id, idempotencyKey }: JobDraft): boolean {
  return id !== undefined || idempotencyKey !== null;
}
