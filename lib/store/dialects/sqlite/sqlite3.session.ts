import { availableParallelism } from 'node:os';
import { ScriptFailure, type FailureKind } from '../session.js';
import {
  runScriptAsync,
  type Row,
  type Script,
  type SqlValue,
  type Statement,
  type TimedScript,
} from '../sql.js';
import { NOW_SQL, type DatabaseClock } from './sqlite-clock.js';
import { classifySqliteError } from './sqlite-errors.js';
import type { SqliteSession, SqliteSetting } from './sqlite-session.js';

/** The part of a sqlite3 database that is used. */
export interface Sqlite3Database {
  prepare(sql: string, callback: (error: Error | null) => void): Sqlite3Statement;
  exec(sql: string, callback: (error: Error | null) => void): unknown;
}

type Answer = (
  error: Error | null,
  rows: readonly Readonly<Record<string, SqlValue>>[] | undefined,
) => void;

interface Sqlite3Statement {
  all(params: readonly unknown[], callback: Answer): unknown;
  run(
    params: readonly unknown[],
    callback: (
      this: { readonly lastID: number; readonly changes: number },
      error: Error | null,
    ) => void,
  ): unknown;
  reset(callback: () => void): unknown;
  finalize(callback?: (error: Error | null) => void): unknown;
}

/** What a session needs to know of its connection. */
export interface Sqlite3Connection {
  /** Whether somebody else may have a transaction open on it, as in memory the host may. */
  readonly isShared: boolean;
}

/**
 * The asynchronous driver: each statement visits a thread. One piece of work has the connection at
 * a time, so that nothing of ours lands inside a transaction of ours that is not its own.
 */
export class Sqlite3Session implements SqliteSession {
  readonly #database: Sqlite3Database;
  readonly #clock: DatabaseClock;
  readonly #isShared: boolean;
  readonly #prepared = new Map<string, Promise<Sqlite3Statement>>();
  #turn: Promise<unknown> = Promise.resolve();
  #isBetween = false;

  constructor(database: Sqlite3Database, clock: DatabaseClock, { isShared }: Sqlite3Connection) {
    this.#database = database;
    this.#clock = clock;
    this.#isShared = isShared;
  }

  read<T>(script: TimedScript<T>): Promise<T> {
    return this.#inTurn(async () => runScriptAsync(script(await this.#now()), this.#execute));
  }

  transact(scripts: readonly TimedScript<unknown>[]): Promise<readonly unknown[]> {
    return this.#inTurn(async () => {
      const alone = await this.#alone(scripts);
      if (alone !== undefined) {
        return alone;
      }
      await this.#statement('BEGIN IMMEDIATE');
      let index = 0;
      try {
        const now = await this.#now();
        const results: unknown[] = [];
        for (const script of scripts) {
          results.push(await runScriptAsync(script(now), this.#execute));
          index += 1;
        }
        await this.#statement('COMMIT');
        return results;
      } catch (error) {
        await this.#rollback();
        throw index < scripts.length ? new ScriptFailure(index, error) : error;
      }
    });
  }

  run<T>(script: Script<T>): Promise<T> {
    return this.#inTurn(() => runScriptAsync(script, this.#execute));
  }

