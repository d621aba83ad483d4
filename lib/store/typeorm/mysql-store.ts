import type { DataSource } from 'typeorm';
import { MysqlLimitedClaims } from '../dialects/mysql/limited-claim.script.js';
import { MysqlClaimScript } from '../dialects/mysql/claim.script.js';
import { MysqlConnection, MysqlExecutor } from '../dialects/mysql/connection.js';
import { MysqlDutyScripts } from '../dialects/mysql/duty.scripts.js';
import { MysqlInsertsBehind } from '../dialects/mysql/insert-behind.js';
import { MysqlInsertScript } from '../dialects/mysql/insert.script.js';
import { MysqlJobScripts } from '../dialects/mysql/job.scripts.js';
import { classifyMysqlError, isMysqlAnswerLost } from '../dialects/mysql/mysql-errors.js';
import { MYSQL_NOW, MYSQL_WORDS } from '../dialects/mysql/mysql-words.js';
import { clientMaker, type MysqlClient } from '../dialects/mysql/mysql2.js';
import { Poll } from '../dialects/mysql/poll.js';
import { NumberSource } from '../dialects/shared/number-source.js';
import { ANSWER_MS, AnswerPatience } from '../dialects/shared/answer-patience.js';
import { PoolTransactions } from '../dialects/shared/pool-transactions.js';
import {
  ServerSession,
  type ServerDialect,
  type ServerExecutor,
} from '../dialects/shared/server-session.js';
import { query } from '../dialects/sql.js';
import type {
  CatalogStore,
  HistoryStore,
  JobStore,
  RunLines,
  ScheduleStore,
  StepStore,
} from '../store.js';
import type { WebhookStore } from '../webhooks.js';
import { Writer } from '../writer.js';
import { webhookStore } from './webhook.store.js';
import { catalogStore } from './catalog.store.js';
import { CountScripts } from './count.scripts.js';
import { historyStore } from './history.store.js';
import { jobStore } from './job.store.js';
import { keepLease } from './lease.scripts.js';
import { ListScripts } from './list.script.js';
import { isMysqlSchemaReady, migrateMysqlSchema } from './mysql-schema.js';
import { placeOf, unreachable } from './server-place.js';
import { relatedInserts } from './related-inserts.js';
import { scheduleStore } from './schedule.store.js';
import { readersOf, ServerStore, type Lane } from './server-store.js';
import type { StoreOptions } from './schema.js';
import type { TableNames } from './table-names.js';
import { StepScripts } from './step.scripts.js';
import { stepStore } from './step.store.js';
import { tablesOf } from './tables-of.js';

const SESSIONS: ServerDialect = {
  now: MYSQL_NOW,
  classify: classifyMysqlError,
  isAnswerLost: isMysqlAnswerLost,
};

/** Lanes that write. */
const LANES = 4;

interface Lanes {
  readonly insert: Lane;
  readonly related: Lane;
  readonly work: Lane;
  readonly aside: Lane;
}

/**
 * The store on MySQL and MariaDB, with the four lanes of PostgreSQL's.
 */
export class MysqlStore extends ServerStore {
  readonly jobs: JobStore;
  readonly history: HistoryStore;
  readonly catalog: CatalogStore;
  readonly steps: StepStore;
  readonly schedules: ScheduleStore;
  readonly webhooks: WebhookStore;
  /** The poll says it. */
  readonly floorMs = 3000;
  readonly #options: StoreOptions;
  readonly #readers: number;
  readonly #tables: TableNames;
  readonly #scripts: MysqlJobScripts;
  /** For connections of the host. */
  readonly #joinedScripts: MysqlJobScripts;
  readonly #inserts: MysqlInsertScript;
  protected readonly handlers: PoolTransactions;
  protected readonly joins;
  #deadlocks = 0;
  #lanes: Lanes | undefined;
  #poll: Poll | undefined;

