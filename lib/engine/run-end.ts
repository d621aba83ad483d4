import type { JobEntity } from '../entities/job.entity.js';
import { durationMs } from '../model/duration.js';
import { toJsonText } from '../model/json-text.js';
import type { Job } from '../model/job.js';
import { isFinal } from '../model/job-status.js';
import { decideOutcome, type Ending, type RetryRules } from '../model/outcome.js';
import {
  isAbort,
  isRetryLater,
  isUnrecoverable,
  SteeringSignal,
  type JobAbortError,
} from '../model/signals.js';
import { cutText, storableText } from '../model/text.js';
import type { JobChange } from '../store/store.js';
import type { EngineOptions } from './engine-options.js';
import type { AnyHandler } from './handlers.js';

/** What the meaning of something thrown depends on. */
export interface ThrowingRun {
  readonly abortReason: JobAbortError | undefined;
  readonly handler: AnyHandler | undefined;
  /** The most bytes of an error text. */
  readonly errorBytes: number;
  errorText(thrown: unknown): string;
  /** The job as `shouldRetry` sees it. */
  jobForRetry(): Job;
}

/** What something thrown by a handler means; undefined when the run has ended already. */
export async function endingOf(thrown: unknown, run: ThrowingRun): Promise<Ending | undefined> {
  if (thrown instanceof SteeringSignal) {
    return steered(thrown, run.errorBytes);
  }
  const { abortReason } = run;
  if (abortReason?.code === 'timeout') {
    return { kind: 'timeout' };
  }
  if (abortReason !== undefined && (thrown === abortReason || isAbort(thrown))) {
    return { kind: 'stopped' };
  }
  if (isRetryLater(thrown)) {
    return { kind: 'later', delayMs: durationMs(thrown.delay, 'RetryLater delay') };
  }
  const error = run.errorText(thrown);
  if (isUnrecoverable(thrown) || run.handler?.shouldRetry === undefined) {
    return { kind: 'failed', error, isRetryable: !isUnrecoverable(thrown) };
  }
  try {
    // Asked also when no retry seems left: the budget may have been raised while the job ran.
    return {
      kind: 'failed',
      error,
      isRetryable: await run.handler.shouldRetry(thrown, run.jobForRetry()),
    };
  } catch (failure) {
    const both = `${error}\nAnd its shouldRetry threw: ${run.errorText(failure)}`;
    return { kind: 'failed', error: cutText(both, run.errorBytes), isRetryable: false };
  }
}

async function steered(signal: SteeringSignal, errorBytes: number): Promise<Ending | undefined> {
  if (signal.kind === 'skip') {
    return { kind: 'skipped', reason: cutText(storableText(signal.reason), errorBytes) };
  }
  return 'plan' in signal ? await (signal.plan as Ending | Promise<Ending>) : undefined;
}

/** The change that the end of a run makes; a run that goes on into another one is archived. */
export function changeOfEnding(
  stored: JobEntity,
  ending: Ending,
  rules: RetryRules,
  {
    nowMs,
    random,
    startedAtMs = null,
  }: {
    readonly nowMs: number;
    readonly random: () => number;
    readonly startedAtMs?: number | null;
  },
): JobChange {
  const { set, run, runError } = decideOutcome(stored, ending, rules, nowMs, random);
  const started = startedAtMs === null ? {} : { startedAtMs };
  const isUnmarked = stored.startedAtMs === null && set.startedAtMs === undefined;
  return {
    set: isUnmarked ? { ...set, ...started } : set,
    ...(isFinal(set.status) || run === undefined
      ? {}
      : { archiveRun: { outcome: run, error: runError, ...started } }),
  };
}

/** What a handler returned as JSON text; null keeps what `setResult` stored. @throws JobsError */
export function resultText(value: unknown, limits: EngineOptions['limits']): string | null {
  return value === undefined
    ? null
    : toJsonText(value, 'result', { bytes: limits.result, depth: limits.depth });
}
