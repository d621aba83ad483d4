import { EXTRA, hasExtra, withoutWait } from '../../model/extras.js';
import { isActive, isFinal } from '../../model/job-status.js';
import type { JobEntity } from '../../entities/job.entity.js';
import { query, type Script } from '../dialects/sql.js';
import { readyAs } from '../job-of-draft.js';
import type { Changed } from './news.js';
import type { TableNames } from './table-names.js';

/**
 * Signals of jobs. Whoever sends one, and a run that ends because there is none yet, both change the
 * job's row first: one of them comes second, and sees what the other has stored.
 */
export class Signals {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *changed({ before, after, change }: Changed, nowMs: number): Script<void> {
    const { signal } = change;
    if (signal !== undefined) {
      const [last] = yield* query(
        `SELECT MAX(place) FROM ${this.#t.signals} WHERE job_seq = ? ${this.#t.words.latest}`,
        [after.seq],
      );
      yield* query(
        `INSERT INTO ${this.#t.signals} (job_seq, place, name, payload, at_ms) VALUES (?, ?, ?, ?, ?)`,
        [after.seq, Number(last?.[0] ?? 0) + 1, signal.name, signal.payload, nowMs],
      );
    }
    if (before.status === after.status && before.runAtMs !== after.runAtMs) {
      yield* this.#move(before, after);
    }
    if (!waits(after)) {
      return;
    }
    // Signals that were there before have been looked at when the run ended that waits.
    const hasCome =
      (signal !== undefined && (yield* this.#isAwaited(after, signal.name))) ||
      (isActive(before.status) && (yield* this.#hasCome(after)));
    if (hasCome) {
      yield* this.#wake(after, nowMs);
    }
  }

  /** Whoever moves the start of a job that sleeps, or waits until then, means the end of that. */
  *#move(before: JobEntity, after: JobEntity): Script<void> {
    if (after.status === 'waiting' && hasExtra(after.extras, EXTRA.steps)) {
      yield* query(
        `UPDATE ${this.#t.steps} SET until_ms = ? WHERE job_seq = ? AND done = 0 AND until_ms = ?`,
        [after.runAtMs, after.seq, before.runAtMs],
      );
    }
  }

  *#isAwaited({ seq }: JobEntity, name: string): Script<boolean> {
    const rows = yield* query(
      `SELECT 1 FROM ${this.#t.steps} WHERE job_seq = ? AND kind = 'signal' AND name = ? AND done = 0
       ${this.#t.words.limit} ${this.#t.words.latest}`,
      [seq, name, 1],
    );
    return rows.length > 0;
  }

  *#hasCome({ seq }: JobEntity): Script<boolean> {
    const rows = yield* query(
      `SELECT 1 FROM ${this.#t.signals} AS sent
       JOIN ${this.#t.steps} AS awaited ON awaited.job_seq = sent.job_seq
         AND awaited.kind = 'signal' AND awaited.name = sent.name AND awaited.done = 0
       WHERE sent.job_seq = ? ${this.#t.words.limit} ${this.#t.words.latest}`,
      [seq, 1],
    );
    return rows.length > 0;
  }

  /** The job's row is locked by the change that this follows from. */
  *#wake(job: JobEntity, nowMs: number): Script<void> {
    job.extras = withoutWait(job.extras);
    job.runAtMs = nowMs;
    job.ready = job.status === 'waiting' ? readyAs(job.limitKey) : 0;
    yield* query(`UPDATE ${this.#t.rows} SET extras = ?, run_at_ms = ?, ready = ? WHERE seq = ?`, [
      job.extras,
      job.runAtMs,
      job.ready,
      job.seq,
    ]);
  }
}

function waits({ extras, status }: JobEntity): boolean {
  return hasExtra(extras, EXTRA.signal) && !isActive(status) && !isFinal(status);
}
