import { together, type Script } from '../dialects/sql.js';
import { besideOf, CreatedJob } from '../job-of-draft.js';
import type { Failure, InsertResult, JobDraft, KeyHolder, Refusal } from '../store.js';
import { insertExtras } from './beside.script.js';
import { DependencyInserts } from './dependency-inserts.js';
import type { Inserts } from './inserts.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';

/**
 * Stores drafts that have to do with other jobs: first it is looked, under locks, what they name;
 * then they are stored as plain drafts are; then what stands beside them. One transaction takes the
 * drafts of many callers, and one that is refused harms no other.
 */
export class RelatedInserts {
  readonly #t: TableNames;
  readonly #inserts: Inserts;
  readonly #dependencies: DependencyInserts;

  constructor(tables: TableNames, inserts: Inserts, dependencies: DependencyInserts) {
    this.#t = tables;
    this.#inserts = inserts;
    this.#dependencies = dependencies;
  }

  /** Each draft by itself: one may be refused and the next one stored. */
  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    const refused = yield* this.#look(drafts);
    const accepted = drafts.filter((_, at) => !refused.has(at));
    const stored = yield* together(this.#inserts.insertLocked(accepted, nowMs));
    return yield* this.#relate(drafts, refused, stored, nowMs);
  }

  /** All or none: nothing is stored when a draft, or the holder of a key, is refused. */
  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    const refused = yield* this.#look(drafts);
    for (const [index, by] of refused) {
      if (isFailure(by) && refuses(by, index)) {
        return [];
      }
    }
    const at = drafts.flatMap((_, index) => (refused.has(index) ? [] : [index]));
    const accepted = at.map((index) => drafts[index] as JobDraft);
    const stored = yield* together(
      this.#inserts.insertAllLocked(
        accepted,
        (holder, index) => refuses(holder, at[index] ?? index),
        nowMs,
      ),
    );
    return stored.length < accepted.length
      ? stored
      : yield* this.#relate(drafts, refused, stored, nowMs);
  }

  /** What is refused, by place; the rest is ready to be stored. */
  *#look(drafts: readonly JobDraft[]): Script<Map<number, Refusal>> {
    const refused = new Map<number, Refusal>();
    yield* this.#inserts.lock();
    yield* this.#dependencies.look(drafts, refused);
    return refused;
  }

  /** What stands beside the rows that were stored, and the results of all drafts in their order. */
  *#relate(
    drafts: readonly JobDraft[],
    refused: ReadonlyMap<number, Refusal>,
    stored: readonly InsertResult[],
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    let next = 0;
    const results = drafts.map((_, at) => refused.get(at) ?? (stored[next++] as InsertResult));
    const created = results.filter((each) => each instanceof CreatedJob);
    for (const each of created) {
      const { draft } = each;
      if (draft.extras !== null) {
        const dependsOn = this.#dependencies.textOf(draft.extras.dependsOn, results);
        each.beside = besideOf(draft.extras, dependsOn, each);
      }
    }
    yield* insertExtras(
      this.#t,
      created.flatMap(({ beside }) => beside ?? []),
    );
    yield* this.#dependencies.store(created, results, nowMs);
    return results;
  }
}

/** Of the scripts that end jobs, and so tell those that wait for them. */
export function relatedInserts(
  tables: TableNames,
  inserts: Inserts,
  { consequences }: JobScripts,
): RelatedInserts {
  return new RelatedInserts(
    tables,
    inserts,
    new DependencyInserts(tables, consequences.dependencies),
  );
}

function isFailure(refusal: Refusal): refusal is Failure {
  return refusal.outcome === 'unknown_dependency' || refusal.outcome === 'duplicate';
}
