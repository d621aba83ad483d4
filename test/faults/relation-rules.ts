import { FINAL, groupBy, pairs, paramsOf, type Case } from './case.js';
import type { Change } from './history.js';

/**
 * Rules about jobs that have to do with others. What they were to have is in their params, as the test
 * gave it; when what happened is by the database's time, and exact: whoever finds a job ended was
 * told so by a transaction that was over.
 */

/** Each job holds its key from when it is stored until it has ended. */
export function* checkUniqueKeys({ jobs, changes, births }: Case): Iterable<string> {
  const ends = endsOf(changes);
  const claiming = jobs.filter((job) => paramsOf(job).unique !== undefined);
  for (const [key, same] of groupBy(
    claiming,
    (job) => `${job.tenant_id} ${paramsOf(job).unique}`,
  )) {
    const held = same
      .map(({ job_id: id }) => ({ id, from: births.get(id) ?? 0, to: ends.get(id) ?? Infinity }))
      .sort((a, b) => a.from - b.from);
    for (const { id } of held.filter((each) => each.from === 0)) {
      yield `job ${id} holds the key ${key}, and when it was stored was not written down`;
    }
    for (const [before, after] of pairs(held)) {
      if (after.from < before.to) {
        yield `job ${after.id} was stored with the key ${key} at ${after.from}, which job ${before.id} held until ${before.to}`;
      }
    }
  }
}

/** It begins when all of them have ended, or not at all if one has ended otherwise than it had to. */
export function* checkDependencies({ jobs, changes, holds, byId }: Case): Iterable<string> {
  const ends = endsOf(changes);
  for (const job of jobs) {
    const { parents = [] } = paramsOf(job);
    const id = job.job_id;
    const began = holds.get(id)?.[0]?.from;
    for (const parent of parents) {
      const ended = ends.get(parent.id) ?? Infinity;
      if (began !== undefined && began < ended) {
        yield `job ${id} began at ${began}, and ${parent.id}, which it depends on, ended at ${ended}`;
      }
    }
    if (parents.length > 0 && !FINAL.includes(job.status)) {
      yield `job ${id}, which depends on others, is still ${job.status}`;
    }
    const isInVain = parents.some(
      (parent) =>
        parent.onFailure === 'fail' &&
        !['completed', 'skipped'].includes(byId.get(parent.id)?.status ?? 'gone'),
    );
    if (isInVain && (began !== undefined || !['failed', 'canceled'].includes(job.status))) {
      yield `job ${id} is ${job.status}${began === undefined ? '' : ' and ran'}, and one that it depends on did not complete`;
    }
    if (parents.length > 0 && !isInVain && began === undefined && job.status === 'failed') {
      yield `job ${id} failed without a run, and all that it depends on ended as they had to`;
    }
  }
}

/** When each job ended; nobody retries here. */
function endsOf(changes: readonly Change[]): ReadonlyMap<string, number> {
  const ends = new Map<string, number>();
  for (const { job, status, at } of changes) {
    if (FINAL.includes(status) && !ends.has(job)) {
      ends.set(job, at);
    }
  }
  return ends;
}
