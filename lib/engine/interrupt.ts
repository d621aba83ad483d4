import { resolveBackoff } from '../model/retry-policy.js';
import type { JobRun } from '../model/job.js';
import { isActive } from '../model/job-status.js';
import type { RunningQuery } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';
import { runsOf } from './job-view.js';
import type { QueueRunner } from './queue-runner.js';
import { changeOfEnding } from './run-end.js';

const BATCH = 100;
/** Nothing that a lost run becomes depends on its type. */
const ANY_RULES = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };

/** Whose runs are taken from their workers. */
export type Interruption = Pick<RunningQuery, 'tenantId' | 'workerId' | 'silentForMs'>;

/**
 * Takes runs from their workers, as if each lease had ended now: their jobs go on elsewhere, and what
 * a handler that still lives does from now on changes nothing.
 */
export async function interruptRuns(
  parts: EngineParts,
  queues: readonly QueueRunner[],
  which: Interruption,
): Promise<readonly JobRun[]> {
  const interrupted: JobRun[] = [];
  let after: number | undefined = 0;
  while (after !== undefined) {
    const { runs, next } = await parts.store.history.running({ ...which, after, limit: BATCH });
    for (const { id, jobId } of runs) {
      const run = await interrupt(parts, jobId, id);
      if (run !== undefined) {
        interrupted.push(run);
        for (const queue of queues) {
          queue.forget(id);
          queue.execution(id)?.loseLease();
        }
      }
    }
    after = next;
  }
  return interrupted;
}

/** The run as it has ended; undefined when it had ended before. */
async function interrupt(
  parts: EngineParts,
  jobId: string,
  runId: string,
): Promise<JobRun | undefined> {
  const { store, options, random } = parts;
  const ending = {
    kind: 'lost' as const,
    maxLost: options.lease.maxLost,
    isInterrupted: true,
  };
  const result = await store.jobs.settle(jobId, (job, nowMs) =>
    job.runId === runId && isActive(job.status)
      ? changeOfEnding(job, ending, ANY_RULES, { nowMs, random })
      : undefined,
  );
  if (result?.changed !== true) {
    return undefined;
  }
  parts.logger.warn(
    `Run ${runId} of job ${jobId} (${result.before.type}) was interrupted: it was taken from worker ${result.before.workerId ?? '?'}. The job is ${result.after.status} now.`,
  );
  parts.stored(result);
  return runsOf(result.after, await store.history.runs(jobId)).find(({ id }) => id === runId);
}
