import type { JobEntity } from '../../entities/job.entity.js';
import { whyNotReplaced, type Replaceable, type UniqueConflict } from '../../model/unique.js';
import { query, type Script } from '../dialects/sql.js';
import { CreatedJob, isDue, kindOf, startsNow } from '../job-of-draft.js';
import type { Failure, InsertResult, JobDraft } from '../store.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';
import {
  isHeld,
  nameOf,
  type LastClaim,
  type Standing,
  type UniqueKey,
  type UniqueKeys,
} from './unique-keys.js';

/** A draft that meets the holder of its key: a stored job, or an earlier draft by its place. */
interface Conflict {
  /** What is done about it; who cannot be replaced any more makes it a `reject`. */
  readonly mode: UniqueConflict;
  readonly holder: string | number;
  /** Why the holder is not replaced, though it was asked for. */
  readonly kept: string | undefined;
}

/** The keys that drafts claim, as they stand; they are locked. */
export interface KeyStandings {
  readonly keys: readonly UniqueKey[];
  readonly held: ReadonlyMap<string, { readonly last: LastClaim; readonly job?: Standing }>;
  /** Places of drafts whose idempotency key is known: that comes before uniqueness. */
  readonly known: ReadonlySet<number>;
}

/** What becomes of drafts by their unique keys. */
export class UniqueInserts {
  readonly #t: TableNames;
  readonly #scripts: JobScripts;
  readonly #keys: UniqueKeys;

  constructor(tables: TableNames, scripts: JobScripts) {
    this.#t = tables;
    this.#scripts = scripts;
    this.#keys = scripts.consequences.uniques;
  }

  /** Locks the keys, and the jobs whose params are to be replaced. */
  *look(drafts: readonly JobDraft[], nowMs: number): Script<KeyStandings | undefined> {
    const claiming = drafts.filter(({ extras }) => (extras?.uniqueClaim ?? null) !== null);
    if (claiming.length === 0) {
      return undefined;
    }
    const keys = claiming.flatMap((draft) => keyOf(draft) ?? []);
    const lasts = yield* this.#keys.lock(keys);
    const known = yield* this.#known(drafts);
    const seqs = [...lasts.values()].map(({ jobSeq }) => jobSeq);
    const standings = new Map(yield* this.#keys.standings(seqs, false));
    const replaced = new Set(
      claiming
        .filter(({ extras }) => extras?.uniqueClaim?.onConflict === 'replace')
        .map((draft) => lasts.get(nameOf(keyOf(draft) ?? NO_KEY))?.jobSeq),
    );
    const waiting = [...standings.values()].filter(
      (job) => replaced.has(job.seq) && whyNotReplaced(job, job) === undefined,
    );
    // Nobody claims, cancels or deletes these from here on. The others are left alone.
    const locked = yield* this.#keys.standings(
      waiting.map(({ seq }) => seq),
      true,
    );
    for (const { seq } of waiting) {
      const now = locked.get(seq);
      if (now === undefined) {
        standings.delete(seq);
      } else {
        standings.set(seq, now);
      }
    }
    const held = new Map(
      [...lasts].flatMap(([name, last]) => {
        const job = standings.get(last.jobSeq);
        return isHeld(last, job, nowMs)
          ? [[name, job === undefined ? { last } : { last, job }] as const]
          : [];
      }),
    );
    return { keys, held, known };
  }

  /** The drafts that are not stored, because others have their keys; `refused` ones claim nothing. */
  conflicts(
    drafts: readonly JobDraft[],
    refused: ReadonlyMap<number, unknown>,
    standings: KeyStandings | undefined,
  ): ReadonlyMap<number, Conflict> {
    const conflicts = new Map<number, Conflict>();
    const firsts = new Map<string, number>();
    for (const [at, draft] of drafts.entries()) {
      const key = keyOf(draft);
      if (
        key === undefined ||
        standings === undefined ||
        refused.has(at) ||
        standings.known.has(at)
      ) {
        continue;
      }
      const name = nameOf(key);
      const holder = standings.held.get(name);
      const first = firsts.get(name);
      const earlier = first === undefined ? undefined : drafts[first];
      if (holder !== undefined && holder.last.jobId !== draft.tried?.id) {
        conflicts.set(at, { ...modeOf(draft, holder.job), holder: holder.last.jobId });
      } else if (first === undefined || earlier === undefined) {
        firsts.set(name, at);
      } else if (draft.idempotencyKey === null || draft.idempotencyKey !== earlier.idempotencyKey) {
        const waiting = { ...earlier.terms, status: 'waiting', revision: 0 } as const;
        conflicts.set(at, { ...modeOf(draft, waiting), holder: first });
      }
    }
    return conflicts;
  }

  /** What a conflict is a failure of, if it is one. */
  failureOf({ mode, holder, kept }: Conflict): Failure | undefined {
    return mode === 'reject'
      ? { outcome: 'duplicate', id: typeof holder === 'string' ? holder : undefined, kept }
      : undefined;
  }

