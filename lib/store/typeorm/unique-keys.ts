import type { JobEntity } from '../../entities/job.entity.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { duplicateJob, type Replaceable, type UniqueClaim } from '../../model/unique.js';
import { query, type Row, type Script } from '../dialects/sql.js';
import type { JobChange } from '../store.js';
import type { TableNames } from './table-names.js';

/** A key of a tenant. */
export interface UniqueKey {
  readonly tenantId: string;
  readonly key: string;
}

/** A claim as it stands beside the row of a job. */
export interface StoredClaim extends UniqueKey {
  readonly until: UniqueClaim['until'];
  readonly withinMs: number;
}

/** A job as far as it says whether it holds a key, and may get other params. */
export interface Standing extends Replaceable {
  readonly seq: number;
  readonly id: string;
}

/** Who claimed a key last. */
export interface LastClaim extends UniqueKey {
  readonly jobSeq: number;
  readonly jobId: string;
  readonly heldUntil: string;
  readonly withinUntilMs: number;
}

/**
 * The rows of unique keys. Nothing is written to them when a job starts or ends, so that it does so as
 * quickly as any other; whether the last one to claim a key still holds it is seen by its own row, when
 * somebody wants the key. Keys are locked in their order, and before rows of jobs.
 */
export class UniqueKeys {
  readonly #t: TableNames;
  readonly #latest: () => string;

  /** @param latest what follows a read of what may have been committed since the transaction began */
  constructor(tables: TableNames, latest: () => string) {
    this.#t = tables;
    this.#latest = latest;
  }

  /**
   * Who claimed these keys last, locked: whoever wants one of them waits until this transaction is
   * over. A key that nobody ever claimed gets a row for that, which is to be taken or forgotten.
   */
  *lock(keys: readonly UniqueKey[]): Script<ReadonlyMap<string, LastClaim>> {
    const sorted = [...new Map(keys.map((each) => [nameOf(each), each])).values()].sort(byName);
    const { words, uniques } = this.#t;
    // SQLite has one writer.
    for (let at = 0; words.forUpdate !== '' && at < sorted.length; at += KEYS_AT_ONCE) {
      // DO NOTHING would not lock a row that is there, and on MySQL only share it.
      yield* this.#upsert(
        sorted
          .slice(at, at + KEYS_AT_ONCE)
          .map(({ tenantId, key }) => [tenantId, key, NOBODY, '', 'within', 0]),
        ['tenant_id'],
      );
    }
    const found = new Map<string, LastClaim>();
    for (const [tenantId, names] of byTenant(sorted)) {
      const rows = yield* query(
        `SELECT unique_key, job_seq, job_id, held_until, within_until_ms FROM ${uniques}
         WHERE tenant_id = ? AND unique_key ${words.amongTexts} ${this.#latest()}`,
        [tenantId, JSON.stringify(names)],
      );
      for (const row of rows) {
        const claim = lastClaimOf(tenantId, row);
        found.set(nameOf(claim), claim);
      }
    }
    return found;
  }

  /** How jobs stand, by row number; `locked`: nobody changes them until this transaction is over. */
  *standings(seqs: readonly number[], locked: boolean): Script<ReadonlyMap<number, Standing>> {
    if (seqs.length === 0) {
      return new Map();
    }
    const { words, jobs } = this.#t;
    const rows = yield* query(
      `SELECT seq, job_id, status, revision, type, type_version FROM ${jobs}
       WHERE seq ${words.amongNumbers} ORDER BY seq ${locked ? words.forUpdate : this.#latest()}`,
      [JSON.stringify(seqs)],
    );
    return new Map(rows.map(standingOf).map((each) => [each.seq, each]));
  }

  /** From now on these jobs hold these keys, which are locked. */
  *take(claims: readonly LastClaim[]): Script<void> {
    const sorted = claims.toSorted(byName);
    for (let at = 0; at < sorted.length; at += KEYS_AT_ONCE) {
      yield* this.#upsert(
        sorted
          .slice(at, at + KEYS_AT_ONCE)
          .map((each) => [
            each.tenantId,
            each.key,
            each.jobSeq,
            each.jobId,
            each.heldUntil,
            each.withinUntilMs,
          ]),
        ['job_seq', 'job_id', 'held_until', 'within_until_ms'],
      );
    }
  }

  /**
   * Locks the key that a job claimed, if it has a row: before the job's own, where a change is to release or
   * to retake it. `nowait`: the job's is locked already, so that nobody is waited for.
   */
  *lockOf(job: JobEntity, change: JobChange | undefined, nowait: boolean): Script<void> {
    const { words, uniques } = this.#t;
    const claim = change?.remove === true || change?.isRetry === true ? claimOf(job) : undefined;
    if (claim !== undefined && words.forUpdate !== '') {
      const select = `SELECT 1 FROM ${uniques} WHERE tenant_id = ? AND unique_key = ? ${words.forUpdate}`;
      for (const sql of nowait ? words.waiting(select, 0) : [select]) {
        yield* query(sql, [claim.tenantId, claim.key]);
      }
    }
  }

  /** Deletes the rows of keys that were locked, and that still nobody ever claimed. */
  *forget(keys: readonly UniqueKey[]): Script<void> {
    if (this.#t.words.forUpdate !== '') {
      yield* this.#remove(keys, [NOBODY]);
    }
  }

  /** A job is deleted, and names its key no more. */
  *release(job: JobEntity): Script<void> {
    const claim = claimOf(job);
    if (claim !== undefined) {
      yield* this.#remove([claim], [job.seq]);
    }
  }

  /**
   * An ended job goes back in line. One that held its key until its end takes it again; one that held
   * it until it started does not.
   *
   * @throws JobsError `duplicate_job` when another one has it
   */
  *retake(job: JobEntity, nowMs: number): Script<void> {
    const claim = claimOf(job);
    if (claim === undefined) {
      return;
    }
    const last = (yield* this.lock([claim])).get(nameOf(claim));
    const isOwn = last?.jobId === job.id;
    if (claim.until === 'started') {
      yield* isOwn ? this.take([{ ...last, heldUntil: 'within' }]) : this.forget([claim]);
      return;
    }
    if (last !== undefined && !isOwn) {
      const holder = (yield* this.standings([last.jobSeq], false)).get(last.jobSeq);
      if (isHeld(last, holder, nowMs)) {
        throw duplicateJob({ id: last.jobId }, `job ${job.id} was not put back in line`);
      }
    }
    const { tenantId, key, withinMs } = claim;
    yield* this.take([
      {
        tenantId,
        key,
        jobSeq: job.seq,
        jobId: job.id,
        heldUntil: 'final',
        withinUntilMs: withinMs === 0 ? 0 : job.scheduledAtMs + withinMs,
      },
    ]);
  }

  *#upsert(
    rows: readonly (readonly (string | number)[])[],
    columns: readonly string[],
  ): Script<void> {
    const { words, uniques } = this.#t;
    yield* query(
      `INSERT INTO ${uniques} (tenant_id, unique_key, job_seq, job_id, held_until, within_until_ms)
       SELECT ${Object.keys(GIVEN).join(', ')} FROM ${words.table('given', GIVEN)}${words.afterSelect}
       ${words.replacing('tenant_id, unique_key', columns)}`,
      [JSON.stringify(rows)],
    );
  }

  *#remove(keys: readonly UniqueKey[], seqs: readonly number[]): Script<void> {
    yield* removeUniques(this.#t, keys, seqs);
  }
}

