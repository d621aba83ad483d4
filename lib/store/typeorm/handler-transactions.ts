import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import { query, type TimedScript } from '../dialects/sql.js';
import type { DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import { classifySqliteError } from '../dialects/sqlite/sqlite-errors.js';
import { isInMemory, openHandlerDataSource, sqliteOptions } from './engine-connection.js';
import type { TransactionRun } from '../store.js';
import { runOn } from './joined-transaction.js';
import type { TableNames } from './table-names.js';

const LONGEST_DELAY_MS = 25;
const DEADLINE_MS = 30_000;

/** The transaction that a handler has open. */
interface OpenTransaction {
  readonly runId: string;
  readonly runner: QueryRunner;
  readonly dataSource: DataSource;
  readonly abandoned: (reason: JobsError) => void;
}

/**
 * Transactions of handlers: on a connection of their own, with the host's entities, one at a time.
 * This is the one place where SQLite's write lock is held across an await.
 */
export class HandlerTransactions {
  readonly #host: DataSource;
  readonly #tables: TableNames;
  readonly #clock: DatabaseClock;
  #dataSource: Promise<DataSource> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #open: OpenTransaction | undefined;

  constructor(host: DataSource, tables: TableNames, clock: DatabaseClock) {
    this.#host = host;
    this.#tables = tables;
    this.#clock = clock;
  }

  run<T>(run: TransactionRun, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const result = this.#turn.then(() => this.#transact(run, work));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /**
   * Ends the transaction of a run that is over while its handler lingers: it is rolled back, and its
   * connection closed, so that nothing the handler still does is written and the lock is free.
   */
  async abandon(runId: string): Promise<void> {
    const open = this.#open;
    if (open === undefined || open.runId !== runId) {
      return;
    }
    this.#open = undefined;
    open.abandoned(
      new JobsError(
        'lease_lost',
        `Run ${runId} is over, so its transaction was rolled back. Stop the handler.`,
      ),
    );
    if (open.runner.isTransactionActive) {
      await open.runner.rollbackTransaction();
    }
    if (!this.#isShared()) {
      this.#dataSource = undefined;
      await open.dataSource.destroy();
    }
  }

  async close(): Promise<void> {
    if (this.#open !== undefined) {
      await this.abandon(this.#open.runId);
    }
    await this.#turn;
    const opened = this.#dataSource;
    this.#dataSource = undefined;
    if (opened !== undefined && !this.#isShared()) {
      await (await opened).destroy();
    }
  }

  async #transact<T>(
    run: { readonly jobId: string; readonly runId: string },
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    this.#dataSource ??= this.#isShared()
      ? Promise.resolve(this.#host)
      : openHandlerDataSource(this.#host);
    const dataSource = await this.#dataSource;
    const runner = dataSource.createQueryRunner();
    await this.#begin(runner, run);
    let abandoned: (reason: JobsError) => void = () => undefined;
    const abandonment = new Promise<never>((_resolve, reject) => {
      abandoned = reject;
    });
    const open: OpenTransaction = { runId: run.runId, runner, dataSource, abandoned };
    this.#open = open;
    try {
      const result = await Promise.race([work(runner.manager), abandonment]);
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (this.#open === open && runner.isTransactionActive) {
        await runner.rollbackTransaction();
      }
      throw error;
    } finally {
      if (this.#open === open) {
        this.#open = undefined;
      }
    }
  }

  /**
   * Takes the write lock with the fence: the first statement is an update that only the holder of
   * the job makes, so a snapshot that somebody overtook cannot come about, and a stale run ends here.
   */
  async #begin(runner: QueryRunner, run: TransactionRun): Promise<void> {
    const until = performance.now() + DEADLINE_MS;
    for (let delay = 1; ; delay = Math.min(delay * 2, LONGEST_DELAY_MS)) {
      await runner.startTransaction();
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

  #fence(run: TransactionRun): TimedScript<boolean> {
    const { jobs } = this.#tables;
    return function* (nowMs) {
      const rows = yield* query(
        `UPDATE ${jobs} SET updated_at_ms = ? WHERE job_id = ? AND run_id = ?
         AND status IN ('running', 'locked', 'suspending', 'canceling') RETURNING seq`,
        [nowMs, run.jobId, run.runId],
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
