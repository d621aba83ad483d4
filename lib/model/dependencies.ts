/** What may become of a job when one that it depends on ends without completing. */
export const ON_FAILURE = ['fail', 'cancel', 'run'] as const;

/** One of {@link ON_FAILURE}. */
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
