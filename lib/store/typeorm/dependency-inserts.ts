import { JobEntity } from '../../entities/job.entity.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { VERDICT } from '../../model/dependencies.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { NIL_TENANT } from '../../model/tenant.js';
import { query, type RowsInto, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import { Held } from '../write-batch.js';
import { jobIdOf } from '../dialects/sqlite/job-ids.js';
import type { CreatedJob } from '../job-of-draft.js';
import type { DraftDependency, InsertResult, JobDraft, Refusal } from '../store.js';
import type { Dependencies } from './dependencies.script.js';
import { isDone } from './dependency-verdict.js';
import type { TableNames } from './table-names.js';

/** One edge: who is waited for, who waits, what follows from a failure, and whether it has been told. */
type Edge = readonly [parent: number, child: number, onFailure: string, told: number];

/** What is stored of jobs that wait for others. */
export class DependencyInserts {
  readonly #t: TableNames;
  readonly #dependencies: Dependencies;
  readonly #edges: RowsInto;

  constructor(tables: TableNames, dependencies: Dependencies) {
    this.#t = tables;
    this.#dependencies = dependencies;
    this.#edges = { table: tables.dependencies, columns: EDGES };
  }

  /**
   * Locks what drafts name, in the order of row numbers as everybody does, and counts what they wait
   * for. A job that ends now waits until they are stored, and finds them then. `passes`: drafts that
   * name what somebody else has locked are left for later.
   */
  *look(
    drafts: readonly JobDraft[],
    refused: Map<number, Refusal | Held>,
    passes: boolean,
  ): Script<Parents> {
    const ids = new Set<string>();
    let isAny = false;
    for (const { extras } of drafts) {
      for (const { on } of extras?.dependsOn ?? []) {
        isAny = true;
        if (typeof on === 'string') {
          ids.add(on);
        }
      }
    }
    if (!isAny) {
      return NO_PARENTS;
    }
    const parents = ids.size === 0 ? NO_PARENTS : yield* this.#lock([...ids], passes);
    const locked = passes
      ? yield* this.#lockedAmong([...ids].filter((id) => !parents.has(id)))
      : [];
    for (const [at, draft] of drafts.entries()) {
      if (draft.extras !== null && draft.extras.dependsOn.length > 0 && !refused.has(at)) {
        const { dependsOn } = draft.extras;
        const obstacle = locked.find(({ id }) => dependsOn.some(({ on }) => on === id));
        const refusal =
          obstacle === undefined ? block(draft, dependsOn, parents) : new Held(obstacle.seq);
        if (refusal !== undefined) {
          refused.set(at, refusal);
        }
      }
    }
    return parents;
  }

  /** Those of the jobs that were passed over which are there. */
  *#lockedAmong(
    ids: readonly string[],
  ): Script<readonly { readonly id: string; readonly seq: number }[]> {
    if (ids.length === 0) {
      return [];
    }
    const { words, jobs } = this.#t;
    const among = words.among(ids.map((id) => seqOfId(id) ?? -1));
    const rows = yield* query(
      `SELECT job_id, seq FROM ${jobs} WHERE seq ${among.sql}`,
      among.params,
    );
    // By a number that is another one's, somebody may have named no job at all.
    return rows
      .map(([id, seq]) => ({ id: String(id), seq: Number(seq) }))
      .filter(({ id }) => ids.includes(id));
  }

  /** Stores who waits for whom; jobs that wait for nobody any more go on, or end. */
  *store(
    created: readonly CreatedJob[],
    results: readonly InsertResult[],
    parents: Parents,
    nowMs: number,
  ): Script<void> {
    const edges: Edge[] = [];
    const ended: JobEntity[] = [];
    const unmarked = new Set<number>();
    const children = created.filter(({ draft }) => (draft.extras?.dependsOn.length ?? 0) > 0);
    if (children.length === 0) {
      return;
    }
    const there = yield* this.#there(children, results);
    for (const { seq, draft } of children) {
      for (const { on, onFailure } of draft.extras?.dependsOn ?? []) {
        if (typeof on === 'number') {
          const parent = placedAt(results[on]);
          const known = there.get(parent.id);
          if (known !== undefined && isFinal(known.status)) {
            ended.push(known);
          }
          unmarked.add(parent.seq);
          edges.push([parent.seq, seq, onFailure, 0]);
          continue;
        }
        // Who names one that is not there is refused.
        const parent = parents.get(on) as Parent;
        if (!hasExtra(parent.extras, EXTRA.dependents)) {
          unmarked.add(parent.seq);
        }
        edges.push([parent.seq, seq, onFailure, draft.blocked?.ended.has(on) === true ? 1 : 0]);
      }
    }
    for (const { sql, params } of this.#t.words.insertRows(this.#edges, edges)) {
      yield { sql, params, deferred: true };
    }
    yield* this.#mark([...unmarked]);
    yield* this.#dependencies.begin(children, ended, nowMs);
  }

  /** Whoever ends one of these must tell others; most that are named were named before. */
  *#mark(unmarked: readonly number[]): Script<void> {
    if (unmarked.length > 0 && this.#t.words.marksParents) {
      const among = this.#t.words.among(unmarked);
      yield {
        sql: `UPDATE ${this.#t.rows} SET extras = COALESCE(extras, 0) | ${EXTRA.dependents}
          WHERE seq ${among.sql} AND (extras IS NULL OR extras & ${EXTRA.dependents} = 0)`,
        params: among.params,
        deferred: true,
      };
    }
  }

  /**
   * Jobs of this call that were there before, under an idempotency key or a unique key, and that
   * others of it wait for: as they are now, and stay while they are locked.
   */
  *#there(
    children: readonly CreatedJob[],
    results: readonly InsertResult[],
  ): Script<ReadonlyMap<string, JobEntity>> {
    const jobs = children.flatMap(({ draft }) =>
      (draft.extras?.dependsOn ?? []).flatMap(({ on }) => {
        const result = typeof on === 'number' ? results[on] : undefined;
        return result === undefined ? [] : (jobOf(result) ?? []);
      }),
    );
    if (jobs.length === 0) {
      return new Map();
    }
    const found = yield* this.#lock(
      jobs.map(({ id }) => id),
      false,
    );
    return new Map(
      jobs.map((job) => {
        const status = found.get(job.id)?.status ?? job.status;
        return [job.id, Object.assign(new JobEntity(), job, { status })];
      }),
    );
  }

  /** By id; those that are not there are missing. */
  *#lock(ids: readonly string[], passes: boolean): Script<Parents> {
    const { words, jobs, rows } = this.#t;
    const lock = passes ? words.skipLocked : words.forUpdate;
    const among = words.among(ids.map((id) => seqOfId(id) ?? -1));
    const found = yield* query(
      words.hasDeclarations
        ? `SELECT id_high, id_low, COALESCE(tenant_id, '${NIL_TENANT}'), status, seq, extras FROM ${rows} WHERE seq ${among.sql}`
        : `SELECT job_id, NULL, tenant_id, status, seq, extras FROM ${jobs} WHERE seq ${among.sql} ORDER BY seq ${lock}`,
      among.params,
    );
    return new Map(
      found.map(([id, low, tenantId, status, seq, extras]) => [
        words.hasDeclarations ? jobIdOf(Number(seq), Number(id), Number(low)) : String(id),
        {
          seq: Number(seq),
          tenantId: String(tenantId),
          status: status as JobStatus,
          extras: extras as number | null,
        },
      ]),
    );
  }
}

