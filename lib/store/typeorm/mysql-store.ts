import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import { MysqlClaimScript } from '../dialects/mysql/claim.script.js';
import { MysqlConnection, MysqlExecutor } from '../dialects/mysql/connection.js';
import { MysqlDutyScripts } from '../dialects/mysql/duty.scripts.js';
import { MysqlInsertScript } from '../dialects/mysql/insert.script.js';
import { MysqlJobScripts } from '../dialects/mysql/job.scripts.js';
import { classifyMysqlError, isMysqlAnswerLost } from '../dialects/mysql/mysql-errors.js';
import { MYSQL_NOW, MYSQL_WORDS } from '../dialects/mysql/mysql-words.js';
import { clientMaker, type MysqlClient } from '../dialects/mysql/mysql2.js';
import { Poll } from '../dialects/mysql/poll.js';
import { NumberSource } from '../dialects/shared/number-source.js';
import { PoolTransactions } from '../dialects/shared/pool-transactions.js';
import { ServerClock } from '../dialects/shared/server-clock.js';
import { ServerSession, type ServerDialect } from '../dialects/shared/server-session.js';
import { query, runScriptAsync, type Script, type TimedScript } from '../dialects/sql.js';
import type {
  CatalogStore,
  HistoryStore,
  JobStore,
  JoinedTransaction,
  Store,
  TransactionRun,
} from '../store.js';
import { Writer } from '../writer.js';
import { catalogStore } from './catalog.store.js';
import { CountScripts } from './count.scripts.js';
import { historyStore } from './history.store.js';
import { jobStore } from './job.store.js';
import {
  CommitListeners,
  dataSourceOf,
  joinedFailure,
  joinTransaction,
} from './joined-transaction.js';
import { ListScripts } from './list.script.js';
import { prepareMysqlSchema } from './mysql-schema.js';
import { placeOf, unreachable } from './server-place.js';
import type { MigrateMode } from './schema.js';
import { tableNames, type TableNames } from './table-names.js';

/** How long a closing store waits for what is still to be written. */
const CLOSE_PATIENCE_MS = 2000;

/** Reads beside each other: one for the engine's own looks, more for those who ask. */
const READERS = 3;

const SESSIONS: ServerDialect = {
  now: MYSQL_NOW,
  classify: classifyMysqlError,
  isAnswerLost: isMysqlAnswerLost,
};

/** What writes over a connection of its own. */
interface Lane {
  readonly session: ServerSession;
  readonly writer: Writer;
}

interface Lanes {
  readonly insert: Lane;
  readonly work: Lane;
  readonly aside: Lane;
}

/**
 * The store on MySQL and MariaDB, with the three lanes of PostgreSQL's: what callers enqueue, what
 * runs report and how they end together with what is claimed next, and everything else.
 */
export class MysqlStore implements Store {
  readonly jobs: JobStore;
  readonly history: HistoryStore;
  readonly catalog: CatalogStore;
  /** The poll says it. */
  readonly floorMs = 3000;
  readonly clock = new ServerClock();
  readonly #host: DataSource;
  readonly #migrate: MigrateMode;
  readonly #tables: TableNames;
  readonly #scripts: MysqlJobScripts;
  /** For connections of the host. */
  readonly #joinedScripts: MysqlJobScripts;
  readonly #inserts: MysqlInsertScript;
  readonly #commits = new CommitListeners();
  readonly #handlers: PoolTransactions;
  readonly #listeners = new Set<() => void>();
  #deadlocks = 0;
  #lanes: Lanes | undefined;
  #poll: Poll | undefined;

