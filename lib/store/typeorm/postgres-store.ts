import { createHash } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { PostgresLimitedClaims } from '../dialects/postgres/limited-claim.script.js';
import { PostgresClaimScript } from '../dialects/postgres/claim.script.js';
import { Connection, Executor } from '../dialects/postgres/connection.js';
import { PostgresDutyScripts } from '../dialects/postgres/duty.scripts.js';
import { fuse } from '../dialects/postgres/fuse.js';
import { PostgresInsertsBehind } from '../dialects/postgres/insert-behind.js';
import { PostgresInsertScript } from '../dialects/postgres/insert.script.js';
import { PostgresJobScripts } from '../dialects/postgres/job.scripts.js';
import { FrontLook } from '../dialects/postgres/front-look.js';
import { Notifications } from '../dialects/postgres/notifications.js';
import { clientMaker, type PgClient } from '../dialects/postgres/pg.js';
import { ReadyFront } from '../dialects/postgres/ready-front.js';
import { classifyPostgresError, isAnswerLost } from '../dialects/postgres/postgres-errors.js';
import { NumberSource } from '../dialects/shared/number-source.js';
import { ANSWER_MS, AnswerPatience } from '../dialects/shared/answer-patience.js';
import { PoolTransactions } from '../dialects/shared/pool-transactions.js';
import {
  ServerSession,
  type ServerDialect,
  type ServerExecutor,
} from '../dialects/shared/server-session.js';
import {
  BY_INDEX,
  POSTGRES_NOW,
  POSTGRES_WORDS,
  searching,
  settings,
} from '../dialects/postgres/words.js';
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
import { noting } from './ready-notes.js';
import { relatedInserts } from './related-inserts.js';
import { scheduleStore } from './schedule.store.js';
import { unreachable } from './server-place.js';
import { readersOf, ServerStore, type Lane } from './server-store.js';
import { POSTGRES_SCHEMA } from './postgres-schema.js';
import { isSchemaReady, migrateSchema, type StoreOptions } from './schema.js';
import type { TableNames } from './table-names.js';
import { StepScripts } from './step.scripts.js';
import { stepStore } from './step.store.js';
import { tablesOf } from './tables-of.js';

const SESSIONS: ServerDialect = {
  now: POSTGRES_NOW,
  classify: classifyPostgresError,
  isAnswerLost,
  fuse,
};

const POOLED =
  'A pooler such as PgBouncer stands between this process and PostgreSQL. Jobs run as ever, but nobody can be told of them: processes look twice a second, and each read and each write takes three messages instead of one. Give this data source the address of the server itself.';

/** Four lanes write, and one session listens. */
const WRITE_OR_LISTEN = 5;

interface OwnLane extends Lane {
  readonly connection: Connection;
}

interface Lanes {
  readonly insert: OwnLane;
  readonly related: OwnLane;
  readonly work: OwnLane;
  readonly aside: OwnLane;
}

/**
 * The store on PostgreSQL. Four lanes write beside each other: what callers enqueue, the same where it
 * may have to wait for others' keys or jobs, what runs report and how they end together with what is claimed next, and everything else; a lock that the
 * application holds on one job stops no other lane. Within a lane writes keep their order.
 */
export class PostgresStore extends ServerStore {
  readonly jobs: JobStore;
  readonly history: HistoryStore;
  readonly catalog: CatalogStore;
  readonly steps: StepStore;
  readonly schedules: ScheduleStore;
  readonly webhooks: WebhookStore;
  /** Notifications say it; while none can come, hints are given without them. */
  readonly floorMs = 5000;
  caveat: string | undefined;
  readonly #options: StoreOptions;
  readonly #readers: number;
  readonly #tables: TableNames;
  readonly #scripts: PostgresJobScripts;
  readonly #inserts: PostgresInsertScript;
  protected readonly handlers: PoolTransactions;
  protected readonly joins;
  readonly #front: ReadyFront;
  #lanes: Lanes | undefined;
  #notifications: Notifications | undefined;

