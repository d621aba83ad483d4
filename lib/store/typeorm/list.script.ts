import { query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { JobList, ListedJob, ResolvedJobQuery } from '../store.js';
import { withBeside } from './beside.script.js';
import { ALL_JOB_COLUMNS } from './job.columns.js';
import { selectionOf } from './job-selection.js';
import { JobSources, LITTLE, MUCH } from './job-source.js';
import { listedOfRow, PageScript, type ListTables } from './list-page.js';
import type { Pace } from './slices.js';
import type { TableNames } from './table-names.js';

/** What lists and look-ups read. Column names come from a closed set, values are bound. */
export class ListScripts {
  readonly #t: TableNames;
  readonly #parts: ListTables;
  readonly #sources: JobSources;

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#parts = {
      tables,
      columns: `${ALL_JOB_COLUMNS}, EXISTS (SELECT 1 FROM ${tables.queues} WHERE name = queue AND paused = 1)`,
    };
    this.#sources = new JobSources(tables);
  }

  *find(id: string, tenantId: string | undefined): Script<ListedJob | undefined> {
    const seq = seqOfId(id);
    if (seq === undefined) {
      return undefined;
    }
    const scope = tenantId === undefined ? '' : ' AND tenant_id = ?';
    const rows = yield* query(
      `SELECT ${this.#parts.columns} FROM ${this.#t.jobs} WHERE seq = ? AND job_id = ?${scope}`,
      tenantId === undefined ? [seq, id] : [seq, id, tenantId],
    );
    return (yield* withBeside(this.#t, rows.map(listedOfRow)))[0];
  }

  *findByKey(tenantId: string, key: string): Script<ListedJob | undefined> {
    const rows = yield* query(
      `SELECT ${this.#parts.columns} FROM ${this.#t.jobs} WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL`,
      [tenantId, key],
    );
    return (yield* withBeside(this.#t, rows.map(listedOfRow)))[0];
  }

  /** The jobs that hold these keys, in any order. */
  *findByKeys(
    keys: readonly { readonly tenantId: string; readonly key: string }[],
  ): Script<readonly ListedJob[]> {
    const { amongTexts } = this.#t.words;
    const rows = yield* query(
      `SELECT ${this.#parts.columns} FROM ${this.#t.jobs}
       WHERE idempotency_key ${amongTexts} AND tenant_id ${amongTexts} AND idempotency_key IS NOT NULL`,
      [
        JSON.stringify(keys.map(({ key }) => key)),
        JSON.stringify([...new Set(keys.map(({ tenantId }) => tenantId))]),
      ],
    );
    return yield* withBeside(this.#t, rows.map(listedOfRow));
  }

  /**
   * A page and the count. First with little effort, which answers nearly everything: the filters'
   * own indexes as far as they are short, else some thousand rows in the order asked for. What that
   * does not answer is looked for in longer indexes, and at last in the whole table.
   */
  *list(request: ResolvedJobQuery, pace: Pace): Script<JobList> {
    const wanted = selectionOf(request, yield* this.#sources.scopeOf(request.tenantId), this.#t);
    for (const effort of wanted.ranges.length === 0 ? [MUCH] : [LITTLE, MUCH]) {
      const source = yield* this.#sources.choose(wanted, effort.entries);
      const page = new PageScript(this.#parts, wanted, source, request, pace);
      const list = yield* page.read(source.seqs === undefined ? effort.rows : Infinity);
      if (list !== undefined) {
        return list;
      }
    }
    throw new Error('A list was given up though nothing limited it.');
  }
}
