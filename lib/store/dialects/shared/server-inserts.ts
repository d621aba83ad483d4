import type { JobEntity } from '../../../entities/job.entity.js';
import { CreatedJob } from '../../job-of-draft.js';
import type { InsertResult, JobDraft, JobTerms, KeyHolder } from '../../store.js';
import { areAlike, ID_TAKEN, type Inserts } from '../../typeorm/inserts.js';
import { ALL_JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script } from '../sql.js';
import type { NumberSource } from './number-source.js';
import { idOfSeq, msOfSeq, seqOfId } from './row-numbers.js';

/** A draft and where its result goes. */
interface Placed {
  readonly draft: JobDraft;
  readonly at: number;
}

/**
 * Stores drafts where several processes insert at once: one statement for all that have the same
 * terms, however many. It leaves out what cannot be stored; why not is asked afterwards.
 */
export abstract class ServerInserts implements Inserts {
  readonly #t: TableNames;
  readonly #source: NumberSource;

  constructor(tables: TableNames, source: NumberSource) {
    this.#t = tables;
    this.#source = source;
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
      const stored = yield* this.store(created, nowMs, isKeyed, isOnly && !isKeyed);
      if (stored === created.length) {
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
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
      [JSON.stringify(created.map(({ seq }) => seq))],
    );
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

  *#isTaken(id: string): Script<boolean> {
    const taken = yield* query(`SELECT 1 FROM ${this.#t.jobs} WHERE seq = ?`, [seqOfId(id) ?? -1]);
    return taken.length > 0;
  }

  /**
   * Inserts jobs of the same terms, at least one, except those whose number or key is taken; says
   * how many. `isAlone`: nothing else is done for the drafts of this call.
   */
  protected abstract store(
    created: readonly CreatedJob[],
    nowMs: number,
    isKeyed: boolean,
    isAlone: boolean,
  ): Script<number>;
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