  constructor(host: DataSource, options: StoreOptions) {
    super(host, SESSIONS);
    this.#readers = readersOf(options.poolSize, LANES, 'MariaDB or MySQL');
    this.#options = options;
    this.#tables = tablesOf(host, MYSQL_WORDS);
    this.#scripts = new MysqlJobScripts(this.#tables, true);
    this.#joinedScripts = new MysqlJobScripts(this.#tables, false);
    this.#inserts = new MysqlInsertScript(this.#tables, new NumberSource());
    const joinedScripts = this.#joinedScripts;
    this.joins = {
      tables: this.#tables,
      scripts: joinedScripts,
      inserts: this.#inserts,
      log: (batch: readonly RunLines[]) => joinedScripts.log(batch),
    };
    this.handlers = new PoolTransactions(host, {
      runOn: (runner, script) => this.runOn(runner, script),
      fence: (run, nowMs) => this.#joinedScripts.fence(run, nowMs),
      keep: (run, nowMs) => keepLease(this.#tables, run, nowMs),
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
    const claims = new MysqlClaimScript(this.#tables);
    const related = relatedInserts(this.#tables, this.#inserts, this.#scripts);
    this.jobs = jobStore({
      tables: this.#tables,
      scripts: this.#scripts,
      claims,
      limited: new MysqlLimitedClaims(this.#tables, this.#scripts, claims),
      inserts: this.#inserts,
      related,
      behind: new MysqlInsertsBehind(this.#tables, this.#inserts),
      lists: new ListScripts(this.#tables),
      tallies: new CountScripts(this.#tables),
      duties: new MysqlDutyScripts(this.#tables),
      session,
      gathersLooks: true,
      writer: work,
      inserter: (mayWait) => this.#open()[mayWait ? 'related' : 'insert'].writer,
      aside,
    });
    this.history = historyStore(this.#tables, session, work, (batch) => this.#scripts.log(batch));
    this.steps = stepStore(new StepScripts(this.#tables, this.#scripts), session, work);
    this.schedules = scheduleStore({
      tables: this.#tables,
      related,
      session,
      inserter: () => this.#open().related.writer,
      aside,
    });
    const { events } = this.#scripts.consequences;
    events.shareWith(this.#joinedScripts.consequences.events);
    this.webhooks = webhookStore(this.#tables, events, session, aside);
    this.catalog = catalogStore(this.#tables, session, aside, events);
  }

  /** How often transactions stood in each other's way and one of them was done again. */
  get deadlocks(): number {
    return this.#deadlocks;
  }

  async open(looking?: (look: Promise<unknown>) => void): Promise<void> {
    if (this.#lanes !== undefined) {
      return;
    }
    const make = clientMaker(this.host);
    const patience = new AnswerPatience();
    patience.limit(ANSWER_MS);
    const connection = (): MysqlConnection =>
      new MysqlConnection(make, () => (this.#deadlocks += 1), patience);
    const poll = new Poll(`${placeOf(this.host)} ${this.#tables.jobs}`, this.changed);
    const lane = (writes: MysqlConnection, beside: readonly MysqlConnection[] = []): Lane => {
      const session = new ServerSession(writes, beside, this.clock, SESSIONS, () => poll.tell());
      return { session, writer: new Writer(session) };
    };
    const contact = connection();
    const lanes = {
      insert: lane(connection()),
      related: lane(connection()),
      work: lane(connection()),
      aside: lane(contact, Array.from({ length: this.#readers }, connection)),
    };
    const { insert, aside } = lanes;
    try {
      await contact.executor();
      const look = isMysqlSchemaReady(aside.session, this.#tables, this.#options.migrate);
      looking?.(look);
      if (!(await look)) {
        await patience.without(() =>
          migrateMysqlSchema(insert.session, aside.session, this.#tables),
        );
      }
    } catch (error) {
      await Promise.all([insert.session.release(), aside.session.release()]);
      throw classifyMysqlError(error) === 'error' ? error : unreachable(error);
    }
    this.#lanes = lanes;
    this.#poll = poll;
    poll.start();
  }

  protected override lanes(): readonly Lane[] {
    return this.#lanes === undefined ? [] : Object.values<Lane>({ ...this.#lanes });
  }

  protected override aside(): Lane {
    return this.#open().aside;
  }

  protected override executorOn(connection: unknown): ServerExecutor {
    return new MysqlExecutor(connection as MysqlClient, false, () => {
      this.#deadlocks += 1;
    });
  }

  protected override tell(): void {
    this.#poll?.tell();
  }

  protected override silence(): unknown {
    return this.#poll?.close();
  }

  #open(): Lanes {
    if (this.#lanes === undefined) {
      throw unreachable(undefined);
    }
    return this.#lanes;
  }
}
