import { VERDICT } from '../../model/dependencies.js';
import { together, type Script } from '../dialects/sql.js';
import { CreatedJob } from '../job-of-draft.js';
import type {
  DraftDependency,
  DraftExtras,
  Failure,
  InsertResult,
  JobDraft,
  KeyHolder,
  Refusal,
} from '../store.js';
import { ExtrasInserts, readBeside } from './beside.script.js';
import { DependencyInserts, textOf, type Parents } from './dependency-inserts.js';
import type { EventScripts } from './event.scripts.js';
import { ID_TAKEN, type Inserts } from './inserts.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';
import { UniqueInserts, type KeyStandings } from './unique-inserts.js';
import { Held } from '../write-batch.js';

/**
 * Stores drafts that have to do with other jobs: first it is looked, under locks, what they name;
 * then they are stored as plain drafts are; then what stands beside them. One transaction takes the
 * drafts of many callers, and one that is refused harms no other.
 */
export class RelatedInserts {
  readonly #t: TableNames;
  readonly #extras: ExtrasInserts;
  readonly #inserts: Inserts;
  readonly #dependencies: DependencyInserts;
  readonly #uniques: UniqueInserts;
  readonly #events: EventScripts;

  constructor(
    tables: TableNames,
    inserts: Inserts,
    dependencies: DependencyInserts,
    uniques: UniqueInserts,
    events: EventScripts,
  ) {
    this.#t = tables;
    this.#extras = new ExtrasInserts(tables);
    this.#inserts = inserts;
    this.#dependencies = dependencies;
    this.#uniques = uniques;
    this.#events = events;
  }

  /** Each draft by itself: one may be refused and the next one stored. */
  *insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly InsertResult[]> {
    return yield* this.#insert(drafts, yield* this.#look(drafts, false, nowMs), nowMs);
  }

  /** The same without waiting for rows of jobs that somebody else has locked. */
  *insertPassing(
    drafts: readonly JobDraft[],
    nowMs: number,
  ): Script<readonly (InsertResult | Held)[]> {
    const seen = yield* this.#look(drafts, true, nowMs);
    const results = yield* this.#insert(drafts, seen, nowMs);
    return results.map((result, at) => heldIn(seen, at) ?? result);
  }

  *#insert(
    drafts: readonly JobDraft[],
    seen: Seen,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    const accepted = drafts.filter((_, at) => isAccepted(seen, at));
    const stored = yield* together(this.#inserts.insertLocked(accepted, nowMs));
    return yield* this.#relate(drafts, seen, stored, nowMs);
  }

  /** All or none: nothing is stored when a draft, or the holder of a key, is refused. */
  *insertAll(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    return yield* this.#insertAll(drafts, refuses, yield* this.#look(drafts, false, nowMs), nowMs);
  }

  /** The same without waiting for rows of jobs that somebody else has locked. */
  *insertAllPassing(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
    nowMs: number,
  ): Script<readonly InsertResult[] | Held> {
    const seen = yield* this.#look(drafts, true, nowMs);
    for (const index of drafts.keys()) {
      const held = heldIn(seen, index);
      if (held !== undefined) {
        yield* this.#uniques.take(seen.keys, [], nowMs);
        return held;
      }
    }
    return yield* this.#insertAll(drafts, refuses, seen, nowMs);
  }

