import { query, type Row, type Script, type SqlValue } from '../dialects/sql.js';
import type { JobScheduleEntity } from '../../entities/job-schedule.entity.js';
import { MOST_OPEN_READ } from '../../model/schedule-decision.js';
import { CreatedJob } from '../job-of-draft.js';
import type {
  ClaimedSchedule,
  Fired,
  Firing,
  InsertResult,
  JobDraft,
  StoredSchedule,
  TypeStanding,
} from '../store.js';
import type { RelatedInserts } from './related-inserts.js';
import { SCHEDULE_SELECT, scheduleOfRow, valuesOfTimes } from './schedule.rows.js';
import type { ScheduleScripts } from './schedule.scripts.js';
import type { TableNames } from './table-names.js';

/** Slots are remembered for so long; that each comes once, also after that, is up to the times. */
const REMEMBERED_MS = 3_600_000;

/** Others may have locked all of the first ones: so many times as many are looked at then. */
const LOOKED_AT = 5;

const SLOT = { schedule_id: 'text', slot_ms: 'number', job_id: 'text' } as const;
const OPEN_JOB = { seq: 'number', schedule_id: 'text', job_id: 'text' } as const;

/** What the scheduler does: it takes schedules that are due, and stores what their slots make. */
export class ScheduleTicks {
  readonly #t: TableNames;
  readonly #scripts: ScheduleScripts;
  readonly #related: RelatedInserts;

  constructor(tables: TableNames, scripts: ScheduleScripts, related: RelatedInserts) {
    this.#t = tables;
    this.#scripts = scripts;
    this.#related = related;
  }

  /** Reads all of their rows, which a process does when it begins and when it has reason to ask again. */
  *standing(types: string): Script<readonly TypeStanding[]> {
    const { scheduleTimes, words } = this.#t;
    const rows = yield* query(
      `SELECT type, MIN(next_run_at_ms), SUM(revision) FROM ${scheduleTimes}
       WHERE type ${words.amongTexts} GROUP BY type`,
      [types],
    );
    return rows.map(([type, next = null, revisions]) => ({
      type: String(type),
      nextRunAtMs: next === null ? null : Number(next),
      revisions: Number(revisions),
    }));
  }

  /** In how many milliseconds the next one of these types is due. */
  *nextInMs(types: string, nowMs: number): Script<number | undefined> {
    const { scheduleTimes, words } = this.#t;
    const rows = yield* query(
      `SELECT MIN(due_at_ms) FROM ${scheduleTimes} WHERE due_at_ms IS NOT NULL AND (type ${words.amongTexts}) IS TRUE`,
      [types],
    );
    const due = rows[0]?.[0] ?? null;
    return due === null ? undefined : Math.max(0, Number(due) - nowMs);
  }

