import { CHANGES_SQL, query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { ChangeResult, Decide, HeldRun, TransactionRun } from '../store.js';
import { ACTIVE, type JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';

/** A lease of a run that holds its job, whose number, end and name are bound. */
const HELD_BY_RUN = `lease_until_ms IS NOT NULL AND status IN ${ACTIVE}`;

/** What is done about leases of jobs whose rows others may have locked, where several write at once. */
export class LeaseScripts {
  readonly #t: TableNames;
  readonly #scripts: JobScripts;

  constructor(tables: TableNames, scripts: JobScripts) {
    this.#t = tables;
    this.#scripts = scripts;
  }

  /** Extends those leases that it can without waiting; gives their runs. */
  *renewFree(runs: readonly HeldRun[], leaseMs: number, nowMs: number): Script<readonly string[]> {
    const { jobs, words } = this.#t;
    const rows = yield* query(
      `SELECT seq, run_id FROM ${jobs}${words.using(undefined)}
       WHERE seq ${words.amongNumbers} AND run_id ${words.amongTexts} AND ${HELD_BY_RUN} ${words.skipLocked}`,
      [
        JSON.stringify(runs.map(({ id }) => seqOf(id)).sort((a, b) => a - b)),
        JSON.stringify(runs.map(({ runId }) => runId)),
      ],
    );
    if (rows.length > 0) {
      yield* query(`UPDATE ${jobs} SET lease_until_ms = ? WHERE seq ${words.amongNumbers}`, [
        nowMs + leaseMs,
        JSON.stringify(rows.map(([seq]) => Number(seq))),
      ]);
    }
    return rows.map(([, runId]) => String(runId));
  }

  /** Extends the lease of a run, once its row is free: it is waited for so long. Gives the run, if it has one. */
  *renewLocked(
    run: HeldRun,
    leaseMs: number,
    waitMs: number,
    nowMs: number,
  ): Script<readonly string[]> {
    yield* this.#lock(seqOf(run.id), waitMs);
    yield* query(
      `UPDATE ${this.#t.jobs} SET lease_until_ms = ? WHERE seq = ? AND run_id = ? AND ${HELD_BY_RUN}`,
      [nowMs + leaseMs, seqOf(run.id), run.runId],
    );
    const changed = yield* query(CHANGES_SQL);
    return changed[0]?.[0] === 1 ? [run.runId] : [];
  }

  /** Decides about a job once nobody else has its row, which is waited for so long and said by `locked`. */
  *takeBack(
    id: string,
    decide: Decide,
    waitMs: number,
    locked: () => void,
    nowMs: number,
  ): Script<ChangeResult | undefined> {
    yield* this.#lock(seqOf(id), waitMs);
    locked();
    return yield* this.#scripts.change(id, decide, undefined, nowMs);
  }

  *#lock(seq: number, waitMs: number): Script<void> {
    const { jobs, words } = this.#t;
    for (const sql of words.waiting(`SELECT 1 FROM ${jobs} WHERE seq = ? FOR UPDATE`, waitMs)) {
      yield* query(sql, sql.includes('?') ? [seq] : []);
    }
  }
}

/** Extends the lease of a run whose own transaction has kept its row from renewals. */
export function* keepLease(t: TableNames, run: TransactionRun, nowMs: number): Script<void> {
  yield* query(
    `UPDATE ${t.rows} SET lease_until_ms = ? WHERE seq = ? AND run_id = ? AND ${HELD_BY_RUN}`,
    [nowMs + run.leaseMs, seqOf(run.jobId), run.runId],
  );
}

/** Whether a transaction that began then may have kept a renewal from its row. */
export function isLong(run: TransactionRun, begunAt: number): boolean {
  return performance.now() - begunAt > run.leaseMs / 3;
}

/** SET of an UPDATE: a lease that is half over begins anew. Bound are {@link halfLease}. */
export const LEASE_KEPT =
  'lease_until_ms = CASE WHEN lease_until_ms < ? THEN ? ELSE lease_until_ms END';

export function halfLease(run: TransactionRun, nowMs: number): readonly [number, number] {
  return [nowMs + Math.floor(run.leaseMs / 2), nowMs + run.leaseMs];
}

function seqOf(id: string): number {
  return seqOfId(id) ?? -1;
}
