import { query, type Script, type SqlValue } from '../dialects/sql.js';
import type {
  ClaimedSchedule,
  DecideSchedule,
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

const TIMES_COLUMNS = Object.keys(TIMES);

/**
 * Schedules as somebody edits and reads them. The order of locks is: the definition, then the times;
 * who fires locks times alone, who ends a run its entry among those that are open, then times.
 */
export class ScheduleScripts {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *find(tenantId: string, name: string): Script<ClaimedSchedule | undefined> {
    const stored = yield* this.#read(tenantId, name, '');
    return stored && { ...stored, open: yield* this.openJobs(stored.definition.id) };
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

  /** Deletes a schedule and what is remembered of it; its jobs that have not ended. */
  *remove(tenantId: string, name: string): Script<readonly string[] | undefined> {
    const t = this.#t;
    const stored = yield* this.#locked(tenantId, name);
    if (stored === undefined) {
      return undefined;
    }
    const { id } = stored.definition;
    const open = yield* this.openJobs(id);
    for (const table of [t.scheduleJobs, t.scheduleSlots, t.scheduleTimes, t.schedules]) {
      yield* query(`DELETE FROM ${table} WHERE schedule_id = ?`, [id]);
    }
    return open;
  }

  /** Its jobs that have not ended, oldest first. */
  *openJobs(id: string): Script<readonly string[]> {
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.scheduleJobs} WHERE schedule_id = ? ORDER BY seq`,
      [id],
    );
    return rows.map((row) => String(row[0]));
  }

  /** How many have not ended, nor do before this transaction is over; who wants to, sees what it has written. */
  *#openLocked(id: string): Script<number> {
    const { scheduleJobs, words } = this.#t;
    const open = yield* query(`SELECT seq FROM ${scheduleJobs} WHERE schedule_id = ?`, [id]);
    if (words.forUpdate === '' || open.length === 0) {
      return open.length;
    }
    const locked = yield* query(
      `SELECT seq FROM ${scheduleJobs} WHERE seq ${words.amongNumbers} ORDER BY seq ${words.forUpdate}`,
      [JSON.stringify(open.map(([seq]) => Number(seq)))],
    );
    return locked.length;
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
