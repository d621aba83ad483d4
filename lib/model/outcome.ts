import { EXTRA, hasExtra, withoutWait } from './extras.js';
import type { RunOutcome } from './job.js';
import { isFinal, type JobStatus } from './job-status.js';
import { retryDelayMs, type ResolvedBackoff } from './retry-policy.js';

/** How a run came to its end, before anybody decides what that means for the job. */
export type Ending =
  /** The handler returned; `result` is JSON text, null keeps what `setResult` stored. */
  | { readonly kind: 'completed'; readonly result: string | null }
  | {
      readonly kind: 'failed';
      readonly error: string;
      readonly isRetryable: boolean;
      /** It was taken from its handler, which had come to a standstill. */
      readonly isInterrupted?: boolean;
    }
  | { readonly kind: 'skipped'; readonly reason: string }
  | { readonly kind: 'timeout' }
  /** It stopped, or was stopped by force, because it was asked to suspend or to shut down. */
  | { readonly kind: 'stopped' }
  /** `throw new RetryLater(delay)`. */
  | { readonly kind: 'later'; readonly delayMs: number }
  /** It sleeps until then. */
  | { readonly kind: 'asleep'; readonly untilMs: number }
  /** It waits for a signal, until then or without end. */
  | { readonly kind: 'awaiting'; readonly untilMs: number | undefined }
  | {
      readonly kind: 'rescheduled';
      readonly runAtMs: number | undefined;
      readonly delayMs: number;
      readonly state: string | undefined;
      readonly params: string | undefined;
    }
  /** Its handler was never called: a buffered job is given back. */
  | { readonly kind: 'unstarted' }
  /** Its lease ended without a word, or an operator has taken it from its worker. */
  | { readonly kind: 'lost'; readonly maxLost: number; readonly isInterrupted?: boolean };

/** The text of a run that an operator has taken from its worker. */
export const RUN_INTERRUPTED = 'interrupted';

/** What the decision depends on, as stored at this moment. */
export interface RunState {
  readonly status: JobStatus;
  readonly retries: number;
  readonly maxRetries: number;
  readonly retryDelaySec: number;
  readonly timeoutSec: number;
  readonly lost: number;
  readonly revision: number;
  /** What stands beside its row. */
  readonly extras?: number | null;
}

/** What a job's type says about retries. */
export interface RetryRules {
  readonly backoff: ResolvedBackoff;
  readonly retryOnTimeout: boolean;
}

/** The columns that the end of a run writes. */
export interface RunEndColumns {
  status: JobStatus;
  runAtMs?: number;
  startedAtMs?: number | null;
  finishedAtMs?: number | null;
  etaMs: null;
  leaseUntilMs: null;
  lockedBy: null;
  runId?: null;
  workerId?: null;
  runOutcome?: RunOutcome;
  progress?: number;
  progressDetails?: null;
  completed?: null;
  total?: null;
  details?: string | null;
  error?: string | null;
  result?: string;
  state?: string;
  params?: string;
  retries?: number;
  lost?: number;
  revision?: number;
  extras?: number | null;
}

/** What becomes of the job, and how its run goes into the history. */
export interface Outcome {
  readonly set: RunEndColumns;
  /** The run's own outcome; undefined for a claim that is taken back unstarted. */
  readonly run: RunOutcome | undefined;
  readonly runError: string | null;
}

/** The text of a job that failed because its worker was lost too often. */
export const WORKER_LOST = 'worker lost';

/**
 * Decides what the end of a run makes of its job. Pure: the stored state, the ending, the type's
 * rules and the database's time give the columns to write.
 */
export function decideOutcome(
  job: RunState,
  ending: Ending,
  rules: RetryRules,
  nowMs: number,
  random: () => number,
): Outcome {
  const outcome = outcomeOf(job, ending, rules, nowMs, random);
  // What it waited for before this run is over, unless it waits again.
  return hasExtra(job.extras ?? null, WAIT) && outcome.set.extras === undefined
    ? { ...outcome, set: { ...outcome.set, extras: withoutWait(job.extras ?? null) } }
    : outcome;
}

const WAIT = EXTRA.signal | EXTRA.deadline;

function outcomeOf(
  job: RunState,
  ending: Ending,
  rules: RetryRules,
  nowMs: number,
  random: () => number,
): Outcome {
  if (job.status === 'canceling') {
    const result =
      ending.kind === 'completed' && ending.result !== null ? { result: ending.result } : {};
    return ended('canceled', 'canceled', nowMs, null, result);
  }
  switch (ending.kind) {
    case 'completed':
      return ended('completed', 'completed', nowMs, null, {
        progress: 1,
        error: null,
        // Why it was to be suspended.
        ...(job.status === 'suspending' ? { details: null } : {}),
        ...(ending.result === null ? {} : { result: ending.result }),
      });
    case 'skipped':
      return ended('skipped', 'skipped', nowMs, null, { details: ending.reason });
    case 'timeout':
      return timedOut(job, rules, nowMs, random);
    default:
      return job.status === 'suspending'
        ? suspended(job, ending, nowMs)
        : interrupted(job, ending, rules, nowMs, random);
  }
}

