import type { Session } from '../dialects/session.js';
import { isJustBehind, type InsertsBehind } from '../dialects/shared/insert-behind.js';
import { quietly, type TimedScript } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type {
  ChangeResult,
  ClaimRequest,
  Completion,
  InsertResult,
  JobDraft,
  JobStore,
  LimitedClaim,
  LimitedRequest,
  RelatedCompletion,
  RunReport,
} from '../store.js';
import type { BatchKind, Held } from '../write-batch.js';
import type { Writer } from '../writer.js';
import type { Claims } from './claim.script.js';
import type { CountScripts } from './count.scripts.js';
import type { DutyScripts } from './duty.scripts.js';
import type { Inserts } from './inserts.js';
import type { JobScripts } from './job.scripts.js';
import { completeHeard } from './heard-ends.script.js';
import { leaseStore } from './lease.store.js';
import { KeyLooks } from './key-looks.js';
import type { ListScripts } from './list.script.js';
import { lockScript } from './lock.script.js';
import { NONE, type LimitedClaims } from './limited-claim.script.js';
import { hasDeleted, purge, sweep, type PurgedTo } from './purge.script.js';
import { readsOf } from './reads.js';
import type { RelatedInserts } from './related-inserts.js';
import { inSlices, Turns, type PacedScript } from './slices.js';
import type { TableNames } from './table-names.js';

interface InsertAll {
  readonly drafts: readonly JobDraft[];
  readonly refuses: Parameters<JobStore['insertAll']>[1];
}

/** What the jobs' part of the store is built from. */
export interface JobStoreParts {
  readonly tables: TableNames;
  readonly scripts: JobScripts;
  readonly claims: Claims;
  readonly limited: LimitedClaims;
  readonly inserts: Inserts;
  readonly related: RelatedInserts;
  readonly behind: InsertsBehind;
  readonly lists: ListScripts;
  readonly tallies: CountScripts;
  readonly duties: DutyScripts;
  readonly session: () => Session;
  readonly writer: () => Writer;
  /**
   * Where a database takes several writers: one for what is enqueued, another for what may have to
   * wait for somebody who holds the same key, or has locked a job that it waits for; one for what is asked of a
   * single job or done in the background. What runs say and how they end stays with `writer`.
   */
  readonly inserter?: (mayWait: boolean) => Writer;
  readonly aside?: () => Writer;
  /**
   * Where an empty claim writes nothing and holds up nobody, so that it needs no look before: called
   * after one that took something.
   */
  readonly claimed?: () => void;
  /** Whether a statement costs so much that looks for keys had better share it. */
  readonly gathersLooks?: boolean;
  /** Copies the log of writes back, where deleting leaves much of it. */
  readonly checkpoint?: () => Promise<unknown>;
}

/**
 * Builds the jobs' part of the store. The ranks order the kinds of one transaction: what callers
 * enqueue, what handlers report, what runs end, everything else, and last what workers take, so
 * that one commit finishes a batch of jobs and claims the next.
 */
