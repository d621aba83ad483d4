import { EXTRA } from '../../model/extras.js';
import { query, type Row, type Script, type SqlValue } from '../dialects/sql.js';
import type {
  StepKey,
  StepKind,
  StepMemory,
  StepRecord,
  StepRun,
  StepWait,
  Waited,
} from '../store.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';

/** A result that is longer is read when its step is asked for: a job may have many steps. */
const LONG = 1000;

const KEY = 'job_seq = ? AND kind = ? AND name = ? AND part = ?';

/** What handlers remember and wait for: every write is in one transaction with the fence of its run. */
export class StepScripts {
  readonly #t: TableNames;
  readonly #scripts: JobScripts;

  constructor(tables: TableNames, scripts: JobScripts) {
    this.#t = tables;
    this.#scripts = scripts;
  }

  *recall(seq: number): Script<readonly StepMemory[]> {
    const rows = yield* query(
      `SELECT kind, name, part, done, CASE WHEN LENGTH(result) <= ${LONG} THEN result END, LENGTH(result)
       FROM ${this.#t.steps} WHERE job_seq = ?`,
      [seq],
    );
    return rows.map((row) => ({
      kind: String(row[0]) as StepKind,
      name: String(row[1]),
      part: Number(row[2]),
      isDone: Number(row[3]) === 1,
      ...(Number(row[5] ?? 0) > LONG ? {} : { result: row[4] as string | null }),
    }));
  }

  *resultOf(seq: number, { kind, name, part }: StepKey): Script<string | null> {
    const [row] = yield* query(`SELECT result FROM ${this.#t.steps} WHERE ${KEY}`, [
      seq,
      kind,
      name,
      part,
    ]);
    return (row?.[0] ?? null) as string | null;
  }

  *remember(record: StepRecord, nowMs: number): Script<boolean> {
    if (!(yield* this.#holds(record, nowMs))) {
      return false;
    }
    yield* this.#store(record, { isDone: true, result: record.result, untilMs: null }, nowMs);
    if (record.hasWrites) {
      yield* query(
        `DELETE FROM ${this.#t.steps} WHERE job_seq = ? AND kind = 'write' AND name = ?`,
        [record.seq, record.name],
      );
    }
    return true;
  }

  *wait(wait: StepWait, nowMs: number): Script<Waited> {
    if (!(yield* this.#holds(wait, nowMs))) {
      return { state: 'lost' };
    }
    const begun = yield* this.#begun(wait);
    if (begun?.isDone === true) {
      return { state: 'over', result: begun.result };
    }
    const untilMs = begun === undefined ? endOf(wait, nowMs) : begun.untilMs;
    const received = wait.kind === 'signal' ? yield* this.#receive(wait) : undefined;
    if (received === undefined && (untilMs === null || untilMs > nowMs)) {
      if (begun === undefined) {
        yield* this.#store(wait, { isDone: false, result: null, untilMs }, nowMs);
      }
      return { state: 'pending', untilMs: untilMs ?? undefined };
    }
    const result = received ?? null;
    yield* this.#store(wait, { isDone: true, result, untilMs }, nowMs);
    return { state: 'over', result };
  }

  /**
   * Whether the run holds its job. Its row stays locked until the transaction ends, so nobody takes
   * the job, or sends it a signal, meanwhile.
   */
  *#holds({ seq, runId, isFirst }: StepRun, nowMs: number): Script<boolean> {
    const [held] = yield* together(this.#scripts.report([{ seq, runId }], nowMs));
    if (held === true && isFirst) {
      yield* query(
        `UPDATE ${this.#t.rows} SET extras = COALESCE(extras, 0) | ${EXTRA.steps} WHERE seq = ?`,
        [seq],
      );
    }
    return held === true;
  }

  *#begun(
    wait: StepWait,
  ): Script<{ isDone: boolean; result: string | null; untilMs: number | null } | undefined> {
    const [row] = yield* query(
      `SELECT done, result, until_ms FROM ${this.#t.steps} WHERE ${KEY}`,
      key(wait),
    );
    return row === undefined ? undefined : begunOf(row);
  }

  /** Takes the first signal of that name, if there is one. */
  *#receive({ seq, name }: StepWait): Script<string | undefined> {
    const [row] = yield* query(
      `SELECT place, payload FROM ${this.#t.signals} WHERE job_seq = ? AND name = ?
       ORDER BY place ${this.#t.words.limit} ${this.#t.words.latest}`,
      [seq, name, 1],
    );
    if (row === undefined) {
      return undefined;
    }
    yield* query(`DELETE FROM ${this.#t.signals} WHERE job_seq = ? AND place = ?`, [
      seq,
      row[0] ?? null,
    ]);
    return String(row[1]);
  }

  *#store(
    of: StepRun & StepKey,
    { isDone, result, untilMs }: { isDone: boolean; result: string | null; untilMs: number | null },
    nowMs: number,
  ): Script<void> {
    yield* query(
      `INSERT INTO ${this.#t.steps} (job_seq, kind, name, part, done, result, until_ms, run_id, at_ms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ${this.#t.words.replacing('job_seq, kind, name, part', ['done', 'result', 'until_ms', 'run_id', 'at_ms'])}`,
      [...key(of), isDone ? 1 : 0, result, untilMs, of.runId, nowMs],
    );
  }
}

function key({ seq, kind, name, part }: StepRun & StepKey): readonly SqlValue[] {
  return [seq, kind, name, part];
}

function endOf({ forMs }: StepWait, nowMs: number): number | null {
  return forMs === undefined ? null : nowMs + Math.ceil(forMs);
}

function begunOf(row: Row): { isDone: boolean; result: string | null; untilMs: number | null } {
  return {
    isDone: Number(row[0]) === 1,
    result: row[1] as string | null,
    untilMs: row[2] === null || row[2] === undefined ? null : Number(row[2]),
  };
}

/** The same statements, of which none may run without the transaction around all of them. */
function* together<T>(script: Script<T>): Script<T> {
  let step = script.next();
  while (step.done !== true) {
    const { sql, params } = step.value;
    step = script.next(yield { sql, params });
  }
  return step.value;
}