  /** Answers conflicts, once the others are stored; what is replaced is so afterwards. */
  *answer(conflicts: ReadonlyMap<number, Conflict>, results: InsertResult[]): Script<void> {
    for (const [at, { mode, holder, kept }] of conflicts) {
      const earlier = typeof holder === 'number' ? results[holder] : undefined;
      if (earlier?.outcome === 'id_taken') {
        results[at] = earlier;
        continue;
      }
      const job =
        typeof holder === 'string'
          ? mode === 'reject'
            ? undefined
            : yield* this.#scripts.find(holder, undefined)
          : earlier !== undefined && 'job' in earlier
            ? earlier.job
            : undefined;
      results[at] =
        mode === 'reject' || job === undefined
          ? { outcome: 'duplicate', id: typeof holder === 'string' ? holder : job?.id, kept }
          : { outcome: 'existing', job };
    }
  }

  /** Lays the params and times of drafts over those of the jobs that they met. */
  *replace(
    drafts: readonly JobDraft[],
    conflicts: ReadonlyMap<number, Conflict>,
    results: InsertResult[],
    nowMs: number,
  ): Script<void> {
    for (const [at, { mode }] of conflicts) {
      const met = results[at];
      const draft = drafts[at];
      if (mode !== 'replace' || draft === undefined || met?.outcome !== 'existing') {
        continue;
      }
      const news = yield* this.#scripts.change(
        met.job.id,
        (job, now) =>
          job.status === 'waiting' && job.revision === 0
            ? { set: replacement(draft, job, now) }
            : undefined,
        undefined,
        nowMs,
      );
      results[at] =
        news?.changed === true
          ? { outcome: 'replaced', job: news.after, news }
          : {
              outcome: 'duplicate',
              id: met.job.id,
              kept: whyNotReplaced(met.job, draft.terms),
            };
    }
  }

  /** The keys are those of the jobs that were stored; what nobody took is forgotten. */
  *take(
    standings: KeyStandings | undefined,
    created: readonly CreatedJob[],
    nowMs: number,
  ): Script<void> {
    if (standings === undefined) {
      return;
    }
    const taken = created.flatMap(({ draft, seq, id }) => {
      const key = keyOf(draft);
      const claim = draft.extras?.uniqueClaim ?? null;
      return key === undefined || claim === null
        ? []
        : [
            {
              ...key,
              jobSeq: seq,
              jobId: id,
              heldUntil: claim.until,
              withinUntilMs: claim.withinMs === 0 ? 0 : nowMs + claim.withinMs,
            },
          ];
    });
    yield* this.#keys.take(taken);
    const names = new Set([...taken.map(nameOf), ...standings.held.keys()]);
    const left = standings.keys.filter((key) => !names.has(nameOf(key)));
    if (left.length > 0) {
      yield* this.#keys.forget(left);
    }
  }

  /** Places of drafts whose idempotency key names a stored job by now. */
  *#known(drafts: readonly JobDraft[]): Script<ReadonlySet<number>> {
    const known = new Set<number>();
    for (const [at, draft] of drafts.entries()) {
      if (draft.idempotencyKey !== null && keyOf(draft) !== undefined) {
        const rows = yield* query(
          `SELECT 1 FROM ${this.#t.jobs}
           WHERE tenant_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL ${this.#scripts.latest}`,
          [draft.terms.tenantId, draft.idempotencyKey],
        );
        if (rows.length > 0) {
          known.add(at);
        }
      }
    }
    return known;
  }
}

/** The key outlives it for the time that it was given. */
const GONE = 'is there no more';
const NO_KEY: UniqueKey = { tenantId: '', key: '' };

/** The key that a draft claims. */
function keyOf({ extras, terms }: JobDraft): UniqueKey | undefined {
  const claim = extras?.uniqueClaim ?? null;
  return claim === null ? undefined : { tenantId: terms.tenantId, key: claim.key };
}

/** What a draft does about the holder of its key, a job that may be gone. */
function modeOf(
  { extras, terms }: JobDraft,
  holder: Replaceable | undefined,
): Pick<Conflict, 'mode' | 'kept'> {
  const mode = extras?.uniqueClaim?.onConflict ?? 'reject';
  const kept =
    mode !== 'replace' ? undefined : holder === undefined ? GONE : whyNotReplaced(holder, terms);
  return { mode: kept === undefined ? mode : 'reject', kept };
}

/** What the job that waits gets of the draft; one that is due and stays so keeps its place in line. */
function replacement(draft: JobDraft, job: JobEntity, nowMs: number): Partial<JobEntity> {
  const { terms } = draft;
  return {
    params: draft.params,
    limitKey: draft.limitKey,
    kind: job.kind === 'periodic' ? 'periodic' : kindOf(draft, isDue(terms, nowMs)),
    runAtMs: startsNow(terms)
      ? Math.min(job.runAtMs, nowMs)
      : (terms.runAtMs ?? nowMs + terms.delayMs),
    expiresAtMs: terms.expiresAtMs,
    priority: terms.priority,
    timeoutSec: terms.timeoutSec,
    maxRetries: terms.maxRetries,
    retryDelaySec: terms.retryDelaySec,
  };
}
