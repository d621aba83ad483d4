import { EXTRA } from '../../../model/extras.js';
import { FINAL_STATUSES } from '../../../model/job-status.js';
import type { RowsInto } from '../sql.js';
import { FEW_EXTRAS } from '../../typeorm/beside.script.js';
import { EDGES } from '../../typeorm/dependency-inserts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { ServerInsertsBehind, type Behind } from '../shared/insert-behind.js';
import { query, type Script } from '../sql.js';
import type { MysqlInsertScript } from './insert.script.js';
import { list, literal } from './literals.js';

const FINAL = list(FINAL_STATUSES);
const PATIENCE_SEC = 0.1;

/**
 * As one message and a COMMIT: those that are named are locked and marked in their order, all is stored
 * in the hope that nothing is wrong, and if not as many were met and stored as should be, it is taken
 * back. A row that is marked already is locked and not written. One that somebody else has locked is
 * waited for as long as a message or two take; MySQL, which counts in seconds, reads that as a comment.
 */
export class MysqlInsertsBehind extends ServerInsertsBehind {
  readonly #t: TableNames;
  readonly #inserts: MysqlInsertScript;
  readonly #edges: RowsInto;
  readonly #extras: RowsInto;

  constructor(tables: TableNames, inserts: MysqlInsertScript) {
    super(inserts);
    this.#t = tables;
    this.#inserts = inserts;
    this.#edges = { table: tables.dependencies, columns: EDGES };
    this.#extras = { table: tables.extras, columns: FEW_EXTRAS };
  }

  protected override *store(
    { tenantId, created, named, edges }: Behind,
    nowMs: number,
  ): Script<boolean> {
    const { jobs, words } = this.#t;
    const texts = this.#inserts.textsOf(created, nowMs);
    if (texts.length > 1) {
      return false;
    }
    const seqs = list(named.map(({ seq }) => seq));
    // An id says its row's number, so that both of one row are found by two lists as well as by pairs.
    const ids = list(named.map(({ id }) => id));
    const extras = created.map(({ seq, id, beside }) => [
      seq,
      id,
      beside?.dependsOn ?? null,
      beside?.blockedBy ?? 0,
      0,
    ]);
    yield* later('SAVEPOINT nestjs_jobs_behind');
    yield* later(
      `/*M! SET STATEMENT max_statement_time = ${PATIENCE_SEC} FOR */ UPDATE ${jobs}${words.using(undefined)} SET extras = COALESCE(extras, 0) | ${EXTRA.dependents}
       WHERE seq IN ${seqs} AND job_id IN ${ids} AND tenant_id = ${literal(tenantId)}
         AND status NOT IN ${FINAL}`,
    );
    yield* later(texts[0] ?? '');
    const rows = [
      ...words.insertRows(this.#extras, extras),
      ...words.insertRows(
        this.#edges,
        edges.map((edge) => [...edge, 0]),
      ),
    ];
    for (const { sql } of rows.slice(0, -1)) {
      yield* later(sql);
    }
    const [counts = []] = yield { sql: rows.at(-1)?.sql ?? '', params: [], counts: true };
    const [there, stored] = counts.slice(-rows.length - 2).map(Number);
    if (there === named.length && stored === created.length) {
      return true;
    }
    yield* query('ROLLBACK TO SAVEPOINT nestjs_jobs_behind');
    return false;
  }
}

function* later(sql: string): Script<void> {
  yield { sql, params: [], deferred: true };
}
