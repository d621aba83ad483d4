import { takenOf } from '../../model/limits.js';
import { query, type Row, type Script, type SqlValue } from '../dialects/sql.js';
import type { TakenRow } from './limit-room.js';
import type { TableNames } from './table-names.js';

/** What stands in `job_limits` of the scopes of a claim. */
export interface LimitState {
  readonly isPaused: boolean;
  /** Behind which key the next claim of the queue begins. */
  readonly turn: string | null;
  /** What the rates without keys have counted. */
  readonly taken: readonly TakenRow[];
}

/** So long a scope is remembered that nobody declares any more. */
const SCOPE_KEPT_MS = 86_400_000;

/** Rows of one statement that remembers; few sizes, so that few statements are kept prepared. */
const SIZES = [64, 8, 1];

/**
 * What is stored of limits: a row for each scope, whose lock is what makes claims of a queue go one
 * after the other, and one for each key that a rate has counted lately.
 */
export class LimitRows {
  readonly #t: TableNames;
  readonly #lock: string;

  /** @param lock what a server's SELECT says to lock rows; on SQLite the transaction is alone */
  constructor(tables: TableNames, lock: string) {
    this.#t = tables;
    this.#lock = lock;
  }

  /**
   * Locks the scopes until the transaction ends. The first one is the queue's. Who declares no limit
   * takes without a lock what nobody remembers to be limited.
   */
  *take(
    scopes: readonly string[],
    queue: string,
    { declares, nowMs }: { readonly declares: boolean; readonly nowMs: number },
  ): Script<LimitState> {
    let rows = yield* this.#locked(scopes, queue);
    if (rows.length < scopes.length && declares) {
      yield* declareScopes(this.#t, scopes, nowMs);
      rows = yield* this.#locked(scopes, queue);
    }
    return {
      isPaused: rows.some((row) => row[3] !== null),
      turn: (rows.find((row) => row[0] === scopes[0])?.[1] as string | null | undefined) ?? null,
      taken: rows.map((row) => ({
        scope: String(row[0]),
        key: '',
        taken: takenOf(row[2] as string | null),
      })),
    };
  }

  /** What rates have counted for keys. */
  *takenFor(scopes: readonly string[], keys: readonly string[]): Script<readonly TakenRow[]> {
    const { amongTexts } = this.#t.words;
    const rows = yield* query(
      `SELECT scope, limit_key, taken FROM ${this.#t.limits}
       WHERE scope ${amongTexts} AND limit_key ${amongTexts} AND taken IS NOT NULL`,
      [JSON.stringify(scopes), JSON.stringify(keys)],
    );
    return rows.map((row) => ({
      scope: String(row[0]),
      key: String(row[1]),
      taken: takenOf(row[2] as string | null),
    }));
  }

  /** Where the next claim begins. Whoever puts jobs to work says so, so that the rows tell of it. */
  *turnTo(scopes: readonly string[], turn: string | null): Script<void> {
    yield* query(
      `UPDATE ${this.#t.limits} SET turn = ? WHERE limit_key = '' AND scope ${this.#t.words.amongTexts}`,
      [turn, JSON.stringify(scopes)],
    );
  }

  *remember(
    rows: readonly (TakenRow & { readonly untilMs: number })[],
    nowMs: number,
  ): Script<void> {
    for (let from = 0; from < rows.length;) {
      const size = SIZES.find((each) => rows.length - from >= each) ?? 1;
      const part = rows.slice(from, from + size);
      yield* query(
        `INSERT INTO ${this.#t.limits} (scope, limit_key, taken, until_ms)
         VALUES ${part.map(() => '(?, ?, ?, ?)').join(', ')}
         ${this.#t.words.replacing('scope, limit_key', ['taken', 'until_ms'])}`,
        part.flatMap(({ scope, key, taken, untilMs }): SqlValue[] => [
          scope,
          key,
          JSON.stringify(taken),
          key === '' ? Math.max(untilMs, nowMs + SCOPE_KEPT_MS) : untilMs,
        ]),
      );
      from += size;
    }
  }

  *isAnyOver(nowMs: number): Script<boolean> {
    const rows = yield* query(
      `SELECT 1 FROM ${this.#t.limits} WHERE until_ms IS NOT NULL AND until_ms < ? LIMIT 1`,
      [nowMs],
    );
    return rows.length > 0;
  }

  /** Forgets keys of which nothing counts any more, and scopes that nobody declares any more. */
  *forget(nowMs: number): Script<void> {
    yield* query(`DELETE FROM ${this.#t.limits} WHERE until_ms IS NOT NULL AND until_ms < ?`, [
      nowMs,
    ]);
  }

  *#locked(scopes: readonly string[], queue: string): Script<readonly Row[]> {
    return yield* query(
      `SELECT scope, turn, taken, (SELECT paused FROM ${this.#t.queues} WHERE name = ? AND paused = 1)
       FROM ${this.#t.limits}
       WHERE limit_key = '' AND scope ${this.#t.words.amongTexts} ORDER BY scope ${this.#lock}`,
      [queue, JSON.stringify(scopes)],
    );
  }
}

/** Records for a day that there are limits, for processes that do not know them. */
export function* declareScopes(
  t: TableNames,
  scopes: readonly string[],
  nowMs: number,
): Script<void> {
  // In one order, so that two who declare do not wait for each other in a circle.
  for (const scope of scopes.toSorted()) {
    yield* query(
      `INSERT INTO ${t.limits} (scope, limit_key, until_ms) VALUES (?, '', ?)
       ${t.words.replacing('scope, limit_key', ['until_ms'])}`,
      [scope, nowMs + SCOPE_KEPT_MS],
    );
  }
}
