import { query, type RowsInto, type Script, type SqlValue } from '../dialects/sql.js';
import type { TableNames } from './table-names.js';

/** An event that one receiver is to be told of. */
export interface NewDelivery {
  readonly id: string;
  readonly target: string;
  readonly lane: string;
  readonly jobSeq: number;
  readonly sequence: number;
  readonly jobId: string;
  readonly tenantId: string;
  readonly event: string;
  /** Of a status hook. */
  readonly url: string | null;
}

const COLUMNS = {
  id: 'text',
  target: 'text',
  lane: 'text',
  due_at_ms: 'number',
  job_seq: 'number',
  sequence: 'number',
  job_id: 'text',
  tenant_id: 'text',
  event: 'text',
  url: 'text',
  status: 'text',
  attempts: 'number',
  lost: 'number',
  created_at_ms: 'number',
  updated_at_ms: 'number',
} as const;

/**
 * Stores deliveries, of which those that are there already stay as they are. What waits behind an older one of
 * the same job is not due before it: it would be looked at in vain as long as its receiver is away.
 */
export class DeliveryInserts {
  readonly #t: TableNames;
  readonly #into: RowsInto;
  readonly #behindSql: string;
  readonly #laterSql: string;

  constructor(tables: TableNames) {
    const { deliveries, words } = tables;
    this.#t = tables;
    this.#into = { table: deliveries, columns: COLUMNS };
    const due = `COALESCE((SELECT CASE WHEN former.due_at_ms > given.due_at_ms THEN former.due_at_ms END
      FROM ${deliveries} AS former${words.using(tables.index('job_deliveries_order'))}
      WHERE former.job_seq = given.job_seq AND former.target = given.target
        AND former.sequence < given.sequence
      ORDER BY former.sequence DESC LIMIT 1), given.due_at_ms)`;
    const names = Object.keys(COLUMNS);
    const values = names.map((name) => (name === 'due_at_ms' ? due : `given.${name}`));
    this.#behindSql = words.insertNew(
      `INSERT INTO ${deliveries} (${names.join(', ')})
       SELECT ${values.join(', ')} FROM ${words.table('given', COLUMNS)}${words.afterSelect}`,
      'job_seq, target, sequence',
    );
    this.#laterSql = `SELECT 1 FROM ${deliveries}${words.using(tables.index('job_deliveries_lane'))}
      WHERE lane ${words.amongTexts} AND due_at_ms > ? LIMIT 1`;
  }

  *insert(given: readonly NewDelivery[], nowMs: number): Script<void> {
    if (given.length === 0) {
      return;
    }
    const rows = given.map((each) => rowOf(each, nowMs));
    if (yield* this.isAnyHeldUp(given, nowMs)) {
      yield* query(this.#behindSql, [JSON.stringify(rows)]);
      return;
    }
    // Half the cost, since nothing has to be looked up for each.
    for (const { sql, params } of this.#t.words.insertRows(this.#into, rows)) {
      yield* query(sql, params);
    }
  }

  /** Whether one of them may come behind another that is due later: mostly no receiver is away. */
  *isAnyHeldUp(given: readonly NewDelivery[], nowMs: number): Script<boolean> {
    const lanes = new Set(given.flatMap(({ sequence, lane }) => (sequence > 1 ? [lane] : [])));
    return (
      lanes.size > 0 &&
      (yield* query(this.#laterSql, [JSON.stringify([...lanes]), nowMs])).length > 0
    );
  }
}

function rowOf(each: NewDelivery, nowMs: number): readonly SqlValue[] {
  const { id, target, lane, jobSeq, sequence, jobId, tenantId, event, url } = each;
  const where = [id, target, lane, nowMs, jobSeq, sequence, jobId, tenantId, event, url];
  return [...where, 'pending', 0, 0, nowMs, nowMs];
}