  constructor(host: DataSource, options: StoreOptions) {
    super(host, SESSIONS);
    this.#readers = readersOf(options.poolSize, WRITE_OR_LISTEN, 'PostgreSQL');
    this.#options = options;
    this.#tables = tablesOf(host, POSTGRES_WORDS);
    this.#scripts = new PostgresJobScripts(this.#tables);
    this.#inserts = new PostgresInsertScript(this.#tables, new NumberSource());
    const scripts = new PostgresJobScripts(this.#tables, false);
    this.joins = {
      tables: this.#tables,
      scripts,
      inserts: this.#inserts,
      log: (batch: readonly RunLines[]) => scripts.log(batch),
    };
    this.handlers = new PoolTransactions(host, {
      runOn: (runner, script) => this.runOn(runner, script),
      fence: (run, nowMs) => this.#scripts.fence(run, nowMs),
      keep: (run, nowMs) => keepLease(this.#tables, run, nowMs),
      interrupt: async (connection) => {
        const { processID } = connection as PgClient;
        // Behind a pooler the number names nobody, or somebody else.
        if (typeof processID === 'number' && !(await this.#isPooled())) {
          await this.#open().aside.session.read(() =>
            query('SELECT pg_cancel_backend(?)', [processID]),
          );
        }
      },
    });
    const session = () => this.#open().aside.session;
    const work = (): Writer => this.#open().work.writer;
    const aside = (): Writer => this.#open().aside.writer;
    const front = new ReadyFront({
      look: new FrontLook(this.#tables),
      read: (script) => session().read(script),
      found: () => this.changed(),
    });
    this.#front = front;
    const claims = new PostgresClaimScript(this.#tables, front);
    const related = relatedInserts(this.#tables, this.#inserts, this.#scripts);
    const jobs = jobStore({
      tables: this.#tables,
      scripts: this.#scripts,
      claims,
      limited: new PostgresLimitedClaims(this.#tables, this.#scripts, claims),
      inserts: this.#inserts,
      related,
      behind: new PostgresInsertsBehind(this.#tables, this.#inserts),
      lists: new ListScripts(this.#tables),
      tallies: new CountScripts(this.#tables),
      duties: new PostgresDutyScripts(this.#tables),
      session,
      writer: work,
      inserter: (mayWait) => this.#open()[mayWait ? 'related' : 'insert'].writer,
      aside,
      gathersLooks: true,
      // Told of nothing, two idle processes would go on telling each other.
      claimed: () => this.#notifications?.tell(false),
    });
    this.jobs = noting(jobs, front, () => this.clock.estimateMs());
    this.history = historyStore(this.#tables, session, work, (batch) => this.#scripts.log(batch));
    this.steps = stepStore(new StepScripts(this.#tables, this.#scripts), session, work);
    this.schedules = scheduleStore({
      tables: this.#tables,
      related,
      session,
      inserter: () => this.#open().related.writer,
      aside,
      stored: () => front.doubt(),
    });
    const { events } = this.#scripts.consequences;
    events.shareWith(scripts.consequences.events);
    this.webhooks = webhookStore(this.#tables, events, session, aside);
    this.catalog = catalogStore(this.#tables, session, aside, events);
  }

  async open(looking?: (look: Promise<unknown>) => void): Promise<void> {
    if (this.#lanes !== undefined) {
      return;
    }
    const make = clientMaker(this.host, 'nestjs-jobs');
    const patience = new AnswerPatience();
    patience.limit(ANSWER_MS);
    const reads = Array.from(
      { length: this.#readers },
      () => new Connection(make, searching(1000), patience),
    );
    const notifications = new Notifications(make, this.#channel());
    const lane = (beside: readonly Connection[], lockMs: number, isUrgent: boolean): OwnLane => {
      const connection = new Connection(make, `${settings(lockMs)}; ${BY_INDEX}`, patience);
      const session = new ServerSession(connection, beside, this.clock, SESSIONS, () =>
        notifications.tell(isUrgent),
      );
      return { connection, session, writer: new Writer(session) };
    };
    const lanes = {
      insert: lane([], 1000, true),
      related: lane([], 200, true),
      work: lane([], 200, false),
      aside: lane(reads, 1000, true),
    };
    try {
      const { connection, session } = lanes.aside;
      await connection.opened();
      const look = isSchemaReady(session, this.#tables, this.#options.migrate, POSTGRES_SCHEMA);
      looking?.(look);
      if (!(await look)) {
        await patience.without(() => migrateSchema(session, this.#tables, POSTGRES_SCHEMA));
      }
    } catch (error) {
      await lanes.aside.session.release();
      throw classifyPostgresError(error) === 'error' ? error : unreachable(error);
    }
    this.#lanes = lanes;
    this.#notifications = notifications;
    // Without migrations this is the first contact, and need not succeed.
    this.caveat = (await this.#isPooled().catch(() => false)) ? POOLED : undefined;
    notifications.subscribe(this.changed);
    notifications.start();
  }

  /** Whether a pooler stands before the server. */
  async #isPooled(): Promise<boolean> {
    const { executor } = await this.#open().aside.connection.opened();
    return executor.prelude !== undefined;
  }

  protected override lanes(): readonly Lane[] {
    return this.#lanes === undefined ? [] : Object.values<Lane>({ ...this.#lanes });
  }

  protected override aside(): Lane {
    return this.#open().aside;
  }

  protected override executorOn(connection: unknown): ServerExecutor {
    return new Executor(connection as PgClient, false);
  }

  protected override tell(): void {
    this.#notifications?.tell(true);
    this.#front.doubt();
  }

  protected override silence(): unknown {
    this.#front.close();
    return this.#notifications?.close();
  }

  /** Names of channels are short, and shared by all who use the database. */
  #channel(): string {
    const tables = createHash('sha256').update(this.#tables.jobs).digest('hex').slice(0, 16);
    return `nestjs_jobs_${tables}`;
  }

  #open(): Lanes {
    if (this.#lanes === undefined) {
      throw unreachable(undefined);
    }
    return this.#lanes;
  }
}
