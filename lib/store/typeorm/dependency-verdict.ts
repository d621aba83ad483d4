import type { JobEntity } from '../../entities/job.entity.js';
import { VERDICT, type JobDependency, type OnFailure } from '../../model/dependencies.js';
import type { JobStatus } from '../../model/job-status.js';
import { cutText } from '../../model/text.js';
import type { JobChange } from '../store.js';

/** An error text names the first so many of the jobs that did not complete. */
const MOST_NAMED = 5;
const ERROR_BYTES = 2000;

/** Whether a job that ended so has done what its dependents wait for. */
export function isDone(status: JobStatus): boolean {
  return status === 'completed' || status === 'skipped';
}

/** What a job depends on. */
export function dependenciesOf({ beside }: JobEntity): readonly JobDependency[] {
  return dependenciesIn(beside?.dependsOn ?? null);
}

/** The same of what is stored of it. */
export function dependenciesIn(dependsOn: string | null): readonly JobDependency[] {
  const stored = JSON.parse(dependsOn ?? '[]') as {
    readonly id: string;
    readonly on_failure: OnFailure;
  }[];
  return stored.map(({ id, on_failure: onFailure }) => ({ id, onFailure }));
}

/** Dependents by what follows for them from a job that ended so. */
export function byVerdict(
  status: JobStatus,
  edges: readonly (readonly [child: unknown, onFailure: unknown] | readonly unknown[])[],
): ReadonlyMap<number, readonly number[]> {
  const groups = new Map<number, number[]>();
  for (const [child, onFailure] of edges) {
    const verdict = isDone(status) ? VERDICT.run : VERDICT[onFailure as OnFailure];
    const those = groups.get(verdict);
    if (those === undefined) {
      groups.set(verdict, [Number(child)]);
    } else {
      those.push(Number(child));
    }
  }
  return groups;
}

/** What becomes of a job that waits in vain. */
export function endOf(job: JobEntity, reason: string, nowMs: number): JobChange {
  const ends = job.beside?.verdict === VERDICT.cancel ? 'canceled' : 'failed';
  return {
    set: {
      status: ends,
      finishedAtMs: nowMs,
      leaseUntilMs: null,
      etaMs: null,
      lockedBy: null,
      details: reason,
      ...(ends === 'failed' ? { error: reason } : {}),
    },
  };
}

/** Because of which jobs it does. */
export function reasonOf(job: JobEntity, parents: ReadonlyMap<string, JobEntity>): string {
  const failed = dependenciesOf(job).flatMap(({ id, onFailure }) => {
    const parent = parents.get(id);
    return parent === undefined || onFailure === 'run' || isDone(parent.status) ? [] : [parent];
  });
  const named = failed
    .slice(0, MOST_NAMED)
    .map(({ id, type, status, error }) => {
      const why = error === null ? '' : `: ${error.split('\n', 1)[0] ?? ''}`;
      return `${id} (${type}) ended as ${status}${why}`;
    })
    .join('; ');
  const more = failed.length > MOST_NAMED ? `; and ${failed.length - MOST_NAMED} more` : '';
  return cutText(`What it depends on did not complete: ${named}${more}`, ERROR_BYTES);
}
