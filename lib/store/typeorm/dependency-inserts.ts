import { JobEntity } from '../../entities/job.entity.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { VERDICT } from '../../model/dependencies.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { CreatedJob } from '../job-of-draft.js';
import type { DraftDependency, InsertResult, JobDraft, Refusal } from '../store.js';
import type { Dependencies } from './dependencies.script.js';
import type { TableNames } from './table-names.js';

/** One edge: who is waited for, who waits, what follows from a failure, and whether it has been told. */
type Edge = readonly [parent: number, child: number, onFailure: string, told: number];

/** What is stored of jobs that wait for others. */
export class DependencyInserts {
  readonly #t: TableNames;
  readonly #dependencies: Dependencies;

  constructor(tables: TableNames, dependencies: Dependencies) {
    this.#t = tables;
    this.#dependencies = dependencies;
  }

  /**
   * Locks what drafts name, in the order of row numbers as everybody does, and counts what they wait
   * for. A job that ends now waits until they are stored, and finds them then.
   */
  *look(drafts: readonly JobDraft[], refused: Map<number, Refusal>): Script<void> {
    const ids = new Set(drafts.flatMap((draft) => idsOf(draft)));
    if (ids.size === 0 && drafts.every(({ extras }) => (extras?.dependsOn.length ?? 0) === 0)) {
      return;
    }
    const found = yield* this.#lock([...ids]);
    const parents = new Map(found.map(({ owner, status }) => [owner, status]));
    const marked = new Set(
      found.flatMap(({ seq, extras }) => (hasExtra(extras, EXTRA.dependents) ? [seq] : [])),
    );
    for (const [at, draft] of drafts.entries()) {
      const { extras, terms } = draft;
      if (extras === null || extras.dependsOn.length === 0 || refused.has(at)) {
        continue;
      }
      const unknown = idsOf(draft).filter((id) => !parents.has(`${terms.tenantId} ${id}`));
      if (unknown.length > 0) {
        refused.set(at, { outcome: 'unknown_dependency', ids: unknown });
        continue;
      }
      let by = 0;
      let verdict: number = VERDICT.run;
      for (const { on, onFailure } of extras.dependsOn) {
        const status = typeof on === 'number' ? 'waiting' : parents.get(`${terms.tenantId} ${on}`);
        if (status === undefined || !isFinal(status)) {
          by += 1;
        } else if (status !== 'completed' && status !== 'skipped') {
          verdict = Math.max(verdict, VERDICT[onFailure]);
        }
      }
      const ended = new Set(
        idsOf(draft).filter((id) => isFinal(parents.get(`${terms.tenantId} ${id}`) ?? 'waiting')),
      );
      draft.blocked = { by, verdict, ended, marked };
    }
  }

  /** What a job depends on, as it is stored; jobs of the same call have their ids by now. */
  textOf(dependsOn: readonly DraftDependency[], results: readonly InsertResult[]): string | null {
    return dependsOn.length === 0
      ? null
      : JSON.stringify(
          dependsOn.map(({ on, onFailure }) => ({
            id: typeof on === 'number' ? idOf(results[on]) : on,
            on_failure: onFailure,
          })),
        );
  }

  /** Stores who waits for whom; jobs that wait for nobody any more go on, or end. */
  *store(
    created: readonly CreatedJob[],
    results: readonly InsertResult[],
    nowMs: number,
  ): Script<void> {
    const edges: Edge[] = [];
    const ended: JobEntity[] = [];
    const children = created.filter(({ draft }) => (draft.extras?.dependsOn.length ?? 0) > 0);
    if (children.length === 0) {
      return;
    }
    const there = yield* this.#there(children, results);
    for (const { seq, draft } of children) {
      for (const { on, onFailure } of draft.extras?.dependsOn ?? []) {
        const result = typeof on === 'number' ? results[on] : undefined;
        const known = result === undefined ? undefined : there.get(jobOf(result)?.id ?? '');
        if (known !== undefined && isFinal(known.status)) {
          ended.push(known);
        }
        const id = typeof on === 'number' ? idOf(result) : on;
        edges.push([
          seqOfId(id) ?? -1,
          seq,
          onFailure,
          typeof on === 'string' && draft.blocked?.ended.has(on) === true ? 1 : 0,
        ]);
      }
    }
    yield* this.#insert(edges);
    yield* this.#mark(edges, children);
    yield* this.#dependencies.begin(children, ended, nowMs);
  }

