import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import type { Session } from '../dialects/session.js';
import { query, type TimedScript } from '../dialects/sql.js';
import { seqOfId } from '../dialects/sqlite/row-numbers.js';
import type { DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import { classifySqliteError } from '../dialects/sqlite/sqlite-errors.js';
import { isInMemory, openHandlerDataSource, sqliteOptions } from './engine-connection.js';
import type { TransactionRun } from '../store.js';
import { runOn } from './joined-transaction.js';
import type { TableNames } from './table-names.js';

const LONGEST_DELAY_MS = 25;
const DEADLINE_MS = 30_000;

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

  constructor(host: DataSource, tables: TableNames, clock: DatabaseClock, session: () => Session) {
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

  async close(): Promise<void> {
    await this.#turn;
    const opened = this.#dataSource;
    this.#dataSource = undefined;
    if (opened !== undefined && !this.#isShared()) {
      await (await opened).destroy();
    }
  }

  async #transact<T>(
    run: TransactionRun,
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    this.#dataSource ??= this.#isShared()
      ? Promise.resolve(this.#host)
      : openHandlerDataSource(this.#host);
    const dataSource = await this.#dataSource;
    const runner = dataSource.createQueryRunner();
    await this.#begin(runner, run);
    try {
      const result = await Promise.race([work(runner.manager), overrun(run)]);
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (runner.isTransactionActive) {
        await runner.rollbackTransaction();
      }
      if (run.over.aborted && !this.#isShared()) {
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
  async #begin(runner: QueryRunner, run: TransactionRun): Promise<void> {
    const until = performance.now() + DEADLINE_MS;
    for (let delay = 1; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
      await this.#start(runner, until);
      try {
        const holds = await runOn(runner, this.#clock, this.#fence(run));
        if (!holds || run.over.aborted) {
          throw new JobsError(
            'lease_lost',
            `Job ${run.jobId} is held by this run no more, so its transaction was not begun. Stop the handler.`,
          );
        }
        return;
      } catch (error) {
        await runner.rollbackTransaction();
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
  async #start(runner: QueryRunner, until: number): Promise<void> {
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

  #fence(run: TransactionRun): TimedScript<boolean> {
    const { jobs } = this.#tables;
    return function* (nowMs) {
      const rows = yield* query(
        `UPDATE ${jobs} SET updated_at_ms = ? WHERE seq = ? AND job_id = ? AND run_id = ?
         AND status IN ('running', 'locked', 'suspending', 'canceling') RETURNING seq`,
        [nowMs, seqOfId(run.jobId) ?? -1, run.jobId, run.runId],
      );
      return rows.length === 1;
    };
  }

  #isShared(): boolean {
    return isInMemory(sqliteOptions(this.#host.options).database);
  }
}

/** Rejects when the run is over before its transaction. */
function overrun(run: TransactionRun): Promise<never> {
  return new Promise((_, reject) => {
    const refuse = (): void =>
      reject(
        new JobsError(
          'lease_lost',
          `Run ${run.runId} of job ${run.jobId} is over, so its transaction was rolled back. Stop the handler.`,
        ),
      );
    if (run.over.aborted) {
      refuse();
    } else {
      run.over.addEventListener('abort', refuse, { once: true });
    }
  });
}
