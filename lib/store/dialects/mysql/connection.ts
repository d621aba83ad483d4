import { AnswerPatience, IDLE_MS, STATEMENT_MS } from '../shared/answer-patience.js';
import type { ServerConnection, ServerExecutor } from '../shared/server-session.js';
import { CHANGES_SQL, type Row, type Statement } from '../sql.js';
import { bind } from './literals.js';
import { isDeadlock } from './mysql-errors.js';
import type { MysqlChanges, MysqlClient, MysqlField, MysqlQuery } from './mysql2.js';

/**
 * What a session of the engine begins with: nothing of it depends on how the server is set up. A lock
 * is waited for as short as can be said; with READ COMMITTED a search locks the rows that it gives, and
 * no gaps between them. MariaDB turns long lists into subqueries, which an UPDATE then asks for each row
 * of the table; MySQL reads that setting as a comment.
 */
const SETTINGS: readonly string[] = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  `SET SESSION autocommit = 1, sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = 1, lock_wait_timeout = 1, sql_safe_updates = 0,
    group_concat_max_len = 67108864 /*M! , in_predicate_conversion_threshold = 0 */`,
  limits(STATEMENT_MS, IDLE_MS),
];

/**
 * How long a statement, and a transaction between two, may take; 0 is for ever. Each server reads the
 * other's words as a comment: MariaDB ends any statement, MySQL a SELECT, and no transaction that idles.
 */
export function limits(statementMs: number, idleMs: number): string {
  return `SET SESSION autocommit = 1 /*M! , max_statement_time = ${statementMs / 1000}, idle_transaction_timeout = ${idleMs / 1000} */ /*!80000 , max_execution_time = ${statementMs} */`;
}

const END_PATIENCE_MS = 1000;

/** Executes statements on one connection, one after the other, as text with the values in it. */
export class MysqlExecutor implements ServerExecutor {
  readonly #client: MysqlClient;
  readonly #typeCast: MysqlQuery['typeCast'];
  readonly #deadlocked: () => void;
  readonly #patience: AnswerPatience;
  #changes = 0;
  /** What travels with the next statement: a message there and back costs as much as many rows. */
  #ahead: string[] = [];

  /** A connection of the host reads values as the host likes, unless it is told. */
  constructor(
    client: MysqlClient,
    isOurs: boolean,
    deadlocked: () => void,
    patience = new AnswerPatience(),
  ) {
    this.#client = client;
    this.#patience = patience;
    this.#typeCast = isOurs ? undefined : readPlainly;
    this.#deadlocked = deadlocked;
  }

  readonly execute = async ({
    sql,
    params,
    deferred,
    counts,
  }: Statement): Promise<readonly Row[]> => {
    if (sql === CHANGES_SQL) {
      return [[this.#changes]];
    }
    const text = bind(sql, params);
    if (deferred === true && this.#typeCast === undefined) {
      this.#ahead.push(text);
      return [];
    }
    if (counts === true) {
      return [await this.#count(text)];
    }
    const result = await this.#send(text);
    if (Array.isArray(result)) {
      return result as Row[];
    }
    const changes = result as MysqlChanges;
    this.#changes = changes.affectedRows;
    refuseCutValues(sql, changes);
    return [];
  };

  async simple(text: string): Promise<readonly Row[]> {
    if (text === 'ROLLBACK') {
      this.#ahead = [];
    }
    const parts = text.split('; ');
    const last = await this.#send(parts.pop() ?? '', parts);
    return Array.isArray(last) ? (last as Row[]) : [];
  }

  begin(): void {
    this.#ahead.push('BEGIN');
  }

  /** What the last statement gives. */
  async #send(last: string, before: readonly string[] = []): Promise<unknown> {
    const texts = [...this.#ahead, ...before, last];
    this.#ahead = [];
    const result = await this.#patience.wait(this.#query(texts.join(';\n')));
    return texts.length === 1 || !Array.isArray(result) ? result : result.at(-1);
  }

  /** How many rows each statement of a message has changed or met. */
  async #count(last: string): Promise<readonly number[]> {
    const texts = [...this.#ahead, last];
    this.#ahead = [];
    const result = await this.#patience.wait(this.#query(texts.join(';\n')));
    const all = (Array.isArray(result) ? result : [result]) as readonly MysqlChanges[];
    return all.map((changes, at) => {
      refuseCutValues(texts[at] ?? '', changes);
      return changes.affectedRows;
    });
  }

  #query(sql: string): Promise<unknown> {
    const options = this.#typeCast === undefined ? {} : { typeCast: this.#typeCast };
    return new Promise((resolve, reject) => {
      this.#client.query({ sql, rowsAsArray: true, ...options }, (error, result) => {
        if (error === null) {
          resolve(result);
          return;
        }
        if (isDeadlock(error)) {
          this.#deadlocked();
        }
        reject(error);
      });
    });
  }
}