  constructor(host: DataSource, options: { readonly migrate: MigrateMode }) {
    this.#host = host;
    this.#migrate = options.migrate;
    this.#tables = tableNames(host.options.entityPrefix, undefined, MYSQL_WORDS);
    this.#scripts = new MysqlJobScripts(this.#tables, true);
    this.#joinedScripts = new MysqlJobScripts(this.#tables, false);
    this.#inserts = new MysqlInsertScript(this.#tables, new NumberSource());
    this.#handlers = new PoolTransactions(host, {
      runOn: (runner, script) => this.#runOn(runner, script),
      fence: (run) => this.#joinedScripts.fence(run),
      interrupt: async (connection) => {
        const { threadId } = connection as MysqlClient;
        if (threadId !== undefined) {
          await this.#open().aside.session.read(() => query(`KILL QUERY ${Number(threadId)}`));
        }
      },
    });
    const session = () => this.#open().aside.session;
    const work = (): Writer => this.#open().work.writer;
    const aside = (): Writer => this.#open().aside.writer;
    this.jobs = jobStore({
      tables: this.#tables,
      scripts: this.#scripts,
      claims: new MysqlClaimScript(this.#tables),
      inserts: this.#inserts,
      lists: new ListScripts(this.#tables),
      tallies: new CountScripts(this.#tables),
      duties: new MysqlDutyScripts(this.#tables),
      session,
      gathersLooks: true,
      writer: work,
      inserter: () => this.#open().insert.writer,
      aside,
    });
    this.history = historyStore(this.#tables, session, work, (batch) => this.#scripts.log(batch));
    this.catalog = catalogStore(this.#tables, session, aside);
  }

  /** How often transactions stood in each other's way and one of them was done again. */
  get deadlocks(): number {
    return this.#deadlocks;
  }

  async open(): Promise<void> {
    if (this.#lanes !== undefined) {
      return;
    }
    const make = clientMaker(this.#host);
    const connection = (): MysqlConnection =>
      new MysqlConnection(make, () => (this.#deadlocks += 1));
    const poll = new Poll(`${placeOf(this.#host)} ${this.#tables.jobs}`, () =>
      this.#listeners.forEach((listener) => listener()),
    );
    const lane = (beside: readonly MysqlConnection[]): Lane => {
      const session = new ServerSession(connection(), beside, this.clock, SESSIONS, () =>
        poll.tell(),
      );
      return { session, writer: new Writer(session) };
    };
    const lanes = {
      insert: lane([]),
      work: lane([]),
      aside: lane(Array.from({ length: READERS }, connection)),
    };
    const { insert, aside } = lanes;
    try {
      await prepareMysqlSchema(insert.session, aside.session, this.#tables, this.#migrate);
    } catch (error) {
      await Promise.all([insert.session.release(), aside.session.release()]);
      throw classifyMysqlError(error) === 'error' ? error : unreachable(error);
    }
    this.#lanes = lanes;
    this.#poll = poll;
    poll.start();
  }

  async close(): Promise<void> {
    const lanes = this.#lanes;
    await this.#handlers.close();
    if (lanes !== undefined) {
      const all = each(lanes);
      await Promise.all(all.map(({ writer }) => writer.idle(CLOSE_PATIENCE_MS)));
      all.forEach(({ writer }) => writer.close());
      this.#poll?.close();
      await Promise.all(all.map(({ session }) => session.release()));
    }
  }

  ping(): Promise<number> {
    return Promise.resolve().then(() => this.#open().aside.session.read(() => this.#now()));
  }

  estimateNowMs(): number {
    return this.clock.estimateMs();
  }

  async settled(): Promise<void> {
    const lanes = this.#lanes;
    if (lanes !== undefined) {
      await Promise.all(each(lanes).map(({ writer }) => writer.idle()));
    }
  }

  stuckMs(): number {
    return Math.max(0, ...each(this.#lanes).map(({ writer }) => writer.stuckMs));
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
    if (theirs !== this.#host && placeOf(theirs) !== placeOf(this.#host)) {
      throw new JobsError(
        'invalid_request',
        '`manager` belongs to another database than the one that JobsModule works on: pass the manager of a transaction there.',
      );
    }
    const joined = joinTransaction(
      manager,
      {
        scripts: this.#joinedScripts,
        inserts: this.#inserts,
        log: (batch) => this.#joinedScripts.log(batch),
        runOnRunner: (runner, script) => this.#runOn(runner, script),
      },
      this.#commits,
    );
    joined.onCommit(() => this.#poll?.tell());
    return joined;
  }

  transaction<T>(
    run: TransactionRun,
    work: (manager: unknown, joined: JoinedTransaction) => Promise<T>,
  ): Promise<T> {
    return this.#handlers.run(run, (manager) => work(manager, this.join(manager)));
  }

  /** In the runner's transaction; without one there is nothing to join, and nothing of the host's is used. */
  async #runOn<T>(runner: QueryRunner, script: TimedScript<T>): Promise<T> {
    try {
      if (!runner.isTransactionActive) {
        const [result] = await this.#open().aside.session.transact([script]);
        return result as T;
      }
      const executor = new MysqlExecutor((await runner.connect()) as MysqlClient, false, () => {
        this.#deadlocks += 1;
      });
      const now = await executor.simple(`SELECT ${MYSQL_NOW}`);
      return await runScriptAsync(
        script(this.clock.observe(Number(now[0]?.[0]))),
        executor.execute,
      );
    } catch (error) {
      throw joinedFailure(error, classifyMysqlError(error));
    }
  }

  *#now(): Script<number> {
    const rows = yield* query(`SELECT ${MYSQL_NOW}`);
    return this.clock.observe(Number(rows[0]?.[0]));
  }

  #open(): Lanes {
    if (this.#lanes === undefined) {
      throw unreachable(undefined);
    }
    return this.#lanes;
  }
}

function each(lanes: Lanes | undefined): readonly Lane[] {
  return lanes === undefined ? [] : [lanes.insert, lanes.work, lanes.aside];
}