  /** Whoever ends one of these must tell others; most that are named were named before. */
  *#mark(edges: readonly Edge[], children: readonly CreatedJob[]): Script<void> {
    const unmarked = new Set(edges.map(([parent]) => parent));
    for (const marked of new Set(children.map(({ draft }) => draft.blocked?.marked))) {
      marked?.forEach((seq) => unmarked.delete(seq));
    }
    if (unmarked.size > 0) {
      yield {
        sql: `UPDATE ${this.#t.rows} SET extras = COALESCE(extras, 0) | ${EXTRA.dependents}
          WHERE seq ${this.#t.words.amongNumbers} AND (extras IS NULL OR extras & ${EXTRA.dependents} = 0)`,
        params: [JSON.stringify([...unmarked])],
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
    const found = yield* this.#lock(jobs.map(({ id }) => id));
    const statuses = new Map(found.map(({ owner, status }) => [owner, status]));
    return new Map(
      jobs.map((job) => {
        const status = statuses.get(`${job.tenantId} ${job.id}`) ?? job.status;
        return [job.id, Object.assign(new JobEntity(), job, { status })];
      }),
    );
  }

  *#insert(edges: readonly Edge[]): Script<void> {
    const { dependencies, words } = this.#t;
    for (let at = 0; at < edges.length; at += EDGES_AT_ONCE) {
      yield {
        sql: words.insertNew(
          `INSERT INTO ${dependencies} (parent_seq, child_seq, on_failure, told)
           SELECT parent_seq, child_seq, on_failure, told FROM ${words.table('edge', EDGE)}${words.afterSelect}`,
          'parent_seq, child_seq',
        ),
        params: [JSON.stringify(edges.slice(at, at + EDGES_AT_ONCE))],
        deferred: true,
      };
    }
  }

  *#lock(ids: readonly string[]): Script<readonly Parent[]> {
    const rows = yield* query(
      `SELECT job_id, tenant_id, status, seq, extras FROM ${this.#t.jobs}
       WHERE seq ${this.#t.words.amongNumbers} ORDER BY seq ${this.#t.words.forUpdate}`,
      [JSON.stringify(ids.map((id) => seqOfId(id) ?? -1))],
    );
    return rows.map(([id, tenantId, status, seq, extras]) => ({
      owner: `${tenantId} ${id}`,
      status: status as JobStatus,
      seq: Number(seq),
      extras: extras as number | null,
    }));
  }
}

/** A job that is waited for, by tenant and id. */
interface Parent {
  readonly owner: string;
  readonly status: JobStatus;
  readonly seq: number;
  readonly extras: number | null;
}

const EDGE = {
  parent_seq: 'number',
  child_seq: 'number',
  on_failure: 'text',
  told: 'number',
} as const;

const EDGES_AT_ONCE = 5000;

/** The job that a draft met, where it was not stored. */
function jobOf(result: InsertResult): JobEntity | undefined {
  return result.outcome !== 'created' && 'job' in result ? result.job : undefined;
}

function idsOf({ extras }: JobDraft): readonly string[] {
  return (extras?.dependsOn ?? []).flatMap(({ on }) => (typeof on === 'string' ? [on] : []));
}

function idOf(result: InsertResult | undefined): string {
  switch (result?.outcome) {
    case 'created':
      return result.id;
    case 'taken':
    case 'existing':
    case 'replaced':
      return result.job.id;
    default:
      throw new Error('A job of this call that another one waits for was not stored.');
  }
}
