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
    causes: causesOf(job, ancestors, new Set([job.id])),
  };
}

/** Each branch as deep as it goes; jobs cannot wait for each other in a circle. */
function causesOf(
  job: JobEntity,
  ancestors: ReadonlyMap<string, JobEntity>,
  above: ReadonlySet<string>,
): readonly FailureCause[] {
  return dependsOnOf(job).flatMap(({ id }) => {
    const parent = above.has(id) ? undefined : ancestors.get(id);
    return parent === undefined || !hasFailed(parent)
      ? []
      : [
          {
            id,
            type: parent.type,
            status: parent.status,
            error: parent.error,
            causes: causesOf(parent, ancestors, new Set([...above, id])),
          },
        ];
  });
}

/** Whether a job has ended without having done what others wait for. */
export function hasFailed({ status }: JobEntity): boolean {
  return isFinal(status) && status !== 'completed' && status !== 'skipped';
}
