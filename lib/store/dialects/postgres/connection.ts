import { AnswerPatience, soon } from '../shared/answer-patience.js';
import type { ServerExecutor } from '../shared/server-session.js';
import type { Row, Statement } from '../sql.js';
import { CHANGES_SQL } from '../sql.js';
import { PG_TYPES, type PgClient } from './pg.js';

/** Statements whose text depends on a caller's filters could be many: the first so many are kept. */
const MOST_PREPARED = 400;

interface Prepared {
  readonly text: string;
  readonly name: string | undefined;
}

const prepared = new Map<string, Prepared>();

/** Statements in the server's own words: `?` counts its parameters. One name a text, process-wide. */
function prepare(sql: string): Prepared {
  let known = prepared.get(sql);
  if (known === undefined) {
    let at = 0;
    const text = sql.replaceAll('?', () => `$${(at += 1)}`);
    known = {
      text,
      name: prepared.size < MOST_PREPARED ? `nestjs_jobs_${prepared.size}` : undefined,
    };
    if (known.name !== undefined) {
      prepared.set(sql, known);
    }
  }
  return known;
}

/** Executes statements on one connection, one after the other. */
export class Executor implements ServerExecutor {
  /** What each transaction begins with, where the session cannot be trusted to keep it. */
  readonly prelude: string | undefined;
  readonly #client: PgClient;
  readonly #isOurs: boolean;
  readonly #patience: AnswerPatience;
  #changes = 0;

  /** On a connection of the host, and on one behind a pooler, no statement is left behind. */
  constructor(
    client: PgClient,
    isOurs: boolean,
    patience = new AnswerPatience(),
    prelude?: string,
  ) {
    this.#client = client;
    this.#isOurs = isOurs;
    this.#patience = patience;
    this.prelude = prelude;
  }

  readonly execute = async ({ sql, params }: Statement): Promise<readonly Row[]> => {
    if (sql === CHANGES_SQL) {
      return [[this.#changes]];
    }
    const { text, name } = prepare(sql);
    const result = await this.#patience.wait(
      this.#client.query({
        text,
        ...(this.#isOurs && name !== undefined ? { name } : {}),
        values: params.map(storable),
        rowMode: 'array',
        types: PG_TYPES,
      }),
    );
    this.#changes = result.rowCount ?? 0;
    return result.rows as unknown[][] as Row[];
  };

  /** Text of one or more statements without parameters; the rows of the last one. */
  async simple(text: string): Promise<readonly Row[]> {
    const given = await this.#patience.wait(
      this.#client.query({ text, rowMode: 'array', types: PG_TYPES }),
    );
    const last = Array.isArray(given) ? (given.at(-1) as typeof given) : given;
    return last.rows as unknown[][] as Row[];
  }
}

/** PostgreSQL's text has no NUL. What must be kept exactly was checked before; logs and errors were not. */
function storable(value: Statement['params'][number]): unknown {
  return typeof value === 'string' && value.includes('\0')
    ? value.replaceAll('\0', '\uFFFD')
    : value;
}

/** One connection of the engine's own, opened when it is first needed and again after it broke. */
export class Connection {
  readonly #make: () => PgClient;
  readonly #settings: string;
  readonly #patience: AnswerPatience;
  #open: Promise<{ readonly client: PgClient; readonly executor: Executor }> | undefined;
  #closed = false;

  /** `settings`: statements that every new session begins with. */
  constructor(make: () => PgClient, settings: string, patience = new AnswerPatience()) {
    this.#make = make;
    this.#settings = settings;
    this.#patience = patience;
  }

  /** The executor of an open session. */
  async executor(): Promise<Executor> {
    return (await this.opened()).executor;
  }

  opened(): Promise<{ readonly client: PgClient; readonly executor: Executor }> {
    if (this.#closed) {
      return Promise.reject(new Error('Connection ended: the jobs store is closed.'));
    }
    if (this.#open !== undefined && !this.#patience.trusts(this.#openedAt)) {
      this.discard();
    }
    const opening = (this.#open ??= this.#connect());
    return opening;
  }

  /** The session cannot be trusted any more: the next use gets a new one. */
  discard(): void {
    const opened = this.#open;
    this.#open = undefined;
    void opened?.then(
      ({ client }) => {
        client.unref();
        return client.end().catch(() => undefined);
      },
      () => undefined,
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    const opened = this.#open;
    this.#open = undefined;
    try {
      await soon(
        Promise.resolve(opened).then((open) => {
          open?.client.unref();
          return open?.client.end();
        }),
      );
    } catch {
      // It is gone already.
    }
  }

  async #connect(): Promise<{ readonly client: PgClient; readonly executor: Executor }> {
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
      await this.#patience.wait(client.connect());
      return { client, executor: await this.#begin(client) };
    } catch (error) {
      lost();
      client.unref();
      client.end().catch(() => undefined);
      throw error;
    }
  }

  async #begin(client: PgClient): Promise<Executor> {
    if (await isPooled(client, this.#patience)) {
      const settings = this.#settings.replaceAll('SET ', 'SET LOCAL ');
      return new Executor(client, false, this.#patience, settings);
    }
    const executor = new Executor(client, true, this.#patience);
    await executor.simple(this.#settings);
    return executor;
  }

  #client: PgClient | undefined;
  #openedAt = 0;
}

/**
 * Whether somebody stands between this process and the server, such as PgBouncer: the process that
 * serves us is not the one that was named when the connection was made. From one transaction to the
 * next it may be another, so nothing may be left in the session: no setting, no statement, no LISTEN.
 */
export async function isPooled(client: PgClient, patience: AnswerPatience): Promise<boolean> {
  const executor = new Executor(client, false, patience);
  const [[pid] = []] = await executor.simple('SELECT pg_backend_pid()');
  return pid !== client.processID;
}
