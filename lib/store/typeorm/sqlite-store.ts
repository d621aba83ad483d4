import type { DataSource, EntityManager } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import { DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import { classifySqliteError } from '../dialects/sqlite/sqlite-errors.js';
import { query, type Script } from '../dialects/sql.js';
import type {
  ScheduleStore,
  CatalogStore,
  HistoryStore,
  JobStore,
  JoinedTransaction,
  RunLines,
  StepStore,
  Store,
  TransactionRun,
} from '../store.js';
import type { WebhookStore } from '../webhooks.js';
import { Writer } from '../writer.js';
import { webhookStore } from './webhook.store.js';
import { SqliteLimitedClaims } from '../dialects/sqlite/limited-claim.script.js';
import { SqliteClaimScript } from '../dialects/sqlite/claim.script.js';
import { Declarations } from '../dialects/sqlite/declarations.js';
import { CountScripts } from './count.scripts.js';
import { catalogStore } from './catalog.store.js';
import { DutyScripts } from './duty.scripts.js';
import { openEngineConnection, type EngineConnection } from './engine-connection.js';
import { HandlerTransactions } from './handler-transactions.js';
import { historyStore, insertLines } from './history.store.js';
import { SqliteInsertsBehind } from '../dialects/sqlite/insert-behind.js';
import { SqliteInsertScript } from '../dialects/sqlite/insert.script.js';
import { jobStore } from './job.store.js';
import { JobScripts } from './job.scripts.js';
import { CommitListeners, dataSourceOf, joinTransaction, runOn } from './joined-transaction.js';
import { ListScripts } from './list.script.js';
import { relatedInserts } from './related-inserts.js';
import { RemoteChanges } from './remote-changes.js';
import { scheduleStore } from './schedule.store.js';
import { isSchemaReady, migrateSchema, retryBusy, type StoreOptions } from './schema.js';
import { StepScripts } from './step.scripts.js';
import { stepStore } from './step.store.js';
import { tablesOf } from './tables-of.js';
import { checkpointByItself, WriteAheadLog } from './write-ahead-log.js';

/** What is said of a log that others keep from starting over. */
const LARGE_LOG =
  'The write-ahead log of the jobs database is larger than 128 MB and cannot start over, since some connection reads the file in a transaction that stays open, or reads all the time. End it: the log takes up disk, and reads become slower.';

/** How long a closing store waits for what is still to be written. */
const CLOSE_PATIENCE_MS = 2000;

const CONNECT_TRIES = 100;

/** The store on a TypeORM data source. */
export class SqliteStore implements Store {
  readonly jobs: JobStore;
  readonly history: HistoryStore;
  readonly catalog: CatalogStore;
  readonly steps: StepStore;
  readonly schedules: ScheduleStore;
  readonly webhooks: WebhookStore;
  readonly floorMs = 500;
  readonly clock = new DatabaseClock();
  readonly #host: DataSource;
  readonly #options: StoreOptions;
  readonly #tables;
  readonly #scripts: JobScripts;
  readonly #inserts: SqliteInsertScript;
  readonly #commits = new CommitListeners();
  readonly #handlers: HandlerTransactions;
  readonly #listeners = new Set<() => void>();
  #connection: EngineConnection | undefined;
  #writer: Writer | undefined;
  #changes: RemoteChanges | undefined;
  #log: WriteAheadLog | undefined;

  constructor(host: DataSource, options: StoreOptions) {
    this.#host = host;
    this.#options = options;
    this.#tables = tablesOf(host);
    this.#scripts = new JobScripts(this.#tables);
    const declarations = new Declarations(this.#tables);
    this.#inserts = new SqliteInsertScript(
      this.#tables,
      declarations,
      String(host.options.type) === 'sqlite' ? this.clock : undefined,
    );
    const session = () => this.#open().session;
    this.#handlers = new HandlerTransactions(host, this.#tables, this.clock, session);
    const writer = (): Writer => this.#openWriter();
    const claims = new SqliteClaimScript(this.#tables, declarations);
    const related = relatedInserts(this.#tables, this.#inserts, this.#scripts);
    const jobs = jobStore({
      tables: this.#tables,
      scripts: this.#scripts,
      claims,
      limited: new SqliteLimitedClaims(this.#tables, this.#scripts, claims, declarations),
      inserts: this.#inserts,
      related,
      behind: new SqliteInsertsBehind(this.#tables, this.#inserts),
      lists: new ListScripts(this.#tables),
      tallies: new CountScripts(this.#tables),
      duties: new DutyScripts(this.#tables),
      session,
      writer,
      checkpoint: () => session().run(query('PRAGMA wal_checkpoint(PASSIVE)')),
    });
    this.jobs = {
      ...jobs,
      claim: (request) => {
        // In memory there is nobody else, and a look might see what the application takes back.
        if (declarations.isBehind && this.#connection?.isShared === false) {
          void session()
            .read(() => declarations.load())
            .catch(() => undefined);
        }
        return jobs.claim(request);
      },
    };
    this.schedules = scheduleStore({
      tables: this.#tables,
      related,
      session,
      inserter: writer,
      aside: writer,
    });
    this.history = historyStore(this.#tables, session, writer);
    this.steps = stepStore(new StepScripts(this.#tables, this.#scripts), session, writer);
    const { events } = this.#scripts.consequences;
    this.webhooks = webhookStore(this.#tables, events, session, writer);
    const catalog = catalogStore(this.#tables, session, writer, events);
    this.catalog = {
      ...catalog,
      declare: async (types, groups, scopes) => {
        await catalog.declare(types, groups, scopes);
        await writer().write(() => declarations.declare(types, groups), 'engine');
        await session().read(() => declarations.load());
      },
    };
  }

  get caveat(): string | undefined {
    return this.#log?.isWorrying === true ? LARGE_LOG : undefined;
  }

  async open(): Promise<void> {
    if (this.#connection !== undefined) {
      return;
    }
    const connection = await this.#connect();
    try {
      if (connection.file !== undefined) {
        await retryBusy(connection.session, () =>
          connection.session.run(query('PRAGMA journal_mode = WAL')),
        );
        await checkpointByItself(connection.session);
      }
      if (!(await isSchemaReady(connection.session, this.#tables, this.#options.migrate))) {
        await migrateSchema(connection.session, this.#tables);
      }
    } catch (error) {
      await connection.close();
      throw connection.session.classify(error) === 'error' ? error : unreachable(error);
    }
    this.#connection = connection;
    this.#writer = new Writer(connection.session);
    if (connection.file !== undefined) {
      this.#changes = new RemoteChanges(connection.session, connection.file);
      this.#changes.subscribe(() => this.#listeners.forEach((listener) => listener()));
      this.#log = new WriteAheadLog(connection.session, connection.file);
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#changes?.close();
    this.#log?.close();
    await this.#handlers.close();
    if (connection !== undefined) {
      await this.#writer?.idle(CLOSE_PATIENCE_MS);
      this.#writer?.close();
      this.#connection = undefined;
      await connection.close();
    }
  }

  ping(): Promise<number> {
    return Promise.resolve().then(() =>
      this.#open().session.read(function* (nowMs) {
        yield* query('SELECT 1');
        return nowMs;
      }),
    );
  }

  estimateNowMs(): number {
    return this.clock.estimateMs();
  }

  settled(): Promise<void> {
    return this.#writer?.idle() ?? Promise.resolve();
  }

  stuckMs(): number {
    return this.#writer?.stuckMs ?? 0;
  }

  onRemoteChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  listenClosely(): () => void {
    return this.#changes?.listenClosely() ?? (() => undefined);
  }

  join(given: unknown): JoinedTransaction {
    const manager = given as EntityManager;
    if (dataSourceOf(manager).options.database !== this.#host.options.database) {
      throw new JobsError(
        'invalid_request',
        '`manager` belongs to another database than the one that JobsModule works on: pass the manager of a transaction there.',
      );
    }
    const { clock } = this;
    const log = (batch: readonly RunLines[]): Script<void> => insertLines(this.#tables, batch);
    return joinTransaction(
      manager,
      {
        tables: this.#tables,
        scripts: this.#scripts,
        inserts: this.#inserts,
        log,
        runOnRunner: (runner, script) => runOn(runner, clock, script),
      },
      this.#commits,
    );
  }

  transaction<T>(
    run: TransactionRun,
    work: (manager: unknown, joined: JoinedTransaction) => Promise<T>,
  ): Promise<T> {
    return this.#handlers.run(run, (manager) => work(manager, this.join(manager)));
  }

  async #connect(): Promise<EngineConnection> {
    for (let tries = 1; tries < CONNECT_TRIES; tries += 1) {
      try {
        return await openEngineConnection(this.#host, this.clock);
      } catch (error) {
        // Another process that boots may be turning the write-ahead log on.
        if (classifySqliteError(error) !== 'busy') {
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
    try {
      return await openEngineConnection(this.#host, this.clock);
    } catch (error) {
      throw error instanceof JobsError ? error : unreachable(error);
    }
  }

  #open(): EngineConnection {
    if (this.#connection === undefined) {
      throw unreachable(undefined);
    }
    return this.#connection;
  }

  #openWriter(): Writer {
    if (this.#writer === undefined) {
      throw unreachable(undefined);
    }
    return this.#writer;
  }
}

function unreachable(cause: unknown): JobsError {
  return new JobsError(
    'database_unavailable',
    'The jobs database cannot be opened or written now. Check that the file exists, is a database, is writable, and that its disk has space; it is tried again by itself.',
    { cause, retryAfterSec: 5 },
  );
}
