/** A value that every driver binds and returns alike. */
export type SqlValue = string | number | null;

/** One statement with its bound values. */
export interface Statement {
  readonly sql: string;
  readonly params: readonly SqlValue[];
  /**
   * The script has done all with this statement if it changes as many rows as it should, else it has
   * changed none: it may run without a transaction around it. A hint for databases where beginning
   * one costs a message or a visit to a thread.
   */
  readonly alone?: true;
  /** One that runs `ahead` and one that runs `behind` it may be made one; a hint as well. */
  readonly fuses?: 'ahead' | 'behind';
  /**
   * An INSERT that is answered by one row, the number of the last row and how many there are, on the
   * driver that tells so without being asked (sqlite3); RETURNING would take a fifth more of its time.
   */
  readonly tells?: 'inserted';
  /**
   * The script does not look at what it gives: it may travel with the next statement, or with COMMIT.
   * A hint for databases that take several statements in one message.
   */
  readonly deferred?: true;
  /**
   * It is answered by one row: how many rows each statement of its message has met, where deferred ones
   * travel with it; on other databases it is not.
   */
  readonly counts?: true;
}

/** SQL, a statement or a part of one, with its bound values. */
export type Phrase = Pick<Statement, 'sql' | 'params'>;

/** Where rows go, and what they consist of. */
export interface RowsInto {
  readonly table: string;
  readonly columns: Readonly<Record<string, 'number' | 'text'>>;
}

/** How many rows the statement before has changed; some drivers know without asking. */
export const CHANGES_SQL = 'SELECT changes()';

/** A result row, by position of the select list or RETURNING. */
export type Row = readonly SqlValue[];

/**
 * Database work as a generator of statements: the same source runs without a pause on a
 * synchronous driver, and statement by statement on an asynchronous one.
 */
export type Script<T> = Generator<Statement, T, readonly Row[]>;

/** A script that is told the database's time of its transaction, in Unix milliseconds. */
export interface TimedScript<T> {
  (nowMs: number): Script<T>;
  /** Nobody else needs to hear at once that it was done. */
  readonly isQuiet?: boolean;
}

/** The same script, of which no other process is told. */
export function quietly<T>(script: (nowMs: number) => Script<T>): TimedScript<T> {
  return Object.assign((nowMs: number) => script(nowMs), { isQuiet: true });
}

/** Yields one statement and returns its rows. */
export function* query(sql: string, params: readonly SqlValue[] = []): Script<readonly Row[]> {
  return yield { sql, params };
}

/** The same of a statement that may run without a transaction. */
export function* queryAlone(sql: string, params: readonly SqlValue[]): Script<readonly Row[]> {
  return yield { sql, params, alone: true };
}

/** A script as a part of a transaction: none of its statements runs alone. */
export function* together<T>(script: Script<T>): Script<T> {
  let step = script.next();
  while (step.done !== true) {
    const { sql, params }: Statement = step.value;
    step = script.next(yield { sql, params });
  }
  return step.value;
}

/** Runs a script on a driver that answers at once. */
export function runScript<T>(
  script: Script<T>,
  execute: (statement: Statement) => readonly Row[],
): T {
  let step = script.next();
  while (step.done !== true) {
    step = script.next(execute(step.value));
  }
  return step.value;
}

/** Runs a script on a driver that answers later. */
export async function runScriptAsync<T>(
  script: Script<T>,
  execute: (statement: Statement) => Promise<readonly Row[]>,
): Promise<T> {
  let step = script.next();
  while (step.done !== true) {
    step = script.next(await execute(step.value));
  }
  return step.value;
}
