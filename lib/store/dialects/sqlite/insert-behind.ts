import { NIL_TENANT } from '../../../model/tenant.js';
import { CreatedJob } from '../../job-of-draft.js';
import type { InsertResult, JobDraft } from '../../store.js';
import { FEW_EXTRAS } from '../../typeorm/beside.script.js';
import { EDGES } from '../../typeorm/dependency-inserts.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { eachBehind, namedBy, type InsertsBehind, type Named } from '../shared/insert-behind.js';
import { query, type Phrase, type RowsInto, type Script, type SqlValue } from '../sql.js';
import { insertBound } from './bound-rows.js';
import type { SqliteInsertScript } from './insert.script.js';

/** Each size is a text of its own that stays prepared. */
const MOST_ASKED = 32;

/**
 * What is asked of those that are named is just whether all are open, and the answer is a number: to
 * read them costs more than to store who waits for them.
 */
export class SqliteInsertsBehind implements InsertsBehind {
  readonly #rows: string;
  readonly #inserts: SqliteInsertScript;
  readonly #edges: RowsInto;
  readonly #extras: RowsInto;
  readonly #texts: string[] = [];

  constructor({ rows, dependencies, extras }: TableNames, inserts: SqliteInsertScript) {
    this.#rows = rows;
    this.#inserts = inserts;
    this.#edges = { table: dependencies, columns: EDGES };
    this.#extras = { table: extras, columns: FEW_EXTRAS };
  }

  *insert(
    drafts: readonly JobDraft[],
    nowMs: number,
  ): Script<readonly (InsertResult | undefined)[]> {
    const tenantId = drafts[0]?.terms.tenantId ?? NIL_TENANT;
    const named = namedBy(drafts);
    if (
      drafts.some(({ terms }) => terms.tenantId !== tenantId) ||
      !(yield* this.#areOpen([...named.values()], tenantId))
    ) {
      return drafts.map(() => undefined);
    }
    const stored = yield* this.#inserts.insert(drafts, nowMs);
    const created = stored.filter((each) => each instanceof CreatedJob);
    const edges: SqlValue[] = [];
    eachBehind(created, named, (parent, child, onFailure) =>
      edges.push(parent, child, onFailure, 0),
    );
    const extras: SqlValue[] = [];
    for (const { seq, id, dependsOn, draft } of created) {
      extras.push(seq, id, dependsOn, draft.blocked?.by ?? 0, 0);
    }
    yield* later(insertBound(this.#extras, extras));
    yield* later(insertBound(this.#edges, edges));
    return stored;
  }

  /** Whether each of them is there, is the tenant's and has not ended. */
  *#areOpen(named: readonly Named[], tenantId: string): Script<boolean> {
    for (let at = 0; at < named.length; at += MOST_ASKED) {
      const some = named.slice(at, at + MOST_ASKED);
      const params: SqlValue[] = [];
      for (const { seq, high, low } of some) {
        params.push(seq, high, low);
      }
      params.push(tenantId === NIL_TENANT ? null : tenantId);
      const [open] = yield* query(
        (this.#texts[some.length] ??= this.#openSql(some.length)),
        params,
      );
      if (open?.[0] !== some.length) {
        return false;
      }
    }
    return true;
  }

  #openSql(count: number): string {
    const rows = Array.from({ length: count }, () => '(?, ?, ?)').join(', ');
    return `SELECT COUNT(*) FROM (VALUES ${rows}) AS named CROSS JOIN ${this.#rows} AS held
      WHERE held.seq = named.column1 AND held.id_high = named.column2 AND held.id_low = named.column3
        AND held.tenant_id IS ? AND held.finished_at_ms IS NULL`;
  }
}

function* later(phrases: readonly Phrase[]): Script<void> {
  for (const { sql, params } of phrases) {
    yield { sql, params, deferred: true };
  }
}
