import type { ReadyFront } from '../dialects/postgres/ready-front.js';
import { isDue, startOf } from '../job-of-draft.js';
import type { ChangeResult, InsertResult, JobStore } from '../store.js';

/** The same store, which notes what comes to stand in line, where claims do not find it by themselves. */
export function noting(jobs: JobStore, front: ReadyFront, nowMs: () => number): JobStore {
  const inserted = (result: InsertResult | undefined): void => {
    if (result?.outcome === 'replaced') {
      changed(result.news);
      return;
    }
    if (result?.outcome !== 'created' || result.draft.limitKey !== null) {
      return;
    }
    const { terms } = result.draft;
    if (isDue(terms, result.nowMs)) {
      const { type, channel, priority } = terms;
      const runAtMs = startOf(terms, result.scheduledAtMs, result.nowMs);
      front.stored({ type, channel, priority, runAtMs }, nowMs());
    }
  };
  const changed = (result: ChangeResult | undefined): ChangeResult | undefined => {
    if (result?.after.ready === 1) {
      front.stored(result.after, nowMs());
    }
    return result;
  };
  return {
    ...jobs,
    insert: (draft) => {
      const inserting = jobs.insert(draft);
      return front.isBounded
        ? inserting.then((result) => {
            inserted(result);
            return result;
          })
        : inserting;
    },
    insertAll: async (drafts, refuses) => {
      const results = await jobs.insertAll(drafts, refuses);
      if (front.isBounded) {
        results.forEach(inserted);
      }
      return results;
    },
    change: async (id, decide, tenantId) => changed(await jobs.change(id, decide, tenantId)),
    settle: async (id, decide) => changed(await jobs.settle(id, decide)),
    takeBack: async (id, decide, waitMs) => {
      const result = await jobs.takeBack(id, decide, waitMs);
      return result === 'locked' ? result : changed(result);
    },
    readied: () => front.doubt(),
    promote: async (limit) => {
      const result = await jobs.promote(limit);
      if (result.promoted > 0) {
        front.doubt();
      }
      return result;
    },
  };
}