  *#insertAll(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
    seen: Seen,
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    for (const index of drafts.keys()) {
      const by = this.#failure(seen, index);
      if (by !== undefined && refuses(by, index)) {
        yield* this.#uniques.take(seen.keys, [], nowMs);
        return [];
      }
    }
    const at = drafts.flatMap((_, index) => (isAccepted(seen, index) ? [index] : []));
    const accepted = at.map((index) => drafts[index] as JobDraft);
    const stored = yield* together(
      this.#inserts.insertAllLocked(
        accepted,
        (holder, index) => refuses(holder, at[index] ?? index),
        nowMs,
      ),
    );
    if (stored.length < accepted.length) {
      yield* this.#uniques.take(seen.keys, [], nowMs);
      return stored;
    }
    return yield* this.#relate(drafts, seen, stored, nowMs);
  }

  /** What drafts name, under locks: keys first, then rows of jobs. */
  *#look(drafts: readonly JobDraft[], passes: boolean, nowMs: number): Script<Seen> {
    const refused = new Map<number, Refusal | Held>();
    for (const draft of drafts) {
      draft.extras = draft.said ?? draft.extras;
    }
    yield* this.#inserts.lock();
    const keys = yield* this.#uniques.look(drafts, nowMs);
    const parents = yield* this.#dependencies.look(drafts, refused, passes);
    return { refused, parents, keys, conflicts: this.#uniques.conflicts(drafts, refused, keys) };
  }

  #failure({ refused, conflicts }: Seen, at: number): Failure | undefined {
    const refusal = refused.get(at);
    const conflict = conflicts.get(at);
    return refusal !== undefined && !(refusal instanceof Held) && isFailure(refusal)
      ? refusal
      : conflict && this.#uniques.failureOf(conflict);
  }

  /** What stands beside the rows that were stored, and the results of all drafts in their order. */
  *#relate(
    drafts: readonly JobDraft[],
    { refused, parents, keys, conflicts }: Seen,
    stored: readonly InsertResult[],
    nowMs: number,
  ): Script<readonly InsertResult[]> {
    let next = 0;
    const results = drafts.map((_, at) => {
      const refusal = refused.get(at);
      // An answer comes below, or later.
      return conflicts.has(at) || refusal instanceof Held
        ? ID_TAKEN
        : (refusal ?? (stored[next++] as InsertResult));
    });
    yield* this.#uniques.answer(conflicts, results);
    const created = results.filter((each) => each instanceof CreatedJob);
    for (const each of created) {
      const { draft } = each;
      if (draft.extras !== null) {
        draft.said ??= draft.extras;
        draft.extras = namedOnce(draft, draft.extras, results);
        each.dependsOn = textOf(draft.extras.dependsOn, results);
      }
    }
    yield* this.#extras.insert(created.flatMap(({ beside }) => beside ?? []));
    // One that met another draft of these has not seen yet what stands beside that.
    yield* readBeside(
      this.#t,
      results.flatMap((each) =>
        each.outcome === 'taken' && each.job.beside === undefined ? [each.job] : [],
      ),
    );
    yield* this.#uniques.take(keys, created, nowMs);
    yield* this.#uniques.replace(drafts, conflicts, results, nowMs);
    yield* this.#dependencies.store(created, results, parents, nowMs);
    yield* this.#events.created(created, nowMs);
    return results;
  }
}

/** What drafts meet. */
interface Seen {
  /** By place: not stored, whatever its key says. */
  readonly refused: ReadonlyMap<number, Refusal | Held>;
  readonly parents: Parents;
  readonly keys: KeyStandings | undefined;
  readonly conflicts: ReturnType<UniqueInserts['conflicts']>;
}

function isAccepted({ refused, conflicts }: Seen, at: number): boolean {
  return !refused.has(at) && !conflicts.has(at);
}

function heldIn({ refused }: Seen, at: number): Held | undefined {
  const refusal = refused.get(at);
  return refusal instanceof Held ? refusal : undefined;
}

/**
 * What a draft waits for, each job once and by what is stricter: jobs of one call may turn out to be the
 * same one, which was there before, or one that is named by its id too. It was counted for each name.
 */
function namedOnce(
  draft: JobDraft,
  extras: DraftExtras,
  results: readonly InsertResult[],
): DraftExtras {
  const { blocked } = draft;
  const isNew = ({ on }: DraftDependency): boolean =>
    typeof on === 'string' || results[on]?.outcome === 'created';
  if (blocked === undefined || extras.dependsOn.every(isNew)) {
    return extras;
  }
  const byId = new Map<string, DraftDependency>();
  let { by } = blocked;
  for (const each of extras.dependsOn) {
    const id = idOf(each.on, results);
    const known = byId.get(id);
    if (known === undefined) {
      byId.set(id, each);
      continue;
    }
    // It waits to be told of one that is named by its place, also where that has ended.
    const isPlaced = typeof known.on === 'number';
    by -= [known.on, each.on].every((on) => typeof on === 'number' || !blocked.ended.has(on))
      ? 1
      : 0;
    byId.set(id, {
      on: isPlaced ? known.on : each.on,
      onFailure:
        VERDICT[known.onFailure] < VERDICT[each.onFailure] ? each.onFailure : known.onFailure,
    });
  }
  draft.blocked = { ...blocked, by };
  return { ...extras, dependsOn: [...byId.values()] };
}

/** Of the job that is named by its id, or by its place in the call. */
function idOf(on: string | number, results: readonly InsertResult[]): string {
  const result = typeof on === 'number' ? results[on] : undefined;
  return typeof on === 'string'
    ? on
    : result?.outcome === 'created'
      ? result.id
      : result !== undefined && 'job' in result
        ? result.job.id
        : String(on);
}

/** Of the scripts that end jobs, and so tell those that wait for them. */
export function relatedInserts(
  tables: TableNames,
  inserts: Inserts,
  scripts: JobScripts,
): RelatedInserts {
  return new RelatedInserts(
    tables,
    inserts,
    new DependencyInserts(tables, scripts.consequences.dependencies),
    new UniqueInserts(tables, scripts),
    scripts.consequences.events,
  );
}

function isFailure(refusal: Refusal): refusal is Failure {
  return refusal.outcome === 'unknown_dependency' || refusal.outcome === 'duplicate';
}