const NUMBERS: readonly string[] = [
  'TINY',
  'SHORT',
  'LONG',
  'INT24',
  'LONGLONG',
  'NEWDECIMAL',
  'DECIMAL',
];

function readPlainly(field: MysqlField, next: () => unknown): unknown {
  if (field.type === 'DOUBLE' || field.type === 'FLOAT' || field.type === 'NULL') {
    return next();
  }
  const text = field.string('utf8');
  return text !== null && NUMBERS.includes(field.type) ? Number(text) : text;
}

/** `IGNORE` is there for rows that exist; a value that did not fit would be cut in silence as well. */
function refuseCutValues(sql: string, { affectedRows, warningStatus, info }: MysqlChanges): void {
  if (warningStatus > 0 && sql.startsWith('INSERT IGNORE')) {
    const given = Number(/^\D*(\d+)/.exec(info)?.[1] ?? 1);
    if (warningStatus > given - affectedRows) {
      throw new Error(`A value did not fit into its column: ${info || 'see the warnings'}.`);
    }
  }
}

/** One connection of the engine's own, opened when it is first needed and again after it broke. */
export class MysqlConnection implements ServerConnection {
  readonly #make: () => MysqlClient;
  readonly #deadlocked: () => void;
  readonly #patience: AnswerPatience;
  #open: Promise<MysqlExecutor> | undefined;
  #client: MysqlClient | undefined;
  #openedAt = 0;
  #closed = false;

  constructor(make: () => MysqlClient, deadlocked: () => void, patience = new AnswerPatience()) {
    this.#make = make;
    this.#deadlocked = deadlocked;
    this.#patience = patience;
  }

  executor(): Promise<MysqlExecutor> {
    if (this.#closed) {
      return Promise.reject(new Error('Connection ended: the jobs store is closed.'));
    }
    if (this.#open !== undefined && !this.#patience.trusts(this.#openedAt)) {
      this.discard();
    }
    const opening = (this.#open ??= this.#connect());
    return opening;
  }

  discard(): void {
    if (this.#client !== undefined) {
      cut(this.#client);
    }
    this.#open = undefined;
    this.#client = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#open?.catch(() => undefined);
    const client = this.#client;
    this.#open = undefined;
    this.#client = undefined;
    if (client !== undefined) {
      await ended(client);
    }
  }

  async #connect(): Promise<MysqlExecutor> {
    const client = this.#make();
    const lost = (): void => {
      if (this.#client === client) {
        this.#open = undefined;
        this.#client = undefined;
      }
    };
    client.on('error', lost);
    client.on('end', lost);
    this.#client = client;
    this.#openedAt = performance.now();
    try {
      await new Promise<void>((resolve, reject) => {
        client.connect((error) => (error instanceof Error ? reject(error) : resolve()));
      });
      const executor = new MysqlExecutor(client, true, this.#deadlocked, this.#patience);
      for (const setting of SETTINGS) {
        await executor.simple(setting);
      }
      return executor;
    } catch (error) {
      lost();
      cut(client);
      throw error;
    }
  }
}

/** A server that has vanished never says that it ends: the socket would hold the process for a quarter of an hour. */
function cut(client: MysqlClient): void {
  client.destroy();
  client.stream?.destroy();
}

/** Takes leave; a server that does not do so too is left. */
function ended(client: MysqlClient): Promise<void> {
  return new Promise((resolve) => {
    const leave = (): void => {
      clearTimeout(timer);
      cut(client);
      resolve();
    };
    const timer = setTimeout(leave, END_PATIENCE_MS);
    client.on('end', leave);
    client.on('error', leave);
    // The driver calls back as soon as it has said so itself.
    client.end(() => undefined);
  });
}
