import type { History, JobRow } from './history.js';

/** From when to when a run held its job, by the database's clock. */
export interface RunSpan {
  readonly revision: number;
  readonly workerId: string | null;
  /** Ids are UUIDs ordered by time: a run's says when it was claimed. */
  readonly claimedAt: number;
  readonly endedAt: number | null;
  readonly outcome: string;
  /** Whether the job has gone on from it. */
  readonly isArchived: boolean;
}

/** The runs of each job, oldest first: those that were archived, and the one in the job's own row. */
export function spansOf({ jobs, runs }: History): ReadonlyMap<string, readonly RunSpan[]> {
  const spans = new Map<string, RunSpan[]>(jobs.map((job) => [job.job_id, []]));
  for (const run of runs) {
    spans.get(run.job_id)?.push({
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

function ownRun(job: JobRow): RunSpan | undefined {
  return job.run_id === null
    ? undefined
    : {
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
