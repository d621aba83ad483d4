import type { Script, TimedScript } from './sql.js';

/** What a failed statement means for the work that wanted it. */
export type FailureKind =
  /** Somebody else holds the lock: the same work succeeds later. */
  | 'busy'
  /** Somebody else holds what this one piece of work needs: the rest need not wait for it. */
  | 'held'
  /** The server has ended the statement, since it took too long: nothing of it was done. */
  | 'slow'
  /** The database cannot be written or reached now. */
  | 'unavailable'
  /** The work itself is wrong. */
  | 'error';

/** A look at a few rows, as the engine itself takes; or what somebody asks for, which may take long. */
export type ReadKind = 'look' | 'search';

/** One engine connection to the database. */
export interface Session {
  /** Runs a script that only reads, as a look unless said otherwise; it sees committed data. */
  read<T>(script: TimedScript<T>, kind?: ReadKind): Promise<T>;
  /**
   * Runs scripts in one transaction that holds the write lock from its beginning and commits at
   * its end; when one throws, all is rolled back and a {@link ScriptFailure} names it.
   * A synchronous driver finishes before it returns, so the lock never outlives the call.
   */
  transact(
    scripts: readonly TimedScript<unknown>[],
  ): Promise<readonly unknown[]> | readonly unknown[];
  /** Runs one script outside any transaction of ours, as migrations do. */
  run<T>(script: Script<T>): Promise<T>;
  /**
   * Begins something else on the connection, while no work of ours has it. What the work begins
   * synchronously may ask for the same again.
   */
  between<T>(work: () => Promise<T>): Promise<T>;
  /** What something thrown by this session means. */
  classify(thrown: unknown): FailureKind;
  /** Lets go of every statement, so that the connection can be closed. */
  release(): Promise<void>;
}

/** Says which of the scripts of a transaction threw; nothing of the transaction remains. */
export class ScriptFailure extends Error {
  override readonly name: string = 'ScriptFailure';
  readonly index: number;

  constructor(index: number, cause: unknown) {
    super('A script of a shared transaction failed.', { cause });
    this.index = index;
  }
}

/** The connection broke before an answer came. */
export class AnswerLost extends Error {
  override readonly name: string = 'AnswerLost';
  /** Whether the work may be done; it is not where the transaction was not told to commit. */
  readonly maybeDone: boolean;

  constructor(cause: unknown, maybeDone = true) {
    super('The connection broke before the database could say whether it has committed.', {
      cause,
    });
    this.maybeDone = maybeDone;
  }
}
