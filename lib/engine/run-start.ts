import type { JobEntity } from '../entities/job.entity.js';
import type { ServedRun } from './run.js';

/** The sequence of a job at its first claim, when nothing else has happened to it. */
const FIRST_CLAIM_SEQUENCE = 2;

/** Whether there is more to a job than its claim has returned: from before, or beside its row. */
export function isContinued({ sequence, extras }: JobEntity): boolean {
  return sequence > FIRST_CLAIM_SEQUENCE || extras !== null;
}

/** Reads what an earlier run left, which a claim does not return. */
export async function recall({ job, parts, runId }: ServedRun): Promise<void> {
  try {
    const stored = await parts.store.jobs.find(job.id);
    if (stored?.job.runId === runId) {
      const { details, error, result, beside } = stored.job;
      Object.assign(job, { details, error, result, beside });
    }
  } catch (error) {
    parts.logger.debug(`Job ${job.id} runs without its earlier error: ${String(error)}`);
  }
}

/** Writes the start of a handler that came from the buffer and is still at work. */
export function markStarted(run: ServedRun): void {
  const { job, parts, runId } = run;
  parts.store.jobs
    .report({
      seq: job.seq,
      runId,
      startedAtMs: job.startedAtMs ?? parts.store.estimateNowMs(),
      ...(job.etaMs === null ? {} : { etaMs: job.etaMs }),
    })
    .then(
      (held) => (held || run.isSettled ? undefined : run.loseLease()),
      (error: unknown) => parts.unstored.start.add(job.id, error),
    );
}