  /**
   * Takes schedules by making them due again only when the claim is over: if whoever took them dies,
   * somebody else finds them then. Rows that others lock are passed over. As one value, the types do not
   * tempt the planner into reading all that is due and sorting it.
   */
  *claim(
    types: string,
    limit: number,
    forMs: number,
    nowMs: number,
  ): Script<readonly ClaimedSchedule[]> {
    const t = this.#t;
    const found = yield* this.#lockDue(types, limit, nowMs);
    if (found.length === 0) {
      return [];
    }
    const ids = JSON.stringify(found.map((row) => String(row[0])));
    yield* query(
      `UPDATE ${t.scheduleTimes} SET due_at_ms = ?, revision = revision + 1
       WHERE schedule_id ${t.words.amongTexts}`,
      [nowMs + forMs, ids],
    );
    const rows = yield* query(
      `SELECT ${SCHEDULE_SELECT} FROM ${t.scheduleTimes} AS times
       JOIN ${t.schedules} AS schedule ON schedule.schedule_id = times.schedule_id
       WHERE times.schedule_id ${t.words.amongTexts}`,
      [ids],
    );
    const claimed = rows.map(scheduleOfRow);
    const open = yield* this.#openOf(
      claimed
        .map(({ definition }) => definition)
        .filter(tellsOpen)
        .map(({ id }) => id),
    );
    return claimed.map((each) => ({
      ...each,
      open: open.get(each.definition.id) ?? [],
    }));
  }

  /** Those that are due first, and that nobody else has locked. */
  *#lockDue(types: string, limit: number, nowMs: number): Script<readonly Row[]> {
    const { scheduleTimes, words } = this.#t;
    const due = `SELECT schedule_id FROM ${scheduleTimes}
      WHERE due_at_ms IS NOT NULL AND due_at_ms <= ? AND (type ${words.amongTexts}) IS TRUE
      ORDER BY due_at_ms LIMIT`;
    if (!words.locksByKey) {
      return yield* query(`${due} ${limit} ${words.skipLocked}`, [nowMs, types]);
    }
    for (const most of [limit, limit * LOOKED_AT]) {
      const overdue = yield* query(`${due} ${most}`, [nowMs, types]);
      const found =
        overdue.length === 0
          ? []
          : yield* query(
              `SELECT schedule_id FROM ${scheduleTimes}
               WHERE schedule_id ${words.amongTexts} AND due_at_ms <= ?
               ORDER BY schedule_id LIMIT ${limit} ${words.skipLocked}`,
              [JSON.stringify(overdue.map((row) => row[0])), nowMs],
            );
      if (found.length > 0 || overdue.length < most) {
        return found;
      }
    }
    return [];
  }

  /** Who has been written since it was read does nothing; all others store their jobs together. */
  *fire(firings: readonly Firing[], nowMs: number): Script<readonly Fired[]> {
    const won = yield* this.#won(firings);
    const been = yield* this.#been(won);
    const isNew = ({ definition }: StoredSchedule, slotMs: number | null): boolean =>
      slotMs === null || !been.has(slotKey(definition.id, slotMs));
    const drafts = won.flatMap(({ schedule, slots }) =>
      slots.flatMap(({ draft, slotMs }) =>
        draft !== undefined && isNew(schedule, slotMs) ? [draft] : [],
      ),
    );
    const stored = drafts.length === 0 ? [] : yield* this.#related.insert(drafts, nowMs);
    const results = new Map<JobDraft, InsertResult>();
    stored.forEach((result, at) => {
      const draft = drafts[at];
      if (draft !== undefined) {
        results.set(draft, result);
      }
    });
    yield* this.#record(won, results, been, nowMs);
    const winners = new Set(won);
    const before = yield* this.#storedBefore(firings.filter((firing) => !winners.has(firing)));
    return firings.map((firing) => {
      const { slots } = firing;
      const stored = winners.has(firing) ? results : before;
      return winners.has(firing) || slots.some(({ draft }) => draft && before.has(draft))
        ? slots.map(({ draft }) => draft && stored.get(draft))
        : 'lost';
    });
  }

  /**
   * Who seems to have lost has perhaps won before, and never heard of it: the jobs are there then,
   * under the numbers that they were tried under.
   */
  *#storedBefore(losers: readonly Firing[]): Script<ReadonlyMap<JobDraft, InsertResult>> {
    const tried = losers
      .flatMap(({ slots }) => slots.flatMap(({ draft }) => draft?.tried ?? []))
      .filter((each) => each instanceof CreatedJob);
    if (tried.length === 0) {
      return new Map();
    }
    const rows = yield* query(
      `SELECT job_id FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
      [JSON.stringify(tried.map(({ seq }) => seq))],
    );
    const stored = new Set(rows.map((row) => row[0]));
    return new Map(
      tried.filter(({ id }) => stored.has(id)).map((each) => [each.draft, each] as const),
    );
  }

  /** Those that nobody has written since they were read, which nobody does now. */
  *#won(firings: readonly Firing[]): Script<readonly Firing[]> {
    const { scheduleTimes, words } = this.#t;
    const rows = yield* query(
      `SELECT schedule_id, revision FROM ${scheduleTimes} WHERE schedule_id ${words.amongTexts}
       ORDER BY schedule_id ${words.forUpdate}`,
      [JSON.stringify(firings.map(({ schedule }) => schedule.definition.id))],
    );
    const revisions = new Map(rows.map((row) => [String(row[0]), Number(row[1])]));
    return firings.filter(
      ({ schedule }) => revisions.get(schedule.definition.id) === schedule.times.revision,
    );
  }

  /** The slots of these schedules that have been already. */
  *#been(firings: readonly Firing[]): Script<ReadonlySet<string>> {
    const { scheduleSlots, words } = this.#t;
    const ids = firings.map(({ schedule }) => schedule.definition.id);
    const slots = firings.flatMap((firing) => firing.slots.flatMap(({ slotMs }) => slotMs ?? []));
    if (slots.length === 0) {
      return new Set();
    }
    const rows = yield* query(
      `SELECT schedule_id, slot_ms FROM ${scheduleSlots}
       WHERE schedule_id ${words.amongTexts} AND slot_ms ${words.amongNumbers}`,
      [JSON.stringify(ids), JSON.stringify(slots)],
    );
    return new Set(rows.map((row) => slotKey(String(row[0]), Number(row[1]))));
  }

  /** Writes down slots, open jobs and where the schedules stand now. */
  *#record(
    firings: readonly Firing[],
    results: ReadonlyMap<JobDraft, InsertResult>,
    been: ReadonlySet<string>,
    nowMs: number,
  ): Script<void> {
    const slots: SqlValue[][] = [];
    const open: SqlValue[][] = [];
    const times: (readonly SqlValue[])[] = [];
    for (const firing of firings) {
      const { definition } = firing.schedule;
      let lastJobId: string | undefined;
      let isAgain = false;
      for (const { draft, slotMs } of firing.slots) {
        const result = draft === undefined ? undefined : results.get(draft);
        const job = result?.outcome === 'created' ? result : undefined;
        if (result !== undefined && AGAIN.has(result.outcome)) {
          isAgain = true;
        } else if (slotMs !== null && !been.has(slotKey(definition.id, slotMs))) {
          slots.push([definition.id, slotMs, job?.id ?? null]);
        }
        if (job !== undefined) {
          lastJobId = job.id;
          open.push([job.seq, definition.id, job.id]);
        }
      }
      times.push(timesAfter(firing, lastJobId, isAgain, nowMs));
    }
    yield* this.#insertRows(this.#t.scheduleSlots, SLOT, 'schedule_id, slot_ms', slots);
    yield* this.#insertRows(this.#t.scheduleJobs, OPEN_JOB, 'seq', open);
    if (times.length > 0) {
      yield* this.#scripts.writeTimes(times);
      yield* this.#forget(firings, nowMs);
    }
  }

  *#insertRows(
    table: string,
    columns: Readonly<Record<string, 'number' | 'text'>>,
    key: string,
    rows: readonly (readonly SqlValue[])[],
  ): Script<void> {
    const { words } = this.#t;
    const names = Object.keys(columns).join(', ');
    if (rows.length > 0) {
      yield* query(
        words.insertNew(
          `INSERT INTO ${table} (${names})
           SELECT ${names} FROM ${words.table('given', columns)}${words.afterSelect}`,
          key,
        ),
        [JSON.stringify(rows)],
      );
    }
  }

  /** A schedule forgets its own old slots when it makes new ones, so nobody looks for them. */
  *#forget(firings: readonly Firing[], nowMs: number): Script<void> {
    const { scheduleSlots, words } = this.#t;
    yield* query(
      `DELETE FROM ${scheduleSlots} WHERE schedule_id ${words.amongTexts} AND slot_ms < ?`,
      [
        JSON.stringify(firings.map(({ schedule }) => schedule.definition.id)),
        nowMs - REMEMBERED_MS,
      ],
    );
  }

  /**
   * The oldest few that have not ended of each. Most have few: all of them are read at once, unless one
   * has so many that it crowds others out.
   */
  *#openOf(ids: readonly string[]): Script<ReadonlyMap<string, readonly string[]>> {
    const { scheduleJobs, words } = this.#t;
    const open = new Map<string, readonly string[]>();
    if (ids.length === 0) {
      return open;
    }
    const most = ids.length * MOST_OPEN_READ;
    const rows = yield* query(
      `SELECT schedule_id, job_id, seq FROM ${scheduleJobs}
       WHERE schedule_id ${words.amongTexts} ${words.limit}`,
      [JSON.stringify(ids), most],
    );
    if (rows.length === most) {
      for (const id of ids) {
        open.set(id, (yield* this.#scripts.openJobs(id, 0, MOST_OPEN_READ)).ids);
      }
      return open;
    }
    for (const row of rows.toSorted((a, b) => Number(a[2]) - Number(b[2]))) {
      const id = String(row[0]);
      open.set(id, [...(open.get(id) ?? []), String(row[1])].slice(0, MOST_OPEN_READ));
    }
    return open;
  }
}

/** What may go well at the next try, a moment later: the job to wait for is gone, or an id was taken. */
const AGAIN: ReadonlySet<string> = new Set(['unknown_dependency', 'id_taken']);

/** Whether it matters how many of its jobs have not ended. */
function tellsOpen({ overlap, afterMs }: JobScheduleEntity): boolean {
  return overlap !== 'allow' || afterMs !== null;
}

function slotKey(id: string, slotMs: number): string {
  return `${id} ${slotMs}`;
}

/** The row that says where a schedule stands after it has fired. */
function timesAfter(
  { schedule, next }: Firing,
  lastJobId: string | undefined,
  isAgain: boolean,
  nowMs: number,
): readonly SqlValue[] {
  const { definition, times } = schedule;
  const { afterMs, endAtMs } = definition;
  let nextRunAtMs = isAgain || next === 'keep' ? times.nextRunAtMs : next;
  if (nextRunAtMs === null && afterMs !== null && lastJobId === undefined) {
    // No run will end and make it due again.
    const after = nowMs + afterMs;
    nextRunAtMs = schedule.open.length > 0 || after > (endAtMs ?? Infinity) ? null : after;
  }
  return valuesOfTimes(definition, {
    revision: times.revision + 1,
    nextRunAtMs,
    lastRunAtMs: lastJobId === undefined ? times.lastRunAtMs : nowMs,
    lastJobId: lastJobId ?? times.lastJobId,
  });
}
