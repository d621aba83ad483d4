import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import type { TransactionRun } from '../../store.js';
import { EndOfRun } from '../../typeorm/handler-transactions.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type TimedScript } from '../sql.js';
import { seqOfId } from '../sqlite/row-numbers.js';

/** How long a closing store waits for the transactions of runs that are over. */
const CLOSE_PATIENCE_MS = 2000;

/** Runs a script in the transaction of a runner. */
export type RunOnRunner = <T>(runner: QueryRunner, script: TimedScript<T>) => Promise<T>;

/** Transactions of handlers, each on a connection of the host's pool, as many as it gives. */
export class PostgresHandlerTransactions {
  readonly #host: DataSource;
  readonly #tables: TableNames;
  readonly #runOn: RunOnRunner;
  readonly #interrupt: (processId: number) => Promise<unknown>;
  readonly #open = new Set<Promise<unknown>>();
  /** Ends what is open, and what would be begun from then on. */
  readonly #closing = new AbortController();

  /** `interrupt` stops what a process of the server is doing. */
  constructor(
    host: DataSource,
    tables: TableNames,
    runOn: RunOnRunner,
    interrupt: (processId: number) => Promise<unknown>,
  ) {
    this.#host = host;
    this.#tables = tables;
    this.#runOn = runOn;
    this.#interrupt = interrupt;
  }

  run<T>(run: TransactionRun, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const result = this.#transact(run, work);
    const ended = result.catch(() => undefined);
    this.#open.add(ended);
    void ended.then(() => this.#open.delete(ended));
    return result;
  }

  /** A transaction that is open still has some seconds, and is then rolled back. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(), CLOSE_PATIENCE_MS);
    await Promise.all(this.#open);
    clearTimeout(timer);
    this.#closing.abort();
  }

  async #transact<T>(
    run: TransactionRun,
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T> {
    const end = new EndOfRun(run, this.#closing.signal);
    const runner = this.#host.createQueryRunner();
    try {
      end.check();
      await runner.startTransaction();
      await this.#fence(runner, run, end);
      const result = await Promise.race([work(runner.manager), end.reached]);
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (end.isReached) {
        await this.#stop(runner);
      }
      if (runner.isTransactionActive) {
        await runner.rollbackTransaction().catch(() => undefined);
      }
      throw error;
    } finally {
      end.forget();
      // Whatever a handler that lingers still does with its manager is refused from here on.
      await runner.release();
    }
  }

  /** The row of a run stays locked until the transaction ends, so nobody takes the job meanwhile. */
  async #fence(runner: QueryRunner, run: TransactionRun, end: EndOfRun): Promise<void> {
    const { jobs } = this.#tables;
    const holds = await this.#runOn(runner, function* (nowMs) {
      const rows = yield* query(
        `UPDATE ${jobs} SET updated_at_ms = ? WHERE seq = ? AND job_id = ? AND run_id = ?
         AND status IN ('running', 'locked', 'suspending', 'canceling') RETURNING seq`,
        [nowMs, seqOfId(run.jobId) ?? -1, run.jobId, run.runId],
      );
      return rows.length === 1;
    });
    if (!holds) {
      throw end.error();
    }
    end.check();
  }

  async #stop(runner: QueryRunner): Promise<void> {
    const client = (await runner.connect()) as { readonly processID?: number | null };
    if (typeof client.processID === 'number') {
      await this.#interrupt(client.processID).catch(() => undefined);
    }
  }
}
