import type { JobEntity } from '../../../entities/job.entity.js';
import { CreatedJob } from '../../job-of-draft.js';
import type { InsertResult, JobDraft, KeyHolder } from '../../store.js';
import { areAlike, ID_TAKEN, type Inserts } from '../../typeorm/inserts.js';
import { readBeside } from '../../typeorm/beside.script.js';
import { ALL_JOB_COLUMNS, jobOfRow } from '../../typeorm/job.columns.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script } from '../sql.js';
import type { NumberSource } from './number-source.js';
import { idOfSeq, msOfSeq, seqOfId } from './row-numbers.js';

/** A draft and where its result goes. */
export interface Placed {
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
    return yield* this.#insertEach(drafts, nowMs, true);
  }

  /**
   * All or none, though somebody may take a key or a number between the look and the write: what
   * was stored until then is taken back.
   */
  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (holder: KeyHolder, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    if (drafts.every((each) => each.id === undefined && each.idempotencyKey === null)) {
      return yield* this.#insertEach(drafts, nowMs, false);
    }
    if (yield* this.#areTaken(drafts)) {
      return [ID_TAKEN];
    }
    const holders = yield* this.#holders(drafts);
    const keys = new Map<string, JobDraft>();
    for (const [index, draft] of drafts.entries()) {
      if (draft.idempotencyKey === null) {
        continue;
      }
      const key = keyOf(draft);
      const holder = keys.get(key) ?? holders.get(key);
      if (holder !== undefined && refuses(holder, index)) {
        return [];
      }
      keys.set(key, keys.get(key) ?? draft);
    }
    yield* query('SAVEPOINT nestjs_jobs_insert');
    const results = yield* this.#insertEach(drafts, nowMs, false);
    const isTaken = results.some((each) => each.outcome === 'id_taken');
    if (
      isTaken ||
      results.some((each, index) => each.outcome === 'taken' && refuses(each.job, index))
    ) {
      yield* query('ROLLBACK TO SAVEPOINT nestjs_jobs_insert');
      return isTaken ? [ID_TAKEN] : [];
    }
    yield* query('RELEASE SAVEPOINT nestjs_jobs_insert');
    return results;
  }

  /** Nothing: what is changed is locked where it is read. */
  *lock(): Script<void> {}

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
    return (yield* readBeside(this.#t, rows.map(jobOfRow)))[0];
  }

  /** `mayBeAlone`: each draft is a call of its own, so it is no harm when some are stored. */
  *#insertEach(
    drafts: readonly JobDraft[],
    nowMs: number,
    mayBeAlone: boolean,
  ): Script<readonly InsertResult[]> {
    const results = Array.from<InsertResult>({ length: drafts.length });
    const groups = groupByTerms(drafts);
    for (const group of groups) {
      yield* this.#insertGroup(group, nowMs, results, mayBeAlone && groups.length === 1);
    }
    return results;
  }

  /**
   * What the statement leaves out had a number or a key that was taken; that is looked at after.
   *
   * It may run without a transaction, and its answer may be lost: whatever happens, the work is done
   * again as a whole. Nothing is stored twice, because a draft keeps the number that it was tried
   * under; a row there with the draft's own id is the draft, also when the session that wrote it is
   * still at it, since the key makes this one wait.
   */
  *#insertGroup(
    group: readonly Placed[],
    nowMs: number,
    results: InsertResult[],
    isAlone: boolean,
  ): Script<void> {
    let left = group;
    while (left.length > 0) {
      const created = this.number(
        left.map(({ draft }) => draft),
        nowMs,
      );
      const isKeyed = left.some(({ draft }) => draft.idempotencyKey !== null);
      const stored = yield* this.store(created, nowMs, isKeyed, isAlone);
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
      `SELECT job_id FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers} ${this.#t.words.latest}`,
      [JSON.stringify(created.map(({ seq }) => seq))],
    );
    const stored = new Set(rows.map((row) => row[0]));
    const missing = group.filter((_, index) => !stored.has((created[index] as CreatedJob).id));
    const holders = yield* this.#holders(
      missing.map(({ draft }) => draft),
      this.#t.words.latest,
    );
    const again: Placed[] = [];
    for (const [index, placed] of group.entries()) {
      const { draft, at } = placed;
      const job = created[index] as CreatedJob;
      const holder = draft.idempotencyKey === null ? undefined : holders.get(keyOf(draft));
      if (stored.has(job.id)) {
        results[at] = job;
      } else if (holder !== undefined) {
        results[at] = { outcome: 'taken', job: holder };
      } else if (draft.id !== undefined) {
        results[at] = ID_TAKEN;
      } else {
        draft.tried = undefined;
        again.push(placed);
      }
    }
    return again;
  }

  /** Gives drafts their numbers, or the ones that they were tried under. */
  number(drafts: readonly JobDraft[], nowMs: number): CreatedJob[] {
    let next = this.#source.take(drafts.length, nowMs);
    return drafts.map((draft) => {
      const { id, tried } = draft;
      const seq = tried?.seq ?? (id === undefined ? undefined : seqOfId(id)) ?? next++;
      const created = new CreatedJob(
        draft,
        seq,
        tried?.id ?? id ?? idOfSeq(seq),
        msOfSeq(seq),
        nowMs,
      );
      draft.tried = created;
      return created;
    });
  }

  /** Whether another job has the number of an id that somebody has seen already. */
  *#areTaken(drafts: readonly JobDraft[]): Script<boolean> {
    const ids = new Map(drafts.flatMap(({ id }) => (id === undefined ? [] : [[seqOfId(id), id]])));
    if (ids.size === 0) {
      return false;
    }
    const rows = yield* query(
      `SELECT seq, job_id FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
      [JSON.stringify([...ids.keys()])],
    );
    return rows.some(([seq, id]) => ids.get(Number(seq)) !== id);
  }

  /** The stored jobs that hold the keys of drafts. */
  *#holders(drafts: readonly JobDraft[], latest = ''): Script<ReadonlyMap<string, JobEntity>> {
    const keyed = drafts.filter(({ idempotencyKey }) => idempotencyKey !== null);
    if (keyed.length === 0) {
      return new Map();
    }
    const { amongTexts } = this.#t.words;
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs}
       WHERE idempotency_key ${amongTexts} AND tenant_id ${amongTexts} AND idempotency_key IS NOT NULL ${latest}`,
      [
        JSON.stringify(keyed.map(({ idempotencyKey }) => idempotencyKey)),
        JSON.stringify([...new Set(keyed.map(({ terms }) => terms.tenantId))]),
      ],
    );
    const jobs = yield* readBeside(this.#t, rows.map(jobOfRow), latest);
    return new Map(jobs.map((job) => [keyOf(job), job]));
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

/** Whose key, and which. */
function keyOf(of: JobDraft | JobEntity): string {
  return `${'terms' in of ? of.terms.tenantId : of.tenantId}\n${of.idempotencyKey}`;
}

/** Drafts that share a statement, in their order. */
export function groupByTerms(drafts: readonly JobDraft[]): readonly (readonly Placed[])[] {
  const groups: { readonly first: JobDraft; readonly placed: Placed[] }[] = [];
  for (const [at, draft] of drafts.entries()) {
    const last = groups.at(-1);
    if (last !== undefined && areAlike(last.first, draft)) {
      last.placed.push({ draft, at });
    } else {
      groups.push({ first: draft, placed: [{ draft, at }] });
    }
  }
  return groups.map(({ placed }) => placed);
}
