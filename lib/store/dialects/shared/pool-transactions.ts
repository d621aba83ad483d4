import { setMaxListeners } from 'node:events';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import type { TransactionRun } from '../../store.js';
import { isLong } from '../../typeorm/lease.scripts.js';
import { EndOfRun } from '../../typeorm/handler-transactions.js';
import type { Script, TimedScript } from '../sql.js';

/** How long a closing store waits for the transactions of runs that are over. */
const CLOSE_PATIENCE_MS = 2000;

/** What is done for such a transaction in the server's own words. */
export interface PoolDialect {
  /** Runs a script in the transaction of a runner. */
  runOn<T>(runner: QueryRunner, script: TimedScript<T>): Promise<T>;
  /** Locks the row of a run that holds its job, until the transaction ends; whether it does. */
  fence(run: TransactionRun, nowMs: number): Script<boolean>;
  /** Extends the lease of such a run. */
  keep(run: TransactionRun, nowMs: number): Script<void>;
  /** Stops what the server is doing for a connection of the host's driver. */
  interrupt(connection: unknown): Promise<unknown>;
}

/** Transactions of handlers, each on a connection of the host's pool, as many as it gives. */
export class PoolTransactions {
  readonly #host: DataSource;
  readonly #dialect: PoolDialect;
  readonly #open = new Set<Promise<unknown>>();
  /** Ends what is open, and what would be begun from then on. */
  readonly #closing = new AbortController();

  constructor(host: DataSource, dialect: PoolDialect) {
    // Each transaction that is open listens.
    setMaxListeners(0, this.#closing.signal);
    this.#host = host;
    this.#dialect = dialect;
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
    let begunAt = Infinity;
    try {
      end.check();
      await runner.startTransaction();
      await this.#fence(runner, run, end);
      begunAt = performance.now();
      const result = await Promise.race([work(runner.manager), end.reached]);
      if (isLong(run, begunAt)) {
        await this.#dialect.runOn(runner, (nowMs) => this.#dialect.keep(run, nowMs));
      }
      await runner.commitTransaction();
      return result;
    } catch (error) {
      if (end.isReached) {
        await this.#stop(runner);
      }
      if (runner.isTransactionActive) {
        await runner.rollbackTransaction().catch(() => undefined);
      }
      if (isLong(run, begunAt) && !end.isReached) {
        // What the fence had extended is taken back with the rest; the next renewal may be too late.
        await this.#dialect
          .runOn(runner, (nowMs) => this.#dialect.keep(run, nowMs))
          .catch(() => undefined);
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
    if (!(await this.#dialect.runOn(runner, (nowMs) => this.#dialect.fence(run, nowMs)))) {
      throw end.error();
    }
    end.check();
  }

  async #stop(runner: QueryRunner): Promise<void> {
    await this.#dialect.interrupt(await runner.connect()).catch(() => undefined);
  }
}
