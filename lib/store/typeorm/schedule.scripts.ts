import { CHANGES_SQL, query, type Script, type SqlValue } from '../dialects/sql.js';
import { MOST_OPEN_READ } from '../../model/schedule-decision.js';
import type {
  ClaimedSchedule,
  DecideSchedule,
  OpenJobs,
  ScheduleTimes,
  ScheduleWrite,
  StoredSchedule,
} from '../store.js';
import {
  DEFINITION_COLUMNS,
  SCHEDULE_SELECT,
  scheduleOfRow,
  TIMES,
  valuesOfDefinition,
  valuesOfTimes,
} from './schedule.rows.js';
import type { TableNames } from './table-names.js';

/** Rows that one transaction deletes. */
const FORGOTTEN_AT_ONCE = 1000;
const TIMES_COLUMNS = Object.keys(TIMES);

/**
 * Schedules as somebody edits and reads them. The order of locks is: the definition, then the times;
 * who fires locks times alone, who ends a run its entry among those that are open, then times. So nobody who
 * has times waits for an entry.
 */
export class ScheduleScripts {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *find(tenantId: string, name: string): Script<ClaimedSchedule | undefined> {
    const stored = yield* this.#read(tenantId, name, '');
    if (stored === undefined) {
      return undefined;
    }
    const { ids } = yield* this.openJobs(stored.definition.id, 0, MOST_OPEN_READ);
    return { ...stored, open: ids };
  }

  *list(tenantId: string | undefined): Script<readonly StoredSchedule[]> {
    const t = this.#t;
    const rows = yield* query(
      `SELECT ${SCHEDULE_SELECT} FROM ${t.schedules} AS schedule
       JOIN ${t.scheduleTimes} AS times ON times.schedule_id = schedule.schedule_id
       ${tenantId === undefined ? '' : 'WHERE schedule.tenant_id = ?'}
       ORDER BY schedule.tenant_id, schedule.name`,
      tenantId === undefined ? [] : [tenantId],
    );
    return rows.map(scheduleOfRow);
  }

  /** Reads, decides, writes. Of two that make the same schedule at once the second one edits it. */
  *change(
    tenantId: string,
    name: string,
    decide: DecideSchedule,
    nowMs: number,
  ): Script<{
    readonly before: StoredSchedule | undefined;
    readonly after: StoredSchedule | undefined;
  }> {
    const before = yield* this.#locked(tenantId, name);
    const open = before === undefined ? 0 : yield* this.#openLocked(before.definition.id);
    const write = decide(before, nowMs, open);
    if (write === undefined) {
      return { before, after: before };
    }
    if (before === undefined && !(yield* this.#insert(write))) {
      return yield* this.change(tenantId, name, decide, nowMs);
    }
    if (before !== undefined) {
      yield* this.#update(write);
    }
    const times: ScheduleTimes = {
      revision: (before?.times.revision ?? 0) + 1,
      nextRunAtMs: write.nextRunAtMs,
      lastRunAtMs: before?.times.lastRunAtMs ?? null,
      lastJobId: before?.times.lastJobId ?? null,
    };
    yield* this.writeTimes([valuesOfTimes(write.definition, times)]);
    return { before, after: { definition: write.definition, times } };
  }

  /** Deletes a schedule and its slots, of an hour at most, unless it was written since; its id. */
  *remove(
    tenantId: string,
    name: string,
    revision?: number,
  ): Script<{ readonly id: string } | 'changed' | undefined> {
    const t = this.#t;
    const stored = yield* this.#locked(tenantId, name);
    if (stored === undefined) {
      return undefined;
    }
    if (revision !== undefined && stored.times.revision !== revision) {
      return 'changed';
    }
    const { id } = stored.definition;
    for (const table of [t.scheduleSlots, t.scheduleTimes, t.schedules]) {
      yield* query(`DELETE FROM ${table} WHERE schedule_id = ?`, [id]);
    }
    return { id };
  }

  /** Its jobs that have not ended, oldest first. */
  *openJobs(id: string, after: number, most: number): Script<OpenJobs> {
    const rows = yield* query(
      `SELECT seq, job_id FROM ${this.#t.scheduleJobs} WHERE schedule_id = ? AND seq > ?
       ORDER BY seq ${this.#t.words.limit}`,
      [id, after, most],
    );
    return {
      ids: rows.map((row) => String(row[1])),
      next: rows.length < most ? undefined : Number(rows.at(-1)?.[0]),
    };
  }

  /** Whoever ends one of them later finds nothing to do. */
  *forgetJobs(id: string): Script<boolean> {
    yield* query(
      this.#t.words.deleteSome(this.#t.scheduleJobs, 'seq', 'schedule_id = ?', FORGOTTEN_AT_ONCE),
      [id],
    );
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) === FORGOTTEN_AT_ONCE;
  }

