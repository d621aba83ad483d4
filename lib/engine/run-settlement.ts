import type { JobEntity } from '../entities/job.entity.js';
import { EXTRA, hasExtra, TOLD_OF } from '../model/extras.js';
import { isFinal, type JobStatus } from '../model/job-status.js';
import type { Ending } from '../model/outcome.js';
import type { ChangeResult, Completion } from '../store/store.js';
import type { RunLogger } from './log-writer.js';
import type { ServedRun } from './run.js';
import { changeOfEnding } from './run-end.js';

/** A run whose handler is done, while its end is stored. */
export interface EndingRun extends ServedRun {
  /** Its log, if anything was logged: lines are stored before the end. */
  readonly openLog: RunLogger | undefined;
  /** The end could not be stored. */
  unsettled(error: unknown): void;
  /** The end is stored, or lost; called once. */
  ended(): void;
}

/** The hot end: one statement for a whole batch of completed runs. */
export function storeCompletion(run: EndingRun, result: string | null): void {
  const lines = run.openLog?.end();
  if (lines === undefined) {
    complete(run, result);
  } else {
    void lines.then(() => complete(run, result));
  }
}

/** Every other end: a read, a decision and a compare-and-set. Never throws. */
export async function storeEnding(run: EndingRun, ending: Ending): Promise<void> {
  try {
    await run.openLog?.end();
    await settleRun(run, ending);
  } catch (error) {
    run.unsettled(error);
  } finally {
    run.ended();
  }
}

function complete(run: EndingRun, result: string | null): void {
  const { job, parts, runId } = run;
  if (hasExtra(job.extras, EXTRA.schedule)) {
    void storeEnding(run, { kind: 'completed', result });
    return;
  }
  const completion = { seq: job.seq, runId, startedAtMs: job.startedAtMs ?? 0, result };
  if (hasExtra(job.extras, TOLD_OF) || parts.store.webhooks.isHeard(job.tenantId)) {
    completeHeard(run, completion);
    return;
  }
  const stored = hasExtra(job.extras, EXTRA.dependents)
    ? parts.store.jobs.completeRelated(completion).then(({ won, news }) => {
        if (news !== undefined) {
          parts.told(news);
        }
        return won;
      })
    : parts.store.jobs.complete(completion);
  stored.then(
    (won) => {
      if (!won) {
        // Somebody changed the status meanwhile: decide by what is stored now.
        void storeEnding(run, { kind: 'completed', result });
        return;
      }
      const from = job.status;
      noteCompleted(job, result, parts.store.estimateNowMs());
      parts.changed(job, from);
      run.ended();
    },
    (error: unknown) => {
      run.unsettled(error);
      run.ended();
    },
  );
}

/** The same where somebody is told of it. */
function completeHeard(run: EndingRun, completion: Completion): void {
  const { parts, type } = run;
  parts.store.jobs.completeHeard(completion).then(
    (changed) => {
      if (changed === undefined) {
        void storeEnding(run, { kind: 'completed', result: completion.result });
        return;
      }
      parts.stored(changed, type);
      run.ended();
    },
    (error: unknown) => {
      run.unsettled(error);
      run.ended();
    },
  );
}

/** Stores how a run ended, unless it is over for the database already. @throws JobsError */
export async function settleRun(run: ServedRun, ending: Ending): Promise<void> {
  const { job, parts, runId, type } = run;
  const { random } = parts;
  const { startedAtMs } = job;
  const result = await parts.store.jobs.settle(job.id, (stored, nowMs) =>
    stored.runId !== runId || isFinal(stored.status)
      ? undefined
      : changeOfEnding(stored, ending, type.rules, { nowMs, random, startedAtMs }),
  );
  if (result?.changed === true) {
    parts.stored(result, type);
  } else if (result !== undefined && isOwnEnd(result.after, runId, ending)) {
    parts.stored(asFirstTold(result.after, job.status), type);
  } else {
    parts.logger.warn(
      `Job ${job.id} (${job.type}): the outcome of run ${runId} came too late and was dropped.`,
    );
  }
}

/**
 * A run ends once, and nobody else completes it: what is completed under it was done here, by a transaction
 * whose answer was lost.
 */
function isOwnEnd(stored: JobEntity, runId: string, ending: Ending): boolean {
  return ending.kind === 'completed' && stored.status === 'completed' && stored.runId === runId;
}

/** The change that made it so, of which nobody was told. */
function asFirstTold(after: JobEntity, status: JobStatus): ChangeResult {
  const { sequence, finishedAtMs } = after;
  // It was held until then.
  const leaseUntilMs = finishedAtMs;
  const before = { ...after, status, sequence: sequence - 1, finishedAtMs: null, leaseUntilMs };
  return { before, after, changed: true };
}

/** What `complete` stored, noted in the job as this process holds it. */
function noteCompleted(job: JobEntity, result: string | null, nowMs: number): void {
  job.status = 'completed';
  job.sequence += 1;
  job.progress = 1;
  job.error = null;
  job.result = result ?? job.result;
  job.finishedAtMs = nowMs;
  job.updatedAtMs = nowMs;
  job.etaMs = null;
  job.leaseUntilMs = null;
}
