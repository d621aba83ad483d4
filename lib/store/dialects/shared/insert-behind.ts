import { VERDICT } from '../../../model/dependencies.js';
import { uuidParts } from '../../../model/id.js';
import type { CreatedJob } from '../../job-of-draft.js';
import type { InsertResult, JobDraft } from '../../store.js';
import { NOBODY, textOf } from '../../typeorm/dependency-inserts.js';
import type { Script } from '../sql.js';
import { seqOfId, seqOfParts } from './row-numbers.js';
import { groupByTerms, type ServerInserts } from './server-inserts.js';

/** A draft that names more is stored step by step: 200 of them are stored at once. */
const MOST_NAMED = 100;

/** The usual enqueue of jobs that wait for others, in few statements or messages. */
export interface InsertsBehind {
  /** Undefined where a draft, which suits, is to be stored step by step. */
  insert(drafts: readonly JobDraft[], nowMs: number): Script<readonly (InsertResult | undefined)[]>;
}

/** A job that others wait for, by what its dependents call it: where it is, and the rest of its id. */
export interface Named {
  readonly id: string;
  readonly seq: number;
  readonly high: number;
  readonly low: number;
}

/** A job that waits for another one. */
export type BehindEdge = readonly [parent: number, child: number, onFailure: string];

/** Jobs of the same terms that wait for others, and for whom. */
export interface Behind {
  readonly tenantId: string;
  readonly created: readonly CreatedJob[];
  /** In the order of their numbers, which is the order in which everybody locks. */
  readonly named: readonly Named[];
  readonly edges: readonly BehindEdge[];
}

/** Whether a draft waits for stored jobs and has nothing else to do with any. */
export function isJustBehind({ id, idempotencyKey, limitKey, extras }: JobDraft): boolean {
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
    extras.dependsOn.every(({ on }) => typeof on === 'string' && isJobId(on))
  );
}

/** Whether a text can be the id of a stored job; no other is looked for, or sent anywhere. */
function isJobId(id: string): boolean {
  return seqOfId(id) !== undefined && '89ab'.includes(id[19] ?? ' ');
}

/** Those that drafts name, by their ids. Drafts wait for them all, as long as nobody sees that one has ended. */
export function namedBy(drafts: readonly JobDraft[]): ReadonlyMap<string, Named> {
  const named = new Map<string, Named>();
  for (const draft of drafts) {
    const dependsOn = draft.extras?.dependsOn ?? [];
    draft.blocked = { by: dependsOn.length, verdict: VERDICT.run, ended: NOBODY };
    for (const { on } of dependsOn) {
      const id = String(on);
      if (!named.has(id)) {
        const parts = uuidParts(id);
        named.set(
          id,
          parts === undefined
            ? { id, seq: -1, high: 0, low: 0 }
            : { id, seq: seqOfParts(parts) ?? -1, high: parts.high, low: parts.low },
        );
      }
    }
  }
  return named;
}

/** Each job is given what it depends on, as it is stored; `edge`: told for each that it waits for, one by one. */
export function eachBehind(
  created: readonly CreatedJob[],
  named: ReadonlyMap<string, Named>,
  edge: (...edge: BehindEdge) => void,
): void {
  for (const job of created) {
    const dependsOn = job.draft.extras?.dependsOn ?? [];
    for (const { on, onFailure } of dependsOn) {
      edge(named.get(String(on))?.seq ?? -1, job.seq, onFailure);
    }
    job.dependsOn = textOf(dependsOn, []);
  }
}

/**
 * Where several processes write, as few messages: those that are named are locked, and if each of them
 * is there, is the tenant's and has not ended, all is stored; else nothing is, and it is done step by step.
 */
export abstract class ServerInsertsBehind implements InsertsBehind {
  readonly #inserts: ServerInserts;

  constructor(inserts: ServerInserts) {
    this.#inserts = inserts;
  }

  *insert(
    drafts: readonly JobDraft[],
    nowMs: number,
  ): Script<readonly (InsertResult | undefined)[]> {
    // A statement for each of several groups would not take the parents of all in one order.
    if (groupByTerms(drafts).length === 1) {
      const named = namedBy(drafts);
      const created = this.#inserts.number(drafts, nowMs);
      const edges: BehindEdge[] = [];
      eachBehind(created, named, (...edge) => edges.push(edge));
      const behind = {
        tenantId: drafts[0]?.terms.tenantId ?? '',
        created,
        named: [...named.values()].toSorted((a, b) => a.seq - b.seq),
        edges,
      };
      if (yield* this.store(behind, nowMs)) {
        return created;
      }
    }
    return drafts.map(() => undefined);
  }

  /** Whether all of it was stored; else nothing was, or what is there already is done again as it is. */
  protected abstract store(behind: Behind, nowMs: number): Script<boolean>;
}
