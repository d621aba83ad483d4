import type { JobEntity } from '../entities/job.entity.js';
import { hasExtra, SAID_BESIDE } from '../model/extras.js';
import type { ServedRun } from './run.js';

/** The sequence of a job at its first claim, when nothing else has happened to it. */
const FIRST_CLAIM_SEQUENCE = 2;

/** Whether there is more to a job than its claim has returned: from before, or beside its row. */
export function isContinued({ sequence, extras }: JobEntity): boolean {
  return sequence > FIRST_CLAIM_SEQUENCE || hasExtra(extras, SAID_BESIDE);
}

/** Reads what an earlier run left, and what stands beside the row, which a claim does not return. */
export async function recall(run: ServedRun): Promise<void> {
  const { job } = run;
  if (job.sequence > FIRST_CLAIM_SEQUENCE) {
    await recallRun(run);
  }
  if (hasExtra(job.extras, SAID_BESIDE)) {
    await recallBeside(run);
  }
}

async function recallRun({ job, parts, runId }: ServedRun): Promise<void> {
  try {
    const stored = await parts.store.jobs.find(job.id);
    if (stored?.job.runId === runId) {
      const { details, error, result } = stored.job;
      Object.assign(job, { details, error, result });
    }
  } catch (error) {
    parts.logger.debug(`Job ${job.id} runs without its earlier error: ${String(error)}`);
  }
}

const AGAIN_MS = 250;

/** Its handler counts on it: while it cannot be read it is not called, unless the run is over. */
async function recallBeside(run: ServedRun): Promise<void> {
  const { job, parts } = run;
  while (!run.isSettled) {
    try {
      const { beside, parents } = await parts.store.history.beside(job);
      job.beside = beside;
      run.parents = parents;
      return;
    } catch (error) {
      parts.logger.debug(`What job ${job.id} depends on cannot be read yet: ${String(error)}`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
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
