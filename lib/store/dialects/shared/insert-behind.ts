import { VERDICT } from '../../../model/dependencies.js';
import { besideOf, type CreatedJob } from '../../job-of-draft.js';
import type { InsertResult, JobDraft } from '../../store.js';
import { NOBODY, textOf } from '../../typeorm/dependency-inserts.js';
import type { Script } from '../sql.js';
import { seqOfId } from './row-numbers.js';
import { groupByTerms, type ServerInserts } from './server-inserts.js';

/** A draft that names more is stored step by step: 200 of them are stored at once. */
const MOST_NAMED = 100;

/** A job that others wait for, by what its dependents call it. */
export interface Named {
  readonly id: string;
  readonly seq: number;
}

/** Jobs of the same terms that wait for others, and for whom. */
export interface Behind {
  readonly tenantId: string;
  readonly created: readonly CreatedJob[];
  /** In the order of their numbers, which is the order in which everybody locks. */
  readonly named: readonly Named[];
  readonly edges: readonly (readonly [parent: number, child: number, onFailure: string])[];
}

/**
 * The usual enqueue of jobs that wait for others as few messages: those that they name are locked, and
 * if each of them is there, is the tenant's and has not ended, all is stored; else nothing is, and it
 * is done step by step.
 */
export abstract class InsertsBehind {
  readonly #inserts: ServerInserts;

  constructor(inserts: ServerInserts) {
    this.#inserts = inserts;
  }

  /** Whether a draft waits for stored jobs and has nothing else to do with any. */
  suits({ id, idempotencyKey, limitKey, extras }: JobDraft): boolean {
    return (
      extras !== null &&
      extras.dependsOn.length > 0 &&
      extras.dependsOn.length <= MOST_NAMED &&
      extras.uniqueClaim === null &&
      extras.statusHook === null &&
      extras.scheduleId === null &&
      !extras.isHeard &&
      id === undefined &&
      idempotencyKey === null &&
      limitKey === null &&
      extras.dependsOn.every(({ on }) => typeof on === 'string' && seqOfId(on) !== undefined)
    );
  }

  /** Undefined where a draft is to be stored step by step. */
  *insert(
    drafts: readonly JobDraft[],
    nowMs: number,
  ): Script<readonly (InsertResult | undefined)[]> {
    // A statement for each of several groups would not take the parents of all in one order.
    if (groupByTerms(drafts).length === 1) {
      const behind = this.#behind(drafts, nowMs);
      if (yield* this.store(behind, nowMs)) {
        return behind.created;
      }
    }
    return drafts.map(() => undefined);
  }

  /** Whether all of it was stored; else nothing was, or what is there already is done again as it is. */
  protected abstract store(behind: Behind, nowMs: number): Script<boolean>;

  #behind(drafts: readonly JobDraft[], nowMs: number): Behind {
    const named = new Map<string, number>();
    const edges: [number, number, string][] = [];
    for (const draft of drafts) {
      const by = draft.extras?.dependsOn.length ?? 0;
      draft.blocked = { by, verdict: VERDICT.run, ended: NOBODY };
    }
    const created = this.#inserts.number(drafts, nowMs);
    for (const each of created) {
      const { draft, seq } = each;
      if (draft.extras === null) {
        continue;
      }
      for (const { on, onFailure } of draft.extras.dependsOn) {
        const id = String(on);
        let parent = named.get(id);
        if (parent === undefined) {
          parent = seqOfId(id) ?? -1;
          named.set(id, parent);
        }
        edges.push([parent, seq, onFailure]);
      }
      each.beside = besideOf(draft.extras, textOf(draft.extras.dependsOn, []), each);
    }
    return {
      tenantId: drafts[0]?.terms.tenantId ?? '',
      created,
      named: [...named].map(([id, seq]) => ({ id, seq })).toSorted((a, b) => a.seq - b.seq),
      edges,
    };
  }
}
