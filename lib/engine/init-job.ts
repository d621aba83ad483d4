import type { InitializingJob, RetryPolicy } from '../model/job.js';
import type { JobDraft } from '../store/store.js';
import { jobOfDraft } from '../store/job-of-draft.js';
import { jobOf } from './job-view.js';
import { checkedPolicy, type PolicyColumns } from './retry-policy-columns.js';

/** The job that `onJobInit` sees: not stored yet, its retry policy still open. */
export class InitJob {
  /** What the hook is given. */
  readonly view: InitializingJob;
  /** What the hook set. */
  readonly policy: PolicyColumns = {};

  constructor(draft: JobDraft, id: string, params: unknown, nowMs: number) {
    const job = jobOfDraft(draft, { seq: 0, id, scheduledAtMs: nowMs }, nowMs);
    this.view = {
      ...jobOf(job, { isPaused: false, nowMs, params }),
      status: 'initializing',
      waitingFor: null,
      setRetryPolicy: (policy: RetryPolicy) => {
        Object.assign(this.policy, checkedPolicy(policy));
      },
    };
  }
}
