import { EXTRA } from '../model/extras.js';
import { JobsError } from '../model/errors.js';
import { isActive } from '../model/job-status.js';
import { storableText } from '../model/text.js';
import type { ChangeResult, Decide, JoinedTransaction } from '../store/store.js';
import { badField } from './enqueue-checks.js';
import type { HandledRun } from './run.js';
import { leaseLost } from './run-lease.js';

/**
 * Stores a milestone of a run, as an event of its job.
 * @throws JobsError `invalid_request`, `too_large`, `lease_lost`
 */
export async function checkIn(
  run: HandledRun,
  given: unknown,
  joined: JoinedTransaction | undefined,
): Promise<void> {
  const { parts, job, runId } = run;
  const message = checkedMessage(given, parts.options.limits.logLine);
  const { durationMs } = parts.options.lease;
  const decide: Decide = (stored, nowMs) =>
    stored.runId === runId && isActive(stored.status)
      ? {
          set: {
            // Check-ins without a pause keep renewals from the row.
            ...((stored.leaseUntilMs ?? 0) < nowMs + durationMs / 2
              ? { leaseUntilMs: nowMs + durationMs }
              : {}),
            sequence: stored.sequence + 1,
            extras: (stored.extras ?? 0) | EXTRA.checkedIn | EXTRA.events,
          },
          note: { message, isCheckIn: true },
        }
      : undefined;
  const result: ChangeResult | undefined = run.isSettled
    ? undefined
    : await (joined === undefined
        ? parts.store.jobs.settle(job.id, decide)
        : joined.change(job.id, decide));
  if (result?.changed !== true) {
    if (!run.isSettled) {
      run.loseLease();
    }
    throw leaseLost(run, 'nothing was written');
  }
  const noted = (): void => {
    job.sequence = result.after.sequence;
    job.extras = result.after.extras;
    job.beside = result.after.beside;
    parts.stored(result, run.type);
  };
  if (joined === undefined) {
    noted();
  } else {
    joined.onCommit(noted);
  }
}

function checkedMessage(given: unknown, most: number): string {
  if (typeof given !== 'string' || given.trim() === '') {
    throw badField('message', 'must be a text that says something');
  }
  const message = storableText(given);
  const bytes = Buffer.byteLength(message);
  if (bytes > most) {
    throw new JobsError(
      'too_large',
      `The message of a check-in has ${bytes} bytes and may have ${most}: write details to ctx.log, or raise limits.logLine.`,
      { errors: [{ field: 'message', message: `must have at most ${most} bytes` }] },
    );
  }
  return message;
}
