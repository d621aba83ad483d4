import { EXTRA } from '../../../model/extras.js';
import { FINAL_STATUSES } from '../../../model/job-status.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { ServerInsertsBehind, type Behind } from '../shared/insert-behind.js';
import { CHANGES_SQL, query, type Script } from '../sql.js';
import { JOINED, joined, numbers } from './arrays.js';
import { paramsOf, statement, type PostgresInsertScript } from './insert.script.js';

/**
 * As one statement, which is its own transaction. The rows that are named are locked before anything
 * is stored, in their order, and judged as they are then: whoever ends one of them meanwhile waits, and
 * finds who waits for it.
 */
export class PostgresInsertsBehind extends ServerInsertsBehind {
  readonly #sql: string;

  constructor(tables: TableNames, inserts: PostgresInsertScript) {
    super(inserts);
    this.#sql = sqlOf(tables);
  }

  protected override *store(
    { tenantId, created, named, edges }: Behind,
    nowMs: number,
  ): Script<boolean> {
    const sql = this.#sql;
    const params = [
      numbers(named.map(({ seq }) => seq)),
      joined(named.map(({ id }) => id)),
      tenantId,
      named.length,
      ...paramsOf(created, nowMs),
      numbers(edges.map(([parent]) => parent)),
      numbers(edges.map(([, child]) => child)),
      joined(edges.map(([, , onFailure]) => onFailure)),
      numbers(created.map(({ seq }) => seq)),
      joined(created.map(({ id }) => id)),
      joined(created.map(({ beside }) => beside?.dependsOn ?? null)),
      numbers(created.map(({ beside }) => beside?.blockedBy)),
    ];
    yield { sql, params, alone: true };
    const [stored] = yield* query(CHANGES_SQL);
    return stored?.[0] === created.length;
  }
}

function sqlOf(tables: TableNames): string {
  const { jobs, extras, dependencies } = tables;
  const final = FINAL_STATUSES.map((status) => `'${status}'`).join(', ');
  return `WITH named AS MATERIALIZED (
      SELECT parent.seq, parent.extras
      FROM unnest(?::bigint[], ${JOINED}) AS given (seq, id)
      JOIN ${jobs} AS parent ON parent.seq = given.seq
      WHERE parent.job_id = given.id AND parent.tenant_id = ? AND parent.status NOT IN (${final})
      ORDER BY given.seq FOR NO KEY UPDATE OF parent),
    open AS MATERIALIZED (SELECT count(*) = ? AS is_open FROM named),
    stored AS (${statement(tables, false, false, 'WHERE (SELECT is_open FROM open)')} RETURNING seq),
    marked AS (
      UPDATE ${jobs} SET extras = COALESCE(extras, 0) | ${EXTRA.dependents}
      WHERE (SELECT is_open FROM open) AND seq = ANY(ARRAY(
        SELECT seq FROM named WHERE extras IS NULL OR extras & ${EXTRA.dependents} = 0))),
    waiting AS (
      INSERT INTO ${dependencies} (parent_seq, child_seq, on_failure, told)
      SELECT parent_seq, child_seq, on_failure, 0
      FROM unnest(?::bigint[], ?::bigint[], ${JOINED}) AS edge (parent_seq, child_seq, on_failure)
      WHERE child_seq = ANY(ARRAY(SELECT seq FROM stored))
      ON CONFLICT DO NOTHING)
    INSERT INTO ${extras} (seq, job_id, depends_on, blocked_by, verdict)
    SELECT seq, job_id, depends_on, blocked_by, 0
    FROM unnest(?::bigint[], ${JOINED}, ${JOINED}, ?::bigint[]) AS own (seq, job_id, depends_on, blocked_by)
    WHERE seq = ANY(ARRAY(SELECT seq FROM stored))
    ON CONFLICT DO NOTHING`;
}