/** Deletes the rows of keys that one of these jobs claimed last. */
export function* removeUniques(
  { words, uniques }: TableNames,
  keys: readonly UniqueKey[],
  seqs: readonly number[],
): Script<void> {
  for (const [tenantId, names] of byTenant(keys.toSorted(byName))) {
    yield* query(
      `DELETE FROM ${uniques}
       WHERE tenant_id = ? AND unique_key ${words.amongTexts} AND job_seq ${words.amongNumbers}`,
      [tenantId, JSON.stringify(names), JSON.stringify(seqs)],
    );
  }
}

/** Whether a key is held by the job that claimed it last, which may be gone. */
export function isHeld(last: LastClaim, job: Standing | undefined, nowMs: number): boolean {
  if (last.withinUntilMs > nowMs) {
    return true;
  }
  return (
    job !== undefined &&
    job.id === last.jobId &&
    !isFinal(job.status) &&
    (last.heldUntil === 'final' || (last.heldUntil === 'started' && job.revision === 0))
  );
}

/** One text for a key of a tenant; no name of either has a NUL. */
export function nameOf({ tenantId, key }: UniqueKey): string {
  return `${tenantId}\0${key}`;
}

/** What a job claimed. */
function claimOf({ extras, beside }: JobEntity): StoredClaim | undefined {
  return hasExtra(extras, EXTRA.unique) ? storedClaim(beside?.uniqueClaim ?? null) : undefined;
}

/** A claim by the text beside a job's row. */
export function storedClaim(text: string | null): StoredClaim | undefined {
  return text === null ? undefined : (JSON.parse(text) as StoredClaim);
}

/** Of a key that nobody ever claimed. */
const NOBODY = -1;
const KEYS_AT_ONCE = 1000;

/** Named otherwise than the columns they go to: behind ON DUPLICATE KEY both could be meant. */
const GIVEN = {
  given_tenant: 'text',
  given_key: 'text',
  given_seq: 'number',
  given_id: 'text',
  given_until: 'text',
  given_within: 'number',
} as const;

function byName(a: UniqueKey, b: UniqueKey): number {
  const [left, right] = [nameOf(a), nameOf(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function byTenant(keys: readonly UniqueKey[]): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  for (const { tenantId, key } of keys) {
    const those = names.get(tenantId);
    if (those === undefined) {
      names.set(tenantId, [key]);
    } else {
      those.push(key);
    }
  }
  return names;
}

function lastClaimOf(tenantId: string, row: Row): LastClaim {
  return {
    tenantId,
    key: String(row[0]),
    jobSeq: Number(row[1]),
    jobId: String(row[2]),
    heldUntil: String(row[3]),
    withinUntilMs: Number(row[4]),
  };
}

function standingOf(row: Row): Standing {
  return {
    seq: Number(row[0]),
    id: String(row[1]),
    status: row[2] as JobStatus,
    revision: Number(row[3]),
    type: String(row[4]),
    typeVersion: Number(row[5]),
  };
}
