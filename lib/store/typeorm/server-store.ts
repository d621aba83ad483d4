import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import type { PoolTransactions } from '../dialects/shared/pool-transactions.js';
import { ServerClock } from '../dialects/shared/server-clock.js';
import type {
  ServerDialect,
  ServerExecutor,
  ServerSession,
} from '../dialects/shared/server-session.js';
import { query, runScriptAsync, type Script, type TimedScript } from '../dialects/sql.js';
import type {
  ScheduleStore,
  CatalogStore,
  HistoryStore,
  JobStore,
  JoinedTransaction,
  StepStore,
  Store,
  TransactionRun,
} from '../store.js';
import type { WebhookStore } from '../webhooks.js';
import type { Writer } from '../writer.js';
import {
  CommitListeners,
  dataSourceOf,
  joinedFailure,
  joinTransaction,
  type JoinParts,
} from './joined-transaction.js';
import { placeOf } from './server-place.js';

/** What writes over a connection of its own. */
export interface Lane {
  readonly session: ServerSession;
  readonly writer: Writer;
}

/** How long a closing store waits for what is still to be written. */
const CLOSE_PATIENCE_MS = 2000;

/**
 * How many connections read beside each other, one for the engine's own looks and more for those who
 * ask: what the pool leaves beside so many that write and listen, which no pool does without.
 *
 * @throws JobsError `invalid_options` when none is left
 */
export function readersOf(poolSize: number | undefined, others: number, server: string): number {
  if (poolSize !== undefined && poolSize <= others) {
    throw new JobsError(
      'invalid_options',
      `database.poolSize is ${poolSize}, and the engine does not do with less than ${others + 1} connections to ${server}: give it as many or more, or leave the option out.`,
    );
  }
  return poolSize === undefined ? 3 : poolSize - others;
}

/** What stores on a server have in common: lanes that write beside each other, and whom they tell. */
export abstract class ServerStore implements Store {
  abstract readonly jobs: JobStore;
  abstract readonly history: HistoryStore;
  abstract readonly catalog: CatalogStore;
  abstract readonly steps: StepStore;
  abstract readonly schedules: ScheduleStore;
  abstract readonly webhooks: WebhookStore;
  abstract readonly floorMs: number;
  readonly clock = new ServerClock();
  protected readonly host: DataSource;
  readonly #dialect: ServerDialect;
  readonly #commits = new CommitListeners();
  readonly #listeners = new Set<() => void>();

  protected constructor(host: DataSource, dialect: ServerDialect) {
    this.host = host;
    this.#dialect = dialect;
  }

  /** Transactions of handlers. */
  protected abstract readonly handlers: PoolTransactions;
  /** What is written on connections of the host. */
  protected abstract readonly joins: Omit<JoinParts, 'runOnRunner'>;
  /** None before the store is open. */
  protected abstract lanes(): readonly Lane[];
  /** For what no lane is for. @throws JobsError `database_unavailable` before the store is open */
  protected abstract aside(): Lane;
  /** Runs statements on a connection of the host. */
  protected abstract executorOn(connection: unknown): ServerExecutor;
  /** Somebody else's transaction has stored something. */
  protected abstract tell(): void;
  /** Ends what tells of changes. */
  protected abstract silence(): unknown;

  abstract open(looking?: (look: Promise<unknown>) => void): Promise<void>;

  async close(): Promise<void> {
    const lanes = this.lanes();
    await this.handlers.close();
    await Promise.all(lanes.map(({ writer }) => writer.idle(CLOSE_PATIENCE_MS)));
    lanes.forEach(({ writer }) => writer.close());
    await this.silence();
    await Promise.all(lanes.map(({ session }) => session.release()));
  }

  ping(): Promise<number> {
    return Promise.resolve().then(() => this.aside().session.read(() => this.#now()));
  }

  estimateNowMs(): number {
    return this.clock.estimateMs();
  }

  async settled(): Promise<void> {
    await Promise.all(this.lanes().map(({ writer }) => writer.idle()));
  }

  stuckMs(): number {
    return Math.max(0, ...this.lanes().map(({ writer }) => writer.stuckMs));
  }

  onRemoteChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  listenClosely(): () => void {
    return () => undefined;
  }

  join(given: unknown): JoinedTransaction {
    const manager = given as EntityManager;
    const theirs = dataSourceOf(manager);
    if (theirs !== this.host && placeOf(theirs) !== placeOf(this.host)) {
      throw new JobsError(
        'invalid_request',
        '`manager` belongs to another database than the one that JobsModule works on: pass the manager of a transaction there.',
      );
    }
    const joined = joinTransaction(
      manager,
      { ...this.joins, runOnRunner: (runner, script) => this.runOn(runner, script) },
      this.#commits,
    );
    joined.onCommit(() => this.tell());
    return joined;
  }

  transaction<T>(
    run: TransactionRun,
    work: (manager: unknown, joined: JoinedTransaction) => Promise<T>,
  ): Promise<T> {
    return this.handlers.run(run, (manager) => work(manager, this.join(manager)));
  }

  /** Others have changed something. */
  protected readonly changed = (): void => {
    this.#listeners.forEach((listener) => listener());
  };

  /** In the runner's transaction; without one there is nothing to join, and nothing of the host's is used. */
  protected async runOn<T>(runner: QueryRunner, script: TimedScript<T>): Promise<T> {
    if (!runner.isTransactionActive) {
      return this.aside().writer.write(script, 'caller');
    }
    try {
      const executor = this.executorOn(await runner.connect());
      const askedAt = performance.now();
      const now = await executor.simple(`SELECT ${this.#dialect.now}`);
      return await runScriptAsync(
        script(this.clock.observe(Number(now[0]?.[0]), askedAt)),
        executor.execute,
      );
    } catch (error) {
      throw joinedFailure(error, this.#dialect.classify(error));
    }
  }

  *#now(): Script<number> {
    const askedAt = performance.now();
    const rows = yield* query(`SELECT ${this.#dialect.now}`);
    return this.clock.observe(Number(rows[0]?.[0]), askedAt);
  }
}
