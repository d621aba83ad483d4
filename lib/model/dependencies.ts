import type { JobStatus } from './job-status.js';
import type { JsonValue } from './json.js';

/** What may become of a job when one that it depends on ends without completing. */
export const ON_FAILURE = ['fail', 'cancel', 'run'] as const;

/** What becomes of a job when one that it depends on ends without completing. */
export type OnFailure = (typeof ON_FAILURE)[number];

/** A job that another one depends on; a skipped one counts as done. */
export interface JobDependency {
  /** The id of the job that is waited for. */
  readonly id: string;
  /** @default 'fail' */
  readonly onFailure: OnFailure;
}

/** What a job's dependencies make of it, the worst counting: it runs, is canceled, fails. */
export const VERDICT = { run: 0, cancel: 1, fail: 2 } as const satisfies Record<OnFailure, number>;

/** A job that another one depends on, and how it has ended, if it has. */
export interface DependencyOutcome extends JobDependency {
  /** Null when it was deleted. */
  readonly type: string | null;
  readonly status: JobStatus | null;
  readonly result: JsonValue;
  readonly error: string | null;
}

/** A job that depends on another one. */
export interface Dependent {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
  readonly onFailure: JobDependency['onFailure'];
}

/** Why a job did not run, or what it ran in spite of: a job that did not complete, and why that did not. */
export interface FailureCause {
  readonly id: string;
  readonly type: string;
  readonly status: JobStatus;
  readonly error: string | null;
  /** Told where the job is met first, level by level; empty where it is named again. */
  readonly causes: readonly FailureCause[];
}

/** What a job has to do with others. */
export interface JobDependencies {
  readonly dependsOn: readonly DependencyOutcome[];
  /** The first 1,000, in the order in which they were enqueued. */
  readonly dependents: readonly Dependent[];
  /**
   * Of all jobs it depends on, directly or not, those that did not complete. 1,000 are looked at, the
   * nearest first; each is told of once, and 1,000 times in all one of them is named again.
   */
  readonly causes: readonly FailureCause[];
}
