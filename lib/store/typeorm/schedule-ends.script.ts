import { EXTRA, hasExtra } from '../../model/extras.js';
import { isFinal } from '../../model/job-status.js';
import { query, type Script } from '../dialects/sql.js';
import type { Changed } from './news.js';
import type { TableNames } from './table-names.js';

/** What the end of a job means for the schedule that made it, in the same transaction. */
export class ScheduleEnds {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *changed({ before, after, change }: Changed, nowMs: number): Script<void> {
    const id = before.beside?.scheduleId ?? null;
    if (id === null || !hasExtra(before.extras, EXTRA.schedule)) {
      return;
    }
    const wasOpen = !isFinal(before.status);
    const isOpen = change.remove !== true && !isFinal(after.status);
    if (wasOpen && !isOpen) {
      yield* this.#ended(id, before.seq, nowMs);
    } else if (!wasOpen && isOpen) {
      yield* this.#begunAgain(id, before.seq, before.id);
    }
  }

  /** A schedule that waits for the end of its runs is due so long after the last one. */
  *#ended(id: string, seq: number, nowMs: number): Script<void> {
    const { schedules, scheduleJobs, scheduleTimes } = this.#t;
    // Who makes it wait for the end of runs has locked those that it counts: it is seen below, or sees this.
    yield* query(`DELETE FROM ${scheduleJobs} WHERE seq = ?`, [seq]);
    // Most do not wait for it: their rows, which the scheduler locks all the time, are not.
    const waits = yield* query(
      `SELECT 1 FROM ${scheduleTimes} WHERE schedule_id = ? AND after_ms IS NOT NULL`,
      [id],
    );
    if (waits.length === 0) {
      return;
    }
    // Before it looks whether another one is there: of two runs that end at once the second one sees
    // that the first has ended, and whoever decides about a slot now does not win with what it has
    // counted before.
    yield* query(`UPDATE ${scheduleTimes} SET revision = revision + 1 WHERE schedule_id = ?`, [id]);
    const [row] = yield* query(
      `SELECT times.after_ms, schedule.start_at_ms FROM ${scheduleTimes} AS times
       JOIN ${schedules} AS schedule ON schedule.schedule_id = times.schedule_id
       WHERE times.schedule_id = ? AND times.after_ms IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM ${scheduleJobs} AS open_job WHERE open_job.schedule_id = ?)`,
      [id, id],
    );
    if (row === undefined) {
      return;
    }
    const dueMs = Math.max(nowMs + Number(row[0]), Number(row[1] ?? 0));
    yield* query(
      `UPDATE ${scheduleTimes} SET next_run_at_ms = ?, due_at_ms = ?
       WHERE schedule_id = ? AND (next_run_at_ms IS NULL OR next_run_at_ms > ?)`,
      [dueMs, dueMs, id, dueMs],
    );
  }

  /** Somebody runs an ended job again. Whoever decides about a slot now has counted without it. */
  *#begunAgain(id: string, seq: number, jobId: string): Script<void> {
    const { scheduleJobs, scheduleTimes, words } = this.#t;
    yield* query(`UPDATE ${scheduleTimes} SET revision = revision + 1 WHERE schedule_id = ?`, [id]);
    yield* query(
      words.insertNew(
        `INSERT INTO ${scheduleJobs} (seq, schedule_id, job_id) VALUES (?, ?, ?)`,
        'seq',
      ),
      [seq, id, jobId],
    );
  }
}
