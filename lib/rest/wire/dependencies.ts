import type { FailureCause, JobDependencies } from '../../model/dependencies.js';

/** What a job has to do with others, as answers show it. */
export function dependenciesToWire({ dependsOn, dependents, causes }: JobDependencies): object {
  return {
    depends_on: dependsOn.map(({ onFailure, ...each }) => ({ ...each, on_failure: onFailure })),
    dependents: dependents.map(({ onFailure, ...each }) => ({ ...each, on_failure: onFailure })),
    causes: causes.map(causeToWire),
  };
}

function causeToWire({ causes, ...cause }: FailureCause): object {
  return { ...cause, causes: causes.map(causeToWire) };
}
