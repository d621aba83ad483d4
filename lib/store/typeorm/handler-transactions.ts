import { setMaxListeners } from 'node:events';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import type { Session } from '../dialects/session.js';
import { query, type TimedScript } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import { classifySqliteError } from '../dialects/sqlite/sqlite-errors.js';
import { isInMemory, openHandlerDataSource, sqliteOptions } from './engine-connection.js';
import type { TransactionRun } from '../store.js';
import { runOn } from './joined-transaction.js';
import { halfLease, isLong, keepLease, LEASE_KEPT } from './lease.scripts.js';
import type { TableNames } from './table-names.js';

const LONGEST_DELAY_MS = 25;
const DEADLINE_MS = 30_000;
/** How long the lock is waited for to extend a lease. */
const KEEPING_MS = 1000;
/** How long a closing store waits for the transactions of runs that are over. */
const CLOSE_PATIENCE_MS = 2000;

/**
 * Transactions of handlers: on a connection of their own, with the host's entities, one at a time.
 * This is the one place where SQLite's write lock is held across an await.
 */
export class HandlerTransactions {
  readonly #host: DataSource;
  readonly #tables: TableNames;
  readonly #clock: DatabaseClock;
  readonly #session: () => Session;
  #dataSource: Promise<DataSource> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** Ends what is open, and what would be begun from then on. */
  readonly #closing = new AbortController();

  constructor(host: DataSource, tables: TableNames, clock: DatabaseClock, session: () => Session) {
    // Each transaction that is open listens.
    setMaxListeners(0, this.#closing.signal);
    this.#host = host;
    this.#tables = tables;
    this.#clock = clock;
    this.#session = session;
  }

  run<T>(run: TransactionRun, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => this.#transact(run, work));
    // Its failure is the handler's; the next one's turn comes all the same.
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** A transaction that is open still has some seconds, and then ends with its connection. */
  async close(): Promise<void> {
    await this.#idle();
    this.#closing.abort();
    await this.#idle();
    const opened = this.#dataSource;
    this.#dataSource = undefined;
    if (opened !== undefined && !this.#isShared()) {
      await (await opened).destroy();
    }
  }

  /** Resolves when no transaction is open or waits for its turn, or after so long. */
  async #idle(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_PATIENCE_MS);
    });
    await Promise.race([this.#turn, late]);
    clearTimeout(timer);
  }

  async #transact<T>(
    run: TransactionRun,
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    const end = new EndOfRun(run, this.#closing.signal);
    try {
      return await this.#transactUntil(end, run, work);
    } finally {
      end.forget();
    }
  }

  async #transactUntil<T>(
    end: EndOfRun,
    run: TransactionRun,
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    end.check();
    this.#dataSource ??= this.#isShared()
      ? Promise.resolve(this.#host)
      : openHandlerDataSource(this.#host);
    const dataSource = await this.#dataSource;
    const runner = dataSource.createQueryRunner();
    await this.#begin(runner, run, end);
    const begunAt = performance.now();
    try {
      const result = await Promise.race([work(runner.manager), end.reached]);
      if (isLong(run, begunAt)) {
        await runOn(runner, this.#clock, (nowMs) => keepLease(this.#tables, run, nowMs));
      }
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (runner.isTransactionActive) {
        await runner.rollbackTransaction();
      }
      if (isLong(run, begunAt) && !end.isReached) {
        // What the fence had extended is taken back with the rest; the next renewal may be too late.
        await this.#keepLease(runner, run, end);
      }
      if (end.isReached && !this.#isShared()) {
        // The handler may linger: with its connection closed, nothing it still does is written.
        this.#dataSource = undefined;
        await dataSource.destroy();
      }
      throw error;
    }
  }

  /**
   * Takes the write lock with the fence: the first statement is an update that only the holder of
   * the job makes, so a snapshot that somebody overtook cannot come about, and a stale run ends here.
   */
  async #begin(runner: QueryRunner, run: TransactionRun, end: EndOfRun): Promise<void> {
    const until = performance.now() + DEADLINE_MS;
    for (let delay = 1; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
      await this.#start(runner, until, end);
      try {
        if (!(await runOn(runner, this.#clock, this.#fence(run)))) {
          throw end.error();
        }
        end.check();
        return;
      } catch (error) {
        await runner.rollbackTransaction();
        end.check();
        if (classifySqliteError(error) !== 'busy' || performance.now() > until) {
          throw error;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  /**
   * Opens the transaction. A database in memory has one connection: the transactions of the host and
   * of the engine on it must be over first, or this one would be part of them.
   */
  async #start(runner: QueryRunner, until: number, end: EndOfRun): Promise<void> {
    if (!this.#isShared()) {
      await runner.startTransaction();
      return;
    }
    const started = (): Promise<boolean> =>
      this.#session().between(async () => {
        if (runner.isTransactionActive) {
          return false;
        }
        await runner.startTransaction();
        return true;
      });
    while (!(await started())) {
      end.check();
      if (performance.now() > until) {
        throw new JobsError(
          'database_busy',
          'Another transaction on the database in memory has been open for too long. Keep transactions short, or use a file.',
          { retryAfterSec: 1 },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Whoever has waited for the lock may have it now, for a moment. */
  async #keepLease(runner: QueryRunner, run: TransactionRun, end: EndOfRun): Promise<void> {
    const until = performance.now() + KEEPING_MS;
    for (let delay = 1; !end.isReached; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
      try {
        await runOn(runner, this.#clock, (nowMs) => keepLease(this.#tables, run, nowMs));
        return;
      } catch (error) {
        if (classifySqliteError(error) !== 'busy' || performance.now() > until) {
          return; // The next renewal extends it, if it comes in time.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  #fence(run: TransactionRun): TimedScript<boolean> {
    const { rows: table } = this.#tables;
    return function* (nowMs) {
      const rows = yield* query(
        `UPDATE ${table} SET updated_at_ms = ?, ${LEASE_KEPT} WHERE seq = ? AND run_id = ?
         AND status IN ('running', 'locked', 'suspending', 'canceling') RETURNING seq`,
        [nowMs, ...halfLease(run, nowMs), seqOfId(run.jobId) ?? -1, run.runId],
      );
      return rows.length === 1;
    };
  }

  #isShared(): boolean {
    return isInMemory(sqliteOptions(this.#host.options).database);
  }
}

/** When a transaction must be over: its run is, or the store closes. */
export class EndOfRun {
  /** Rejects at the end. */
  readonly reached: Promise<never>;
  readonly #run: TransactionRun;
  readonly #signals: readonly AbortSignal[];
  #refuse: () => void = () => undefined;

  constructor(run: TransactionRun, closing: AbortSignal) {
    this.#run = run;
    this.#signals = [run.over, closing];
    this.reached = new Promise((_, reject) => {
      this.#refuse = () => reject(this.error());
    });
    // It may be reached before anybody waits for it.
    this.reached.catch(() => undefined);
    for (const signal of this.#signals) {
      signal.addEventListener('abort', this.#refuse, { once: true });
    }
  }

  get isReached(): boolean {
    return this.#signals.some((signal) => signal.aborted);
  }

  /** @throws JobsError `lease_lost` when it is reached */
  check(): void {
    if (this.isReached) {
      throw this.error();
    }
  }

  error(): JobsError {
    return new JobsError(
      'lease_lost',
      `Run ${this.#run.runId} of job ${this.#run.jobId} is over, so its transaction was not made, or rolled back. Stop the handler.`,
    );
  }

  /** The transaction ended by itself. */
  forget(): void {
    for (const signal of this.#signals) {
      signal.removeEventListener('abort', this.#refuse);
    }
  }
}
