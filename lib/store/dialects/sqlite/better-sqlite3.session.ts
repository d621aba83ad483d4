import { ScriptFailure, type FailureKind } from '../session.js';
import {
  CHANGES_SQL,
  runScript,
  type Row,
  type Script,
  type Statement,
  type TimedScript,
} from '../sql.js';
import { NOW_SQL, type DatabaseClock } from './sqlite-clock.js';
import { classifySqliteError } from './sqlite-errors.js';
import type { SqliteSession, SqliteSetting } from './sqlite-session.js';

/** The part of a better-sqlite3 database that is used. */
export interface BetterSqlite3Database {
  prepare(sql: string): BetterSqlite3Statement;
}

interface BetterSqlite3Statement {
  readonly reader: boolean;
  raw(toggle: boolean): BetterSqlite3Statement;
  all(...params: unknown[]): unknown[];
  run(...params: unknown[]): { readonly changes: number };
}

interface Prepared {
  readonly statement: BetterSqlite3Statement;
  readonly reader: boolean;
}

const NO_ROWS: readonly Row[] = [];

/** The synchronous driver: a transaction is one uninterrupted piece of JavaScript. */
export class BetterSqlite3Session implements SqliteSession {
  readonly #database: BetterSqlite3Database;
  readonly #clock: DatabaseClock;
  readonly #prepared = new Map<string, Prepared>();
  /** Of the statement before, where the driver has told. */
  #changes: number | undefined;
  readonly #execute = (statement: Statement): readonly Row[] => {
    if (statement.sql === CHANGES_SQL && this.#changes !== undefined) {
      return [[this.#changes]];
    }
    const { statement: prepared, reader } = this.#prepare(statement.sql);
    if (reader) {
      this.#changes = undefined;
      return prepared.all(statement.params) as Row[];
    }
    this.#changes = prepared.run(statement.params).changes;
    return NO_ROWS;
  };

  constructor(database: BetterSqlite3Database, clock: DatabaseClock) {
    this.#database = database;
    this.#clock = clock;
  }

  read<T>(script: TimedScript<T>): Promise<T> {
    try {
      return Promise.resolve(runScript(script(this.#now()), this.#execute));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  transact(scripts: readonly TimedScript<unknown>[]): readonly unknown[] {
    this.#statement('BEGIN IMMEDIATE');
    let index = 0;
    try {
      const now = this.#now();
      const results: unknown[] = [];
      for (const script of scripts) {
        results.push(runScript(script(now), this.#execute));
        index += 1;
      }
      this.#statement('COMMIT');
      return results;
    } catch (error) {
      this.#rollback();
      throw index < scripts.length ? new ScriptFailure(index, error) : error;
    }
  }

  run<T>(script: Script<T>): Promise<T> {
    try {
      return Promise.resolve(runScript(script, this.#execute));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  set(setting: SqliteSetting, value: number): Promise<void> {
    try {
      this.#database.prepare(`PRAGMA ${setting} = ${value}`).all();
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  between<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  classify(thrown: unknown): FailureKind {
    return classifySqliteError(thrown);
  }

  release(): Promise<void> {
    this.#prepared.clear();
    return Promise.resolve();
  }

  #now(): number {
    const now = this.#execute({ sql: NOW_SQL, params: [this.#clock.shiftMs] })[0]?.[0];
    return this.#clock.observe(Number(now));
  }

  #statement(sql: string): void {
    this.#execute({ sql, params: [] });
  }

  #rollback(): void {
    try {
      this.#statement('ROLLBACK');
    } catch {
      // SQLite has already rolled back by itself, as it does when the disk is full.
    }
  }

  #prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    if (known !== undefined) {
      return known;
    }
    const statement = this.#database.prepare(sql);
    const prepared = { statement, reader: statement.reader };
    if (statement.reader) {
      statement.raw(true);
    }
    // Statements whose text depends on a caller's filters could be many: the oldest leave.
    if (this.#prepared.size >= 500) {
      const [oldest] = this.#prepared.keys();
      this.#prepared.delete(oldest ?? '');
    }
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}