  /**
   * Whether there are any that have not ended, nor do before this transaction is over: one that is locked
   * is enough, since who ends it sees then what this has written. How many of the first few they are. Where
   * all are being ended, by somebody who waits for the times, this is given up and done again.
   */
  *#openLocked(id: string): Script<number> {
    const { scheduleJobs, words } = this.#t;
    for (;;) {
      const open = yield* query(
        `SELECT seq FROM ${scheduleJobs} WHERE schedule_id = ? ${words.limit}`,
        [id, MOST_OPEN_READ],
      );
      if (words.forUpdate === '' || open.length === 0) {
        return open.length;
      }
      const those = JSON.stringify(open.map(([seq]) => Number(seq)));
      const some = `SELECT seq FROM ${scheduleJobs} WHERE seq ${words.amongNumbers} ORDER BY seq`;
      const locked = yield* query(`${some} ${words.skipLocked}`, [those]);
      if (locked.length > 0) {
        return locked.length;
      }
      for (const sql of words.waiting(`${some} ${words.forUpdate}`, 0)) {
        yield* query(sql, [those]);
      }
    }
  }

  /** Writes where schedules stand, all in one statement. */
  *writeTimes(rows: readonly (readonly SqlValue[])[]): Script<void> {
    const { scheduleTimes, words } = this.#t;
    yield* query(
      `INSERT INTO ${scheduleTimes} (${TIMES_COLUMNS.join(', ')})
       SELECT ${TIMES_COLUMNS.join(', ')} FROM ${words.table('given', TIMES)}${words.afterSelect}
       ${words.replacing('schedule_id', TIMES_COLUMNS.slice(1))}`,
      [JSON.stringify(rows)],
    );
  }

  *#locked(tenantId: string, name: string): Script<StoredSchedule | undefined> {
    const t = this.#t;
    if (t.words.forUpdate !== '') {
      const found = yield* query(
        `SELECT schedule_id FROM ${t.schedules} WHERE tenant_id = ? AND name = ? ${t.words.forUpdate}`,
        [tenantId, name],
      );
      const id = found[0]?.[0] ?? null;
      yield* query(`SELECT 1 FROM ${t.scheduleTimes} WHERE schedule_id = ? ${t.words.forUpdate}`, [
        id,
      ]);
    }
    return yield* this.#read(tenantId, name, t.words.latest);
  }

  *#read(tenantId: string, name: string, latest: string): Script<StoredSchedule | undefined> {
    const t = this.#t;
    const rows = yield* query(
      `SELECT ${SCHEDULE_SELECT} FROM ${t.schedules} AS schedule
       JOIN ${t.scheduleTimes} AS times ON times.schedule_id = schedule.schedule_id
       WHERE schedule.tenant_id = ? AND schedule.name = ? ${latest}`,
      [tenantId, name],
    );
    return rows[0] === undefined ? undefined : scheduleOfRow(rows[0]);
  }

  /** Whether it is stored: another one of that name may have been meanwhile. */
  *#insert({ definition }: ScheduleWrite): Script<boolean> {
    const { schedules, words } = this.#t;
    const { id, tenantId, name } = definition;
    yield* query(
      words.insertNew(
        `INSERT INTO ${schedules} (${DEFINITION_COLUMNS.join(', ')})
         VALUES (${DEFINITION_COLUMNS.map(() => '?').join(', ')})`,
        'tenant_id, name',
      ),
      valuesOfDefinition(definition),
    );
    const rows = yield* query(
      `SELECT schedule_id FROM ${schedules} WHERE tenant_id = ? AND name = ? ${words.latest}`,
      [tenantId, name],
    );
    return rows[0]?.[0] === id;
  }

  *#update({ definition }: ScheduleWrite): Script<void> {
    yield* query(
      `UPDATE ${this.#t.schedules} SET ${DEFINITION_COLUMNS.slice(1)
        .map((column) => `${column} = ?`)
        .join(', ')} WHERE schedule_id = ?`,
      [...valuesOfDefinition(definition).slice(1), definition.id],
    );
  }
}
