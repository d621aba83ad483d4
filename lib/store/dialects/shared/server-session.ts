import {
  AnswerLost,
  ScriptFailure,
  type FailureKind,
  type ReadKind,
  type Session,
} from '../session.js';
import {
  CHANGES_SQL,
  runScriptAsync,
  type Row,
  type Script,
  type Statement,
  type TimedScript,
} from '../sql.js';
import { soon } from './answer-patience.js';
import type { ServerClock } from './server-clock.js';

/** Executes statements on one connection, one after the other. */
export interface ServerExecutor {
  /** Statements that each transaction begins with; then none can do without one. */
  readonly prelude?: string | undefined;
  readonly execute: (statement: Statement) => Promise<readonly Row[]>;
  /** Text of one or more statements without parameters; the rows of the last one. */
  simple(text: string): Promise<readonly Row[]>;
  /** Begins a transaction together with its first statement, where that spares a message. */
  begin?(): void;
}

/** A connection that is opened when it is needed, and again after it broke. */
export interface ServerConnection {
  executor(): Promise<ServerExecutor>;
  /** The session cannot be trusted any more: the next use gets a new one. */
  discard(): void;
  close(): Promise<void>;
}

/** What a session says in the server's own words, and how it reads its errors. */
export interface ServerDialect {
  /** The time in Unix milliseconds, as a bare expression. */
  readonly now: string;
  classify(thrown: unknown): FailureKind;
  /** Whether the connection broke while an answer was awaited, so that the work may be done. */
  isAnswerLost(thrown: unknown): boolean;
  /**
   * One statement that does what two would, where there is such a one. Its rows are those of the
   * second, and their last value says how many rows the first has changed.
   */
  fuse?(ahead: Statement, behind: Statement): Statement;
}

/** So many looks wait for each other rather than for one search. */
const SEARCH_WEIGHT = 1000;

/**
 * Work on connections of the engine's own. Writes go over one of them, one transaction at a time,
 * reads over others beside it. The server's time comes back with BEGIN, in the same message.
 */
export class ServerSession implements Session {
  readonly #writes: ServerConnection;
  readonly #reads: readonly ServerConnection[];
  readonly #clock: ServerClock;
  readonly #dialect: ServerDialect;
  readonly #committed: () => void;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #readTurns: Promise<unknown>[];
  readonly #reading: number[];

  constructor(
    writes: ServerConnection,
    reads: readonly ServerConnection[],
    clock: ServerClock,
    dialect: ServerDialect,
    committed: () => void,
  ) {
    this.#writes = writes;
    this.#reads = reads;
    this.#clock = clock;
    this.#dialect = dialect;
    this.#committed = committed;
    this.#readTurns = reads.map(() => Promise.resolve());
    this.#reading = reads.map(() => 0);
  }