function timedOut(job: RunState, rules: RetryRules, nowMs: number, random: () => number): Outcome {
  const error = `The run took longer than its timeout of ${job.timeoutSec} s.`;
  const mayRetry =
    rules.retryOnTimeout && job.retries < job.maxRetries && job.status !== 'suspending';
  return mayRetry
    ? retried(job, 'timeout', error, rules, nowMs, random)
    : ended('timeout', 'timeout', nowMs, error, { error });
}

function interrupted(
  job: RunState,
  ending: Exclude<Ending, { kind: 'completed' | 'skipped' | 'timeout' }>,
  rules: RetryRules,
  nowMs: number,
  random: () => number,
): Outcome {
  switch (ending.kind) {
    case 'failed': {
      const run = ending.isInterrupted === true ? 'interrupted' : 'failed';
      return ending.isRetryable && job.retries < job.maxRetries
        ? retried(job, run, ending.error, rules, nowMs, random)
        : ended('failed', run, nowMs, ending.error, { error: ending.error });
    }
    case 'stopped':
      return again('released', null, {});
    case 'unstarted':
      return again(undefined, null, { revision: job.revision - 1 });
    case 'later':
      return again('released', null, { runAtMs: nowMs + ending.delayMs });
    case 'asleep':
      return again('released', null, { error: null, runAtMs: ending.untilMs });
    case 'awaiting':
      return again('released', null, awaiting(job, ending.untilMs));
    case 'rescheduled':
      return again('released', null, rescheduled(ending, nowMs));
    case 'lost': {
      const run = ending.isInterrupted === true ? 'interrupted' : 'lost';
      const error = lossOf(ending);
      return job.lost >= ending.maxLost
        ? ended('failed', run, nowMs, error, { error, lost: job.lost + 1 })
        : again(run, error, { lost: job.lost + 1 });
    }
  }
}

function lossOf({ isInterrupted }: Extract<Ending, { kind: 'lost' }>): string {
  return isInterrupted === true ? RUN_INTERRUPTED : WORKER_LOST;
}

function retried(
  job: RunState,
  run: RunOutcome,
  error: string,
  rules: RetryRules,
  nowMs: number,
  random: () => number,
): Outcome {
  const retries = job.retries + 1;
  const delayMs = retryDelayMs(rules.backoff, job.retryDelaySec * 1000, retries, random);
  return again(run, error, { retries, error, runAtMs: nowMs + delayMs });
}

/** Back in line for another run, which starts at progress 0. */
function again(
  run: RunOutcome | undefined,
  runError: string | null,
  set: Partial<RunEndColumns>,
): Outcome {
  return {
    run,
    runError,
    set: {
      ...released('waiting'),
      startedAtMs: null,
      progress: 0,
      progressDetails: null,
      completed: null,
      total: null,
      ...set,
    },
  };
}

/** For a signal, and for its time if it has one; the run went well so far. */
function awaiting({ extras }: RunState, untilMs: number | undefined): Partial<RunEndColumns> {
  const bits = withoutWait(extras ?? null) ?? 0;
  return {
    error: null,
    extras: bits | EXTRA.signal | (untilMs === undefined ? 0 : EXTRA.deadline),
    ...(untilMs === undefined ? {} : { runAtMs: untilMs }),
  };
}

/** The same job again, with a fresh budget. */
function rescheduled(
  ending: Extract<Ending, { kind: 'rescheduled' }>,
  nowMs: number,
): Partial<RunEndColumns> {
  return {
    runAtMs: ending.runAtMs ?? nowMs + ending.delayMs,
    retries: 0,
    lost: 0,
    error: null,
    ...(ending.state === undefined ? {} : { state: ending.state }),
    ...(ending.params === undefined ? {} : { params: ending.params }),
  };
}

function suspended(job: RunState, ending: Ending, nowMs: number): Outcome {
  if (ending.kind === 'unstarted') {
    // No handler was called, so this was no run.
    const set = { ...released('suspended'), revision: job.revision - 1 };
    return { run: undefined, runError: null, set };
  }
  const error =
    ending.kind === 'failed' ? ending.error : ending.kind === 'lost' ? lossOf(ending) : null;
  // What the handler asked for holds from the resume on.
  const asked =
    ending.kind === 'rescheduled'
      ? rescheduled(ending, nowMs)
      : ending.kind === 'later'
        ? { runAtMs: nowMs + ending.delayMs }
        : ending.kind === 'asleep'
          ? { runAtMs: ending.untilMs }
          : {};
  return { run: 'suspended', runError: error, set: { ...released('suspended'), ...asked } };
}

function released(status: 'waiting' | 'suspended'): RunEndColumns {
  return { status, etaMs: null, leaseUntilMs: null, lockedBy: null, runId: null, workerId: null };
}

function ended(
  status: JobStatus,
  run: RunOutcome,
  nowMs: number,
  runError: string | null,
  set: Partial<RunEndColumns>,
): Outcome {
  return {
    run,
    runError,
    set: {
      status,
      finishedAtMs: nowMs,
      etaMs: null,
      leaseUntilMs: null,
      lockedBy: null,
      ...(isFinal(status) && run !== status ? { runOutcome: run } : {}),
      ...set,
    },
  };
}