export function jobStore(parts: JobStoreParts): JobStore {
  const { scripts, claims, limited, inserts, related, lists, tallies, duties } = parts;
  const insertKind: BatchKind<JobDraft, InsertResult> = {
    name: 'insert',
    rank: 10,
    maxItems: 500,
    isRepeatable: true,
    script: (drafts, now) => inserts.insert(drafts, now),
  };
  const insertAllKind: BatchKind<InsertAll, readonly InsertResult[]> = {
    name: 'insert all',
    rank: 50,
    maxItems: 1,
    isRepeatable: true,
    *script(calls, now) {
      const results = [];
      for (const { drafts, refuses } of calls) {
        results.push(yield* inserts.insertAll(drafts, refuses, now));
      }
      return results;
    },
  };
  const relatedAllKind: BatchKind<InsertAll, readonly InsertResult[] | Held> = {
    ...insertAllKind,
    name: 'insert all related',
    needs: ({ drafts }) => drafts.flatMap(parentsOf),
    *script(calls, now) {
      const results = [];
      for (const { drafts, refuses } of calls) {
        results.push(yield* related.insertAllPassing(drafts, refuses, now));
      }
      return results;
    },
  };
  const relatedKind: BatchKind<JobDraft, InsertResult | Held> = {
    name: 'insert related',
    rank: 12,
    maxItems: 200,
    isRepeatable: true,
    needs: parentsOf,
    script: (drafts, now) => related.insertPassing(drafts, now),
  };
  const behindKind: BatchKind<JobDraft, InsertResult | undefined> = {
    name: 'insert behind others',
    rank: 11,
    maxItems: 200,
    isRepeatable: true,
    needs: parentsOf,
    passing: relatedKind,
    script: (drafts, now) => parts.behind.insert(drafts, now),
  };
  const reportKind: BatchKind<RunReport, boolean> = {
    name: 'report',
    rank: 15,
    maxItems: 500,
    orderOf: (report) => report.seq,
    script: (reports, now) => scripts.report(reports, now),
  };
  const completeKind: BatchKind<Completion, boolean> = {
    name: 'complete',
    rank: 30,
    maxItems: 1000,
    orderOf: (completion) => completion.seq,
    script: (completions, now) => scripts.complete(completions, now),
  };
  const completeRelatedKind: BatchKind<Completion, RelatedCompletion> = {
    name: 'complete related',
    rank: 31,
    maxItems: 500,
    orderOf: (completion) => completion.seq,
    script: (completions, now) => scripts.completeRelated(completions, now),
  };
  const completeHeardKind: BatchKind<Completion, ChangeResult | undefined> = {
    name: 'complete heard',
    rank: 32,
    // Each is read with all that belongs to it, which may be as much as a megabyte.
    maxItems: 100,
    orderOf: (completion) => completion.seq,
    script: (completions, now) => completeHeard(parts.tables, scripts, completions, now),
  };
  const claimKind: BatchKind<ClaimRequest, Awaited<ReturnType<JobStore['claim']>>> = {
    name: 'claim',
    rank: 90,
    maxItems: 100,
    *script(requests, now) {
      const taken = [];
      for (const request of requests) {
        taken.push(yield* claims.claim(request, now));
      }
      return taken;
    },
  };
  const quietClaimKind = { ...claimKind, isQuiet: true };
  const limitedKind: BatchKind<LimitedRequest, LimitedClaim> = {
    name: 'claim within limits',
    rank: 91,
    maxItems: 1,
    *script(requests, now) {
      const claimed = [];
      for (const request of requests) {
        claimed.push(yield* limited.claim(request, now));
      }
      return claimed;
    },
  };
  const quietLimitedKind = { ...limitedKind, isQuiet: true };
  const atOnceKind: BatchKind<LimitedRequest, LimitedClaim | undefined> = {
    name: 'claim within limits at once',
    rank: 91,
    maxItems: 1,
    *script(requests, now) {
      const claimed = [];
      for (const request of requests) {
        claimed.push(yield* limited.claimAtOnce(request, now));
      }
      return claimed;
    },
  };
  const read = readsOf(parts.session);
  const looks = parts.gathersLooks === true ? new KeyLooks(read, lists) : undefined;
  const turns = new Turns();
  const sliced = <T>(script: PacedScript<T>): Promise<T> => inSlices(read, turns, script);
  const writer = async (): Promise<Writer> => Promise.resolve(parts.writer());
  const { inserter = parts.writer, aside = parts.writer, checkpoint } = parts;
  const asideWriter = async (): Promise<Writer> => Promise.resolve(aside());
  let slices = 0;
  /** By status, how far the present walk of retention has come. */
  const purgedTo = new Map<string, PurgedTo>();
  const deleting = async (script: TimedScript<boolean>): Promise<boolean> => {
    const isMore = await (await asideWriter()).write(quietly(script), 'engine');
    slices += 1;
    if (isMore && checkpoint !== undefined && slices % SLICES_OF_A_CHECKPOINT === 0) {
      // The automatic one would copy all that was deleted at once, and everybody would wait for it.
      await new Promise((resolve) => setImmediate(resolve));
      await checkpoint().catch(() => undefined);
    }
    return isMore;
  };
  return {
    ...leaseStore({ ...parts, aside }),
    insert: (draft) => {
      const to = inserter(mayWait(draft));
      if (draft.extras === null) {
        return to.add(insertKind, draft, 'caller');
      }
      if (!isJustBehind(draft)) {
        return to.add(relatedKind, draft, 'caller');
      }
      const since = performance.now();
      return to
        .add(behindKind, draft, 'caller', since)
        .then((stored) => stored ?? to.add(relatedKind, draft, 'caller', since));
    },
    insertAll: async (drafts, refuses) => {
      const to = await Promise.resolve(inserter(drafts.some(mayWait)));
      const call = { drafts, refuses };
      return drafts.every(({ extras }) => extras === null)
        ? to.add(insertAllKind, call, 'caller')
        : to.add(relatedAllKind, call, 'caller');
    },
    find: (id, tenantId) => read(() => lists.find(id, tenantId)),
    findByKey: (tenantId, key) =>
      looks?.find(tenantId, key) ?? read(() => lists.findByKey(tenantId, key)),
    list: (request) => sliced((_now, pace) => lists.list(request, pace)),
    claim: async (request) => {
      if (!request.onlyIfReady) {
        return parts.writer().add(claimKind, request, 'engine');
      }
      if (parts.claimed === undefined) {
        return (await read(() => claims.hasReady(request)))
          ? parts.writer().add(claimKind, request, 'engine')
          : [];
      }
      const taken = await parts.writer().add(quietClaimKind, request, 'engine');
      if (taken.length > 0) {
        parts.claimed();
      }
      return taken;
    },
    claimWithin: async (request) => {
      if (!request.onlyIfReady) {
        const atOnce = limited.maySuit(request)
          ? await parts.writer().add(atOnceKind, request, 'engine')
          : undefined;
        return atOnce ?? parts.writer().add(limitedKind, request, 'engine');
      }
      if (!(await read(() => limited.hasReady(request)))) {
        return NONE;
      }
      // Whoever is held back must not tell others, who would try and tell in turn.
      const claimed = await parts.writer().add(quietLimitedKind, request, 'engine');
      if (claimed.jobs.length > 0) {
        parts.claimed?.();
      }
      return claimed;
    },
    keyedTypes: (types) => read(() => limited.keyedTypes(types)),
    comeBack: async (id, runId, request) =>
      (await writer()).write((now) => limited.comeBack(id, runId, request, now), 'engine'),
    complete: (completion) => parts.writer().add(completeKind, completion, 'engine'),
    completeRelated: (completion) => parts.writer().add(completeRelatedKind, completion, 'engine'),
    completeHeard: (completion) => parts.writer().add(completeHeardKind, completion, 'engine'),
    report: (report) => parts.writer().add(reportKind, report, 'engine'),
    change: async (id, decide, tenantId) =>
      (await asideWriter()).write(
        (now) => scripts.change(id, decide, tenantId, now),
        'caller',
        seqOfId(id),
      ),
    settle: async (id, decide) =>
      (await writer()).write(
        (now) => scripts.change(id, decide, undefined, now),
        'engine',
        seqOfId(id),
      ),
    lock: async (id, runId, otherId) =>
      (await writer()).write(
        (now) => lockScript(parts.tables, scripts, id, runId, otherId, now),
        'engine',
      ),
    expire: async (limit) =>
      (await read((now) => duties.isAnyOverdue(now)))
        ? (await writer()).write((now) => duties.expire(limit, scripts, now), 'engine')
        : { jobs: [], results: [] },
    readied: () => undefined,
    tellDependents: async () =>
      (await read(() => scripts.consequences.dependencies.isAnyUntold()))
        ? (await asideWriter()).write((now) => scripts.consequences.goOn(now), 'engine')
        : {},
    promote: async (limit) => {
      const next = await read((now) => scripts.nextDue(now));
      return next === 0
        ? (await asideWriter()).write((now) => scripts.promote(limit, now), 'engine')
        : { promoted: 0, nextInMs: next };
    },
    purge: (status, olderThanMs) =>
      deleting(function* (now) {
        const from = purgedTo.get(status);
        const to = yield* purge(parts.tables, status, now - olderThanMs, now, from);
        if (to === undefined) {
          purgedTo.delete(status);
        } else {
          purgedTo.set(status, to);
        }
        return to !== undefined;
      }),
    sweep: async () => {
      if (await read((now) => limited.isAnyOver(now))) {
        await (
          await asideWriter()
        ).write(
          quietly((now) => limited.forget(now)),
          'engine',
        );
      }
      return (await read(() => hasDeleted(parts.tables))) && deleting(() => sweep(parts.tables));
    },
    waitingIn: (queue, limit, after, tenantId) =>
      sliced((_now, pace) => tallies.waitingIn(queue, limit, after, tenantId, pace)),
    standings: (ids) => read(() => duties.standings(ids)),
    counts: (tenantId) => sliced((_now, pace) => tallies.counts(tenantId, pace)),
    queueCounts: (queue, types, tenantId) =>
      sliced((_now, pace) => tallies.queueCounts(queue, types, tenantId, pace)),
    oldestWaitingAtMs: (types, tenantId) =>
      sliced((_now, pace) => tallies.oldestWaiting(types, tenantId, pace)),
    completedSince: (ageMs, tenantId) =>
      sliced((now, pace) => tallies.completedSince(now - ageMs, tenantId, pace)),
  };
}

/** Some hundred pages of the write-ahead log. */
const SLICES_OF_A_CHECKPOINT = 2;

/** Whether it may have to wait for another transaction, which has the same key or a job that it names. */
function mayWait({ idempotencyKey, extras }: JobDraft): boolean {
  return (
    idempotencyKey !== null ||
    (extras !== null && (extras.uniqueClaim !== null || extras.dependsOn.length > 0))
  );
}

/** The rows of stored jobs that a draft waits for. */
function parentsOf({ extras }: JobDraft): readonly number[] {
  return (extras?.dependsOn ?? []).flatMap(({ on }) =>
    typeof on === 'string' ? (seqOfId(on) ?? []) : [],
  );
}
