import type { JobEntity } from '../entities/job.entity.js';
import type {
  DependencyOutcome,
  FailureCause,
  JobDependencies,
  JobDependency,
} from '../model/dependencies.js';
import { isFinal } from '../model/job-status.js';
import type { JsonValue } from '../model/json.js';
import type { RelatedJobs } from '../store/store.js';
import { dependsOnOf } from './job-view.js';

/** So many times, in all, a job is named that was told of before. */
const MOST_REPEATED = 1000;

/** What a job depends on, with how each has ended. */
export function outcomesOf(
  job: JobEntity,
  parents: ReadonlyMap<string, JobEntity>,
): readonly DependencyOutcome[] {
  return dependsOnOf(job).map((dependency) => outcomeOf(dependency, parents.get(dependency.id)));
}

function outcomeOf(dependency: JobDependency, parent: JobEntity | undefined): DependencyOutcome {
  return {
    ...dependency,
    type: parent?.type ?? null,
    status: parent?.status ?? null,
    result: parent === undefined || parent.result === null ? null : jsonOf(parent.result),
    error: parent?.error ?? null,
  };
}

function jsonOf(text: string): JsonValue {
  return JSON.parse(text) as JsonValue;
}

/** The public shape of what a job has to do with others. */
export function dependenciesView(
  job: JobEntity,
  { ancestors, dependents }: RelatedJobs,
): JobDependencies {
  return {
    dependsOn: outcomesOf(job, ancestors),
    dependents: dependents.map((each) => ({
      id: each.id,
      type: each.type,
      status: each.status,
      onFailure: dependsOnOf(each).find(({ id }) => id === job.id)?.onFailure ?? 'fail',
    })),
    causes: causesOf(job, ancestors),
  };
}

/**
 * Level by level, the nearest first. Each job is told of with its own causes once, where it is met first,
 * and without them where it is named again: there may be more ways to it than any answer can hold.
 */
function causesOf(
  job: JobEntity,
  ancestors: ReadonlyMap<string, JobEntity>,
): readonly FailureCause[] {
  const causes: FailureCause[] = [];
  const met = new Set<string>();
  const open = [{ job, causes }];
  const failed = [...ancestors.values()].filter(hasFailed).length;
  let repeated = 0;
  // Grows while it is walked through.
  for (const { job: dependent, causes: found } of open) {
    if (met.size === failed && repeated === MOST_REPEATED) {
      break;
    }
    for (const { id } of dependsOnOf(dependent)) {
      const parent = ancestors.get(id);
      if (parent === undefined || !hasFailed(parent)) {
        continue;
      }
      const { type, status, error } = parent;
      const own: FailureCause[] = [];
      if (!met.has(id)) {
        met.add(id);
        open.push({ job: parent, causes: own });
      } else if (repeated < MOST_REPEATED) {
        repeated += 1;
      } else {
        continue;
      }
      found.push({ id, type, status, error, causes: own });
    }
  }
  return causes;
}

/** Whether a job has ended without having done what others wait for. */
function hasFailed({ status }: JobEntity): boolean {
  return isFinal(status) && status !== 'completed' && status !== 'skipped';
}
