import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { JobsError } from '../../model/errors.js';
import type { FailureKind } from '../dialects/session.js';
import { classifySqliteError } from '../dialects/sqlite/sqlite-errors.js';
import { NOW_SQL, type DatabaseClock } from '../dialects/sqlite/sqlite-clock.js';
import {
  runScriptAsync,
  type Row,
  type Script,
  type Statement,
  type TimedScript,
} from '../dialects/sql.js';
import type { JoinedTransaction, RunLines } from '../store.js';
import type { Inserts } from './inserts.js';
import type { JobScripts } from './job.scripts.js';
import { relatedInserts } from './related-inserts.js';
import { StepScripts } from './step.scripts.js';
import type { TableNames } from './table-names.js';

interface Waiting {
  depth: number;
  readonly listener: () => void;
}

/** The depth of a runner's transaction; TypeORM keeps it, though not in its public type. */
interface NestedRunner extends QueryRunner {
  readonly transactionDepth?: number;
}

/**
 * Hears the commits of data sources. TypeORM tells subscribers of savepoints too, so a listener
 * waits for the outermost commit, and is dropped with a savepoint that is rolled back.
 */
export class CommitListeners {
  readonly #subscribed = new WeakSet<DataSource>();
  readonly #waiting = new WeakMap<QueryRunner, Waiting[]>();

  after(runner: QueryRunner, dataSource: DataSource, listener: () => void): void {
    if (!runner.isTransactionActive) {
      listener();
      return;
    }
    if (!this.#subscribed.has(dataSource)) {
      this.#subscribed.add(dataSource);
      dataSource.subscribers.push(this.#subscriber());
    }
    const waiting = this.#waiting.get(runner) ?? [];
    waiting.push({ depth: depthOf(runner), listener });
    this.#waiting.set(runner, waiting);
  }

  #subscriber(): EntitySubscriberInterface {
    return {
      afterTransactionCommit: ({ queryRunner }) => {
        const waiting = this.#waiting.get(queryRunner) ?? [];
        if (queryRunner.isTransactionActive) {
          const depth = depthOf(queryRunner);
          for (const each of waiting) {
            each.depth = Math.min(each.depth, depth);
          }
          return;
        }
        this.#waiting.delete(queryRunner);
        for (const { listener } of waiting) {
          listener();
        }
      },
      afterTransactionRollback: ({ queryRunner }) => {
        const depth = queryRunner.isTransactionActive ? depthOf(queryRunner) : 0;
        const left = (this.#waiting.get(queryRunner) ?? []).filter((each) => each.depth <= depth);
        this.#waiting.set(queryRunner, left);
      },
    };
  }
}

/** What writes that join a transaction are made of. */
export interface JoinParts {
  readonly scripts: JobScripts;
  readonly tables: TableNames;
  readonly inserts: Inserts;
  readonly log: (batch: readonly RunLines[]) => Script<void>;
  readonly runOnRunner: <T>(runner: QueryRunner, script: TimedScript<T>) => Promise<T>;
}

/** Writes through a caller's `EntityManager`, so that they exist when, and only when, it commits. */
export function joinTransaction(
  manager: EntityManager,
  { tables, scripts, inserts, log, runOnRunner }: JoinParts,
  commits: CommitListeners,
): JoinedTransaction {
  const dataSource = dataSourceOf(manager);
  const runner = manager.queryRunner ?? dataSource.createQueryRunner();
  const related = relatedInserts(tables, inserts, scripts);
  const steps = new StepScripts(tables, scripts);
  const run = <T>(script: TimedScript<T>): Promise<T> => runOnRunner(runner, script);
  return {
    async insert(draft) {
      const [result] = await run((now) =>
        draft.extras === null ? inserts.insertLocked([draft], now) : related.insert([draft], now),
      );
      if (result === undefined) {
        throw new JobsError(
          'internal_error',
          `A job of type ${draft.terms.type} was inserted without an outcome.`,
        );
      }
      return result;
    },
    async insertAll(drafts, refuses) {
      return run((now) =>
        drafts.every(({ extras }) => extras === null)
          ? inserts.insertAllLocked(drafts, refuses, now)
          : related.insertAll(drafts, refuses, now),
      );
    },
    findByKey: (tenantId, key) => run(() => inserts.findByKeyToWrite(tenantId, key)),
    async report(report) {
      const [held] = await run((now) => scripts.report([report], now));
      return held === true;
    },
    log: (batch) => run(() => log(batch)),
    remember: (record) => run((now) => steps.remember(record, now)),
    change: (id, decide) => run((now) => scripts.change(id, decide, undefined, now)),
    onCommit: (listener) => commits.after(runner, dataSource, listener),
  };
}

/** Runs a script on a query runner of TypeORM. */
export async function runOn<T>(
  runner: QueryRunner,
  clock: DatabaseClock,
  script: TimedScript<T>,
): Promise<T> {
  const execute = async (statement: Statement): Promise<readonly Row[]> => {
    // The blank in front: TypeORM 0.3 on sqlite3 drops the rows of whatever begins with a verb of change.
    const result = await runner.query(` ${statement.sql}`, [...statement.params], true);
    return (result.records ?? []).map((record) =>
      Object.values(record as Record<string, Row[number]>),
    );
  };
  try {
    const rows = await execute({ sql: NOW_SQL, params: [clock.shiftMs] });
    return await runScriptAsync(script(clock.observe(Number(rows[0]?.[0]))), execute);
  } catch (error) {
    throw joinedFailure(error, classifySqliteError(error));
  }
}

/** What a caller is told whose transaction could not be written. */
export function joinedFailure(error: unknown, kind: FailureKind): unknown {
  if (kind === 'unavailable') {
    return new JobsError(
      'database_unavailable',
      'The database cannot be written now, so nothing was stored through the given `manager`. Roll back; check that it is reachable, writable and has space.',
      { cause: error, retryAfterSec: 5 },
    );
  }
  if (kind === 'busy' || kind === 'held') {
    return new JobsError(
      'database_busy',
      'The database is locked by another connection, so nothing was written through the given `manager`. Roll back and try again; on SQLite keep transactions short.',
      { cause: error, retryAfterSec: 1 },
    );
  }
  if (kind === 'slow') {
    return new JobsError(
      'database_busy',
      'The database ended the statement, since it took longer than the connection of the given `manager` lets it, so nothing was written through it. Roll back and try again.',
      { cause: error, retryAfterSec: 5 },
    );
  }
  return error;
}

/** The data source of a manager; TypeORM 1 renamed the property. */
export function dataSourceOf(manager: EntityManager | null): DataSource {
  const known: { dataSource?: DataSource; connection?: DataSource } = manager ?? {};
  const dataSource = known.dataSource ?? known.connection;
  if (typeof dataSource?.createQueryRunner !== 'function') {
    throw new JobsError(
      'invalid_request',
      '`manager` is not an EntityManager of TypeORM: pass the one that the transaction callback was given.',
      { errors: [{ field: 'manager', message: 'must be an EntityManager' }] },
    );
  }
  return dataSource;
}

function depthOf(runner: NestedRunner): number {
  return runner.transactionDepth ?? 1;
}