  set(setting: SqliteSetting, value: number): Promise<void> {
    const done = (): Promise<void> =>
      new Promise((resolve, reject) => {
        this.#database.exec(`PRAGMA ${setting} = ${value}`, (error) =>
          error === null ? resolve() : reject(error),
        );
      });
    return this.#inTurn(done);
  }

  between<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isBetween) {
      return work();
    }
    return this.#inTurn(() => {
      this.#isBetween = true;
      try {
        return work();
      } finally {
        this.#isBetween = false;
      }
    });
  }

  classify(thrown: unknown): FailureKind {
    return classifySqliteError(thrown);
  }

  release(): Promise<void> {
    return this.#inTurn(async () => {
      const statements = await Promise.all(this.#prepared.values());
      this.#prepared.clear();
      await Promise.all(
        statements.map((each) => new Promise<void>((resolve) => each.finalize(() => resolve()))),
      );
    });
  }

  /**
   * A single statement that says so is its own transaction: one journey instead of five. On a shared
   * connection it would be part of a transaction of somebody else, which only a BEGIN notices.
   */
  async #alone(scripts: readonly TimedScript<unknown>[]): Promise<readonly unknown[] | undefined> {
    const [only, other] = scripts;
    const isAlone = other === undefined && !this.#isShared;
    const script = isAlone ? only?.(this.#clock.estimateMs()) : undefined;
    const first = script?.next();
    if (script === undefined || first?.done !== false || first.value.alone !== true) {
      return undefined;
    }
    let last: IteratorResult<Statement, unknown>;
    try {
      last = script.next(await this.#execute(first.value));
    } catch (error) {
      throw new ScriptFailure(0, error);
    }
    // What goes on has changed nothing yet, and begins again in a transaction.
    return last.done === true ? [last.value] : undefined;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    // Its failure is the caller's; the next one's turn comes all the same.
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #now(): Promise<number> {
    const rows = await this.#execute({ sql: NOW_SQL, params: [this.#clock.shiftMs] });
    return this.#clock.observe(Number(rows[0]?.[0]));
  }

  async #statement(sql: string): Promise<void> {
    await this.#execute({ sql, params: [] });
  }

  async #rollback(): Promise<void> {
    try {
      await this.#statement('ROLLBACK');
    } catch {
      // SQLite has already rolled back by itself, as it does when the disk is full.
    }
  }

  readonly #execute = async (statement: Statement): Promise<readonly Row[]> => {
    const prepared = await this.#prepare(statement.sql);
    return new Promise((resolve, reject) => {
      const settle = (error: Error | null, rows: readonly Row[]): void => {
        if (error === null) {
          resolve(rows);
        } else {
          // A BEGIN that met a lock stays half-way, and while it does, reads beside it keep the
          // snapshot of the first of them.
          prepared.reset(() => reject(error));
        }
      };
      const params = unseen([...statement.params]);
      if (statement.tells === 'inserted') {
        const awake = keepAwake();
        prepared.run(
          params,
          unseen(function (error) {
            awake.end();
            settle(error, [[this.lastID, this.changes]]);
          } satisfies Parameters<Sqlite3Statement['run']>[1]),
        );
      } else {
        const answer: Answer = (error, rows = []) =>
          settle(error, error === null ? rows.map((row) => Object.values(row)) : []);
        prepared.all(params, unseen(answer));
      }
    });
  };

  #prepare(sql: string): Promise<Sqlite3Statement> {
    const known = this.#prepared.get(sql);
    if (known !== undefined) {
      return known;
    }
    const prepared = new Promise<Sqlite3Statement>((resolve, reject) => {
      const statement = this.#database.prepare(sql, (error) => {
        if (error === null) {
          resolve(statement);
        } else {
          this.#prepared.delete(sql);
          reject(error);
        }
      });
    });
    if (this.#prepared.size >= 500) {
      const [oldest] = this.#prepared;
      if (oldest !== undefined) {
        this.#prepared.delete(oldest[0]);
        void oldest[1].then((statement) => statement.finalize());
      }
    }
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}

const AWAKE_MS = 0.5;
const HAS_ROOM = availableParallelism() > 1;

/**
 * Lets the event loop turn, for half a millisecond at most, while a short statement is at its
 * thread: to wake a loop that has gone to sleep takes as long as the statement.
 */
function keepAwake(): { end(): void } {
  const until = performance.now() + AWAKE_MS;
  let isOver = !HAS_ROOM;
  const turn = (): void => {
    if (!isOver && performance.now() < until) {
      setImmediate(turn);
    }
  };
  turn();
  return {
    end: () => {
      isOver = true;
    },
  };
}

const INSPECT = Symbol.for('nodejs.util.inspect.custom');
const nothing = (): string => '…';

/**
 * TypeORM turns on the driver's verbose mode, in which each call writes out all of its arguments in
 * case it fails: most of the time of a write, and the params of jobs in the stacks of errors.
 */
function unseen<T extends object>(argument: T): T {
  return Object.assign(argument, { [INSPECT]: nothing });
}
