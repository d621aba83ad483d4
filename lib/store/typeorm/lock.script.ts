import type { JobEntity } from '../../entities/job.entity.js';
import { isFinal } from '../../model/job-status.js';
import type { Script } from '../dialects/sql.js';
import type { ChangeResult, LockRefusal } from '../store.js';
import type { JobScripts } from './job.scripts.js';

/**
 * `running` → `locked` by another job. The chain of locks is walked in the same transaction, so
 * two jobs that lock on each other at once cannot both succeed.
 */
export function* lockScript(
  scripts: JobScripts,
  id: string,
  runId: string,
  otherId: string,
  nowMs: number,
): Script<LockRefusal | ChangeResult> {
  yield* scripts.oneLockAtATime();
  const other = yield* scripts.find(otherId, undefined);
  if (other === undefined) {
    return 'unknown';
  }
  if (yield* leadsTo(scripts, other, id)) {
    return 'circle';
  }
  const result = yield* scripts.change(
    id,
    (job) =>
      job.runId === runId && job.status === 'running'
        ? { set: { status: 'locked', lockedBy: otherId } }
        : undefined,
    undefined,
    nowMs,
  );
  return result === undefined || !result.changed ? 'lost' : result;
}

/** Whether a job is `id`, or waits, job by job, for `id`. */
function* leadsTo(scripts: JobScripts, first: JobEntity, id: string): Script<boolean> {
  const visited = new Set<string>();
  let job: JobEntity | undefined = first;
  while (job !== undefined && !visited.has(job.id)) {
    if (job.id === id) {
      return true;
    }
    visited.add(job.id);
    const next: string | null = isFinal(job.status) ? null : job.lockedBy;
    job = next === null ? undefined : yield* scripts.find(next, undefined);
  }
  return false;
}
