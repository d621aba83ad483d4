import { JobsError } from '../model/errors.js';
import type { HandledRun } from './run.js';

/** @throws JobsError `lease_lost` once this process knows that the run is over */
export function checkHolds(run: HandledRun, effect: string): void {
  if (run.isSettled) {
    throw leaseLost(run, effect);
  }
}

/** What a handler is told whose run is over, and with what effect. */
export function leaseLost({ runId, job }: HandledRun, effect: string): JobsError {
  return new JobsError(
    'lease_lost',
    `Run ${runId} holds job ${job.id} no more, so ${effect}. Stop the handler.`,
  );
}