  read<T>(script: TimedScript<T>, kind?: ReadKind): Promise<T> {
    const at = this.#leastBusy(kind);
    const connection = this.#reads[at] ?? this.#writes;
    const weight = kind === 'search' ? SEARCH_WEIGHT : 1;
    this.#reading[at] = (this.#reading[at] ?? 0) + weight;
    const result = (this.#readTurns[at] ?? Promise.resolve())
      .then(() =>
        this.#onConnection(connection, async (executor) => {
          if (executor.prelude !== undefined) {
            return this.#readTogether(executor, script);
          }
          const now = this.#clock.isFresh
            ? this.#clock.estimateMs()
            : await this.#askTime(executor, `SELECT ${this.#dialect.now}`);
          return runScriptAsync(script(now), executor.execute);
        }),
      )
      .finally(() => {
        this.#reading[at] = (this.#reading[at] ?? weight) - weight;
      });
    this.#readTurns[at] = result.catch(() => undefined);
    return result;
  }

  transact(scripts: readonly TimedScript<unknown>[]): Promise<readonly unknown[]> {
    return this.#inTurn(() =>
      this.#onConnection(this.#writes, async (executor) => {
        const results =
          (await this.#alone(executor, scripts)) ?? (await this.#together(executor, scripts));
        if (!scripts.every((script) => script.isQuiet === true)) {
          this.#committed();
        }
        return results;
      }),
    );
  }

  run<T>(script: Script<T>): Promise<T> {
    return this.#inTurn(() =>
      this.#onConnection(this.#writes, (executor) => runScriptAsync(script, executor.execute)),
    );
  }

  between<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(work);
  }

  classify(thrown: unknown): FailureKind {
    return this.#dialect.classify(thrown);
  }

  async release(): Promise<void> {
    // A server that has vanished without a word does not keep the process.
    await soon(Promise.all([this.#turn, ...this.#readTurns]));
    await Promise.all([this.#writes, ...this.#reads].map((each) => each.close()));
  }

  /** Where the session cannot be trusted to keep its settings, they are made for one transaction. */
  async #readTogether<T>(executor: ServerExecutor, script: TimedScript<T>): Promise<T> {
    const now = await this.#begin(executor);
    try {
      const result = await runScriptAsync(script(now), executor.execute);
      await executor.simple('COMMIT');
      return result;
    } catch (error) {
      if (this.#dialect.classify(error) !== 'unavailable') {
        await rollback(executor);
      }
      throw error;
    }
  }

  /** A single statement that says so is its own transaction: one message instead of three. */
  async #alone(
    executor: ServerExecutor,
    scripts: readonly TimedScript<unknown>[],
  ): Promise<readonly unknown[] | undefined> {
    if (scripts.length > 2 || !this.#clock.isFresh || executor.prelude !== undefined) {
      return undefined;
    }
    const [one, two] = scripts.map((script) => script(this.#clock.estimateMs()));
    if (one === undefined) {
      return undefined;
    }
    const first = one.next();
    if (first.done !== true && first.value.alone !== true) {
      return undefined;
    }
    try {
      return two === undefined
        ? [await goOn(one, first, executor)]
        : await this.#fused(executor, [one, two], first);
    } catch (error) {
      // Each statement has committed by itself, and the last one perhaps.
      throw new ScriptFailure(0, this.#dialect.isAnswerLost(error) ? new AnswerLost(error) : error);
    }
  }

  /** Two scripts whose first statements make one. */
  async #fused(
    executor: ServerExecutor,
    [one, two]: readonly [Script<unknown>, Script<unknown>],
    first: Step,
  ): Promise<readonly unknown[] | undefined> {
    if (this.#dialect.fuse === undefined || first.done === true || first.value.fuses !== 'ahead') {
      return undefined;
    }
    const second = two.next();
    if (second.done === true || second.value.fuses !== 'behind') {
      return undefined;
    }
    const rows = await executor.execute(this.#dialect.fuse(first.value, second.value));
    // Without a row nothing says it, and the script looks for itself.
    const changed = rows[0]?.at(-1) ?? -1;
    const asked = one.next([]);
    const isAsked = asked.done !== true && asked.value.sql === CHANGES_SQL;
    const rest = isAsked ? one.next([[changed]]) : asked;
    return [await goOn(one, rest, executor), await goOn(two, two.next(rows), executor)];
  }

  async #together(
    executor: ServerExecutor,
    scripts: readonly TimedScript<unknown>[],
  ): Promise<readonly unknown[]> {
    let index = 0;
    const now = await this.#begin(executor);
    try {
      const results: unknown[] = [];
      for (const script of scripts) {
        results.push(await runScriptAsync(script(now), executor.execute));
        index += 1;
      }
      await executor.simple('COMMIT');
      return results;
    } catch (error) {
      // Nothing can be asked of a connection that broke; it is discarded, and the transaction with it.
      if (this.#dialect.classify(error) !== 'unavailable') {
        await rollback(executor);
      }
      const isEnd = index === scripts.length;
      const cause = this.#dialect.isAnswerLost(error) ? new AnswerLost(error, isEnd) : error;
      throw isEnd ? cause : new ScriptFailure(index, cause);
    }
  }

  /** Begins a transaction; the time is the server's, or what it has become since it was asked. */
  async #begin(executor: ServerExecutor): Promise<number> {
    if (executor.begin !== undefined && this.#clock.isFresh) {
      executor.begin();
      return this.#clock.estimateMs();
    }
    const prelude = executor.prelude === undefined ? '' : `${executor.prelude}; `;
    return this.#askTime(executor, `BEGIN; ${prelude}SELECT ${this.#dialect.now}`);
  }

  async #askTime(executor: ServerExecutor, text: string): Promise<number> {
    const askedAt = performance.now();
    const [row] = await executor.simple(text);
    return this.#clock.observe(Number(row?.[0]), askedAt);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    // Its failure is the caller's; the next one's turn comes all the same.
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** A connection that broke is not used again. */
  async #onConnection<T>(
    connection: ServerConnection,
    work: (executor: ServerExecutor) => Promise<T>,
  ): Promise<T> {
    try {
      return await work(await connection.executor());
    } catch (error) {
      if (this.#dialect.classify(error) === 'unavailable') {
        connection.discard();
      }
      throw error;
    }
  }

  /** The first connection is left to looks, where there are more: no search holds up the engine. */
  #leastBusy(kind: ReadKind = 'look'): number {
    let least = kind === 'search' && this.#reading.length > 1 ? 1 : 0;
    for (let at = least + 1; at < this.#reading.length; at += 1) {
      if ((this.#reading[at] ?? 0) < (this.#reading[least] ?? 0)) {
        least = at;
      }
    }
    return least;
  }
}

type Step = IteratorResult<Statement, unknown>;

/** The rest of a script from a step on. */
async function goOn(
  script: Script<unknown>,
  from: Step,
  executor: ServerExecutor,
): Promise<unknown> {
  let step = from;
  while (step.done !== true) {
    step = script.next(await executor.execute(step.value));
  }
  return step.value;
}

async function rollback(executor: ServerExecutor): Promise<void> {
  try {
    await executor.simple('ROLLBACK');
  } catch {
    // The connection is gone, and its transaction with it.
  }
}
