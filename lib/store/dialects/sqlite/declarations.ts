import type { JobGroupEntity } from '../../../entities/job-group.entity.js';
import type { JobTypeEntity } from '../../../entities/job-type.entity.js';
import type { JobTerms } from '../../store.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Row, type Script } from '../sql.js';

/** How a type was declared when jobs of it were enqueued. */
export interface Declaration {
  readonly number: number;
  readonly type: string;
  readonly typeVersion: number;
  readonly group: string;
  readonly queue: string;
  readonly timeoutSec: number;
  readonly maxRetries: number;
  readonly retryDelaySec: number;
}

type Key = Pick<Declaration, 'type' | 'typeVersion' | 'group' | 'queue'>;
type New = Omit<Declaration, 'number'>;

const COLUMNS =
  'declaration, type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec';

/**
 * What jobs have in common by their type: a row of `jobs` says it by number, which is a third of
 * the row less to write. There is one number for each version of a type in a queue, for ever; what
 * a job has otherwise than its declaration stands in its own row.
 *
 * Only what was committed is remembered: a number of a transaction that is rolled back could come
 * again for something else.
 */
export class Declarations {
  readonly #t: TableNames;
  /** The last one that was looked up: most calls enqueue one type, with its own terms. */
  #last: readonly [JobTerms, Declaration] | undefined;
  #byKey: ReadonlyMap<string, Declaration> = new Map();
  #byNumber: ReadonlyMap<number, Declaration> = new Map();
  #all: readonly Declaration[] = [];
  #isBehind = false;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  /** Somebody has declared more since the last {@link load}. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  /** Stores what is new. */
  *declare(types: readonly JobTypeEntity[], groups: readonly JobGroupEntity[]): Script<void> {
    const queues = new Map(groups.map((group) => [group.name, group.queueName]));
    for (const type of types) {
      const queue = queues.get(type.group);
      if (queue !== undefined) {
        yield* this.#declared({ ...type, type: type.typeId, typeVersion: type.version, queue });
      }
    }
  }

  /** Remembers all; never within a transaction that writes. */
  *load(): Script<void> {
    const rows = yield* query(
      `SELECT ${COLUMNS} FROM ${this.#t.declarations} ORDER BY declaration`,
    );
    this.#all = rows.map(declarationOf);
    this.#byKey = new Map(this.#all.map((each) => [keyOf(each), each]));
    this.#byNumber = new Map(this.#all.map((each) => [each.number, each]));
    this.#last = undefined;
    this.#isBehind = false;
  }

  /** The declaration of a job that is being stored. */
  *of(terms: JobTerms): Script<Declaration> {
    return this.known(terms) ?? (yield* this.#declared(terms));
  }

  /** The same without a look into the database. */
  known(terms: JobTerms): Declaration | undefined {
    if (this.#last?.[0] === terms) {
      return this.#last[1];
    }
    const known = this.#byKey.get(keyOf(terms));
    this.#last = known && [terms, known];
    return known;
  }

  /** Every declaration of some types, whoever made it. */
  *ofTypes(types: readonly string[]): Script<readonly Declaration[]> {
    const last = yield* query(`SELECT MAX(declaration) FROM ${this.#t.declarations}`);
    if (Number(last[0]?.[0] ?? 0) === (this.#all.at(-1)?.number ?? 0)) {
      return types.length === 1
        ? this.#all.filter((each) => each.type === types[0])
        : this.#all.filter((each) => types.includes(each.type));
    }
    this.#isBehind = true;
    const rows = yield* query(
      `SELECT ${COLUMNS} FROM ${this.#t.declarations} WHERE type ${this.#t.words.amongTexts}`,
      [JSON.stringify(types)],
    );
    return rows.map(declarationOf);
  }

  /** Every declaration there is. */
  *byNumber(): Script<ReadonlyMap<number, Declaration>> {
    const last = yield* query(`SELECT MAX(declaration) FROM ${this.#t.declarations}`);
    if (Number(last[0]?.[0] ?? 0) === (this.#all.at(-1)?.number ?? 0)) {
      return this.#byNumber;
    }
    this.#isBehind = true;
    const rows = yield* query(`SELECT ${COLUMNS} FROM ${this.#t.declarations}`);
    return new Map(rows.map(declarationOf).map((each) => [each.number, each]));
  }

  *#declared(wanted: New): Script<Declaration> {
    const key = [wanted.type, wanted.typeVersion, wanted.group, wanted.queue];
    const select = `SELECT ${COLUMNS} FROM ${this.#t.declarations}
      WHERE type = ? AND type_version = ? AND group_name = ? AND queue = ?`;
    const found = yield* query(select, key);
    if (found[0] !== undefined) {
      return declarationOf(found[0]);
    }
    const rows = yield* query(
      `INSERT INTO ${this.#t.declarations} (type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec)
       VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING ${COLUMNS}`,
      [...key, wanted.timeoutSec, wanted.maxRetries, wanted.retryDelaySec],
    );
    return declarationOf(rows[0] ?? []);
  }
}

function keyOf({ type, typeVersion, group, queue }: Key): string {
  return `${type}\n${typeVersion}\n${group}\n${queue}`;
}

function declarationOf(row: Row): Declaration {
  return {
    number: Number(row[0]),
    type: String(row[1]),
    typeVersion: Number(row[2]),
    group: String(row[3]),
    queue: String(row[4]),
    timeoutSec: Number(row[5]),
    maxRetries: Number(row[6]),
    retryDelaySec: Number(row[7]),
  };
}
