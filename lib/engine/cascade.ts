import { isAtRest, stillActive, type WaitingJob } from '../model/cascade.js';
import type { HistoryStore, JobStore } from '../store/store.js';

/** So many jobs are deleted in the transaction of the one that they wait for; others before it. */
const WITH_IT = 100;
/** Deletions that are asked for at once, and share transactions. */
const AT_ONCE = 20;
const PARENTS_AT_ONCE = 500;

interface Node {
  readonly job: WaitingJob;
  readonly children: number[];
}

/**
 * Deletes most of those that wait for a job, where they are many, each by itself and after those that wait
 * for it in turn: nobody ever waits for a job that is gone, and no transaction is as long as all of it.
 * The last few are left to the deletion of the job itself.
 *
 * @throws JobsError `job_active`, before anything is deleted if it is known by then
 */
export async function deleteAhead(
  store: { readonly jobs: JobStore; readonly history: HistoryStore },
  { id, seq }: { readonly id: string; readonly seq: number },
  removed: (id: string) => void,
): Promise<void> {
  const below = await waitingBelow(store.history, seq);
  if (below.length <= WITH_IT) {
    return;
  }
  const active = below.find(({ status }) => !isAtRest(status));
  if (active !== undefined) {
    throw stillActive(id, active);
  }
  for (let at = 0; at < below.length - WITH_IT; at += AT_ONCE) {
    const those = below.slice(at, Math.min(at + AT_ONCE, below.length - WITH_IT));
    await Promise.all(
      those.map(async (job) => {
        const result = await store.jobs.change(job.id, (stored) => {
          if (!isAtRest(stored.status)) {
            throw stillActive(id, stored);
          }
          return { set: {}, remove: true, cascade: true };
        });
        for (const gone of result === undefined ? [] : [result, ...(result.others ?? [])]) {
          removed(gone.before.id);
        }
      }),
    );
  }
}

/** All that wait for a job, and for those in turn; whoever waits for another one is before it. */
async function waitingBelow(history: HistoryStore, root: number): Promise<readonly WaitingJob[]> {
  const nodes = new Map<number, Node>();
  const ofRoot: number[] = [];
  for (let level = [root]; level.length > 0;) {
    const next: number[] = [];
    for (let at = 0; at < level.length; at += PARENTS_AT_ONCE) {
      const parents = level.slice(at, at + PARENTS_AT_ONCE);
      for (let after: readonly [number, number] | undefined = [-1, -1]; after !== undefined;) {
        const page: Awaited<ReturnType<HistoryStore['waitingFor']>> = await history.waitingFor(
          parents,
          after,
        );
        for (const { parent, seq, job } of page.waiting) {
          (nodes.get(parent)?.children ?? ofRoot).push(seq);
          if (!nodes.has(seq)) {
            nodes.set(seq, { job, children: [] });
            next.push(seq);
          }
        }
        after = page.next;
      }
    }
    level = next;
  }
  return leavesFirst(nodes, ofRoot);
}

/** In an order in which each comes after its children, without a step deeper for each level. */
function leavesFirst(
  nodes: ReadonlyMap<number, Node>,
  ofRoot: readonly number[],
): readonly WaitingJob[] {
  const order: WaitingJob[] = [];
  const seen = new Set<number>();
  const path: { readonly seq: number; readonly left: Iterator<number> }[] = [
    { seq: -1, left: ofRoot.values() },
  ];
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const child = top.left.next();
    if (child.done === true) {
      path.pop();
      const job = nodes.get(top.seq)?.job;
      if (job !== undefined) {
        order.push(job);
      }
    } else if (!seen.has(child.value)) {
      seen.add(child.value);
      path.push({ seq: child.value, left: (nodes.get(child.value)?.children ?? []).values() });
    }
  }
  return order;
}