/** A job that is waited for. */
interface Parent {
  readonly seq: number;
  readonly tenantId: string;
  readonly status: JobStatus;
  readonly extras: number | null;
}

/** Jobs that are waited for, by id. */
export type Parents = ReadonlyMap<string, Parent>;

const NO_PARENTS: Parents = new Map();
export const NOBODY: ReadonlySet<string> = new Set();

/** Notes what a draft waits for; why it is refused, if it is. */
function block(
  draft: JobDraft,
  dependsOn: readonly DraftDependency[],
  parents: Parents,
): Refusal | undefined {
  const { tenantId } = draft.terms;
  let by = 0;
  let verdict: number = VERDICT.run;
  const ended: string[] = [];
  const unknown: string[] = [];
  for (const { on, onFailure } of dependsOn) {
    const parent = typeof on === 'number' ? undefined : parents.get(on);
    if (typeof on === 'string' && parent?.tenantId !== tenantId) {
      unknown.push(on);
    } else if (typeof on === 'number' || parent === undefined || !isFinal(parent.status)) {
      by += 1;
    } else {
      ended.push(on);
      if (!isDone(parent.status)) {
        verdict = Math.max(verdict, VERDICT[onFailure]);
      }
    }
  }
  if (unknown.length > 0) {
    return { outcome: 'unknown_dependency', ids: unknown };
  }
  draft.blocked = { by, verdict, ended: ended.length === 0 ? NOBODY : new Set(ended) };
  return undefined;
}

/** The columns of an {@link Edge}. */
export const EDGES = {
  parent_seq: 'number',
  child_seq: 'number',
  on_failure: 'text',
  told: 'number',
} as const;

/** The job that a draft met, where it was not stored. */
function jobOf(result: InsertResult): JobEntity | undefined {
  return result.outcome !== 'created' && 'job' in result ? result.job : undefined;
}

/** What a job depends on, as it is stored; jobs of the same call have their ids by now. */
export function textOf(
  dependsOn: readonly DraftDependency[],
  results: readonly InsertResult[],
): string | null {
  if (dependsOn.length === 0) {
    return null;
  }
  const each = dependsOn.map(({ on, onFailure }) => {
    const id = typeof on === 'number' ? placedAt(results[on]).id : on;
    return `{"id":"${id}","on_failure":"${onFailure}"}`;
  });
  return `[${each.join(',')}]`;
}

/** Where a job of this call is, whether it was stored by it or was there before. */
function placedAt(result: InsertResult | undefined): Pick<JobEntity, 'id' | 'seq'> {
  switch (result?.outcome) {
    case 'created':
      return result;
    case 'taken':
    case 'existing':
    case 'replaced':
      return result.job;
    default:
      throw new Error('A job of this call that another one waits for was not stored.');
  }
}
