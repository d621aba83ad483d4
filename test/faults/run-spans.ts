import type { Change, History, JobRow } from './history.js';

/** A run as the library has stored it, with the times that it gave it. */
export interface RunSpan {
  readonly runId: string;
  readonly revision: number;
  readonly workerId: string | null;
  /** Ids are UUIDs ordered by time: a run's says when it was claimed. */
  readonly claimedAt: number;
  readonly endedAt: number | null;
  readonly outcome: string;
  /** Whether the job has gone on from it. */
  readonly isArchived: boolean;
}

/** From when to when a run held its job, as the database wrote it down. */
export interface Hold {
  readonly runId: string;
  readonly job: string;
  readonly revision: number;
  readonly from: number;
  readonly to: number | null;
  /** The end of the lease that the claim gave, and as it stood when the run was ended. */
  readonly firstLease: number | null;
  readonly lastLease: number | null;
  /** Given back before its handler was called: then it does not count, and leaves no trace. */
  readonly isUndone: boolean;
}

export const HOLDING: readonly string[] = ['running', 'canceling', 'suspending', 'locked'];

/** The runs of each job, oldest first: those that were archived, and the one in the job's own row. */
export function spansOf({
  jobs,
  runs,
}: Pick<History, 'jobs' | 'runs'>): ReadonlyMap<string, readonly RunSpan[]> {
  const spans = new Map<string, RunSpan[]>(jobs.map((job) => [job.job_id, []]));
  for (const run of runs) {
    spans.get(run.job_id)?.push({
      runId: run.run_id,
      revision: run.revision,
      workerId: run.worker_id,
      claimedAt: timeOf(run.run_id),
      endedAt: run.ended_at_ms,
      outcome: run.outcome,
      isArchived: true,
    });
  }
  for (const job of jobs) {
    const own = ownRun(job);
    if (own !== undefined) {
      spans.get(job.job_id)?.push(own);
    }
  }
  for (const own of spans.values()) {
    own.sort((a, b) => a.revision - b.revision);
  }
  return spans;
}

/** What held each job, in the order in which it did. */
export function holdsOf(changes: readonly Change[]): ReadonlyMap<string, readonly Hold[]> {
  const holds = new Map<string, Hold[]>();
  for (const change of changes) {
    const { at, job, before, status, runId, revision, leaseUntil } = change;
    const own = holds.get(job) ?? [];
    holds.set(job, own);
    const last = own.at(-1);
    if (endsHold(change) && last !== undefined) {
      const isUndone = revision < last.revision;
      own[own.length - 1] = { ...last, to: at, lastLease: before.leaseUntil, isUndone };
    }
    if (HOLDING.includes(status) && runId !== null && runId !== before.runId) {
      const begun = { runId, job, revision, from: at, firstLease: leaseUntil };
      own.push({ ...begun, to: null, lastLease: null, isUndone: false });
    }
  }
  return holds;
}

/** Whether the run that held the job does so no more. */
export function endsHold({
  before,
  status,
  runId,
}: Pick<Change, 'before' | 'status' | 'runId'>): boolean {
  return HOLDING.includes(before.status) && !(HOLDING.includes(status) && runId === before.runId);
}

function ownRun(job: JobRow): RunSpan | undefined {
  return job.run_id === null
    ? undefined
    : {
        runId: job.run_id,
        revision: job.revision,
        workerId: job.worker_id,
        claimedAt: timeOf(job.run_id),
        endedAt: job.finished_at_ms,
        outcome: job.run_outcome ?? (job.finished_at_ms === null ? 'running' : job.status),
        isArchived: false,
      };
}

function timeOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
