import { durationMs, MAX_DURATION_MS, type Duration } from './duration.js';
import { JobsError } from './errors.js';

/** How the delay grows from one retry to the next. */
export type BackoffType = 'fixed' | 'linear' | 'exponential';

/**
 * A backoff: a word, or a word with its numbers. `fixed` waits the retry delay each time, `linear`
 * n times it before the n-th retry, `exponential` the delay times `factor` to the power of n − 1.
 */
export type Backoff =
  | BackoffType
  | {
      readonly type: BackoffType;
      /** Growth of `exponential`. @default 2 */
      readonly factor?: number;
      /** The longest delay. @default '1d', or the retry delay itself where that is longer */
      readonly maxDelay?: Duration;
      /** Share of the delay that is left to chance, 0–1. @default 0 */
      readonly jitter?: number;
    };

/** A backoff whose numbers were checked. */
export interface ResolvedBackoff {
  readonly type: BackoffType;
  readonly factor: number;
  /** Undefined where a day is the most, or the delay before the first retry where that is longer. */
  readonly maxDelayMs: number | undefined;
  readonly jitter: number;
}

const DAY_MS = 86_400_000;

const TYPES: readonly string[] = ['fixed', 'linear', 'exponential'];

/**
 * A backoff with its defaults.
 *
 * @throws JobsError `invalid_options` that names `what`
 */
export function resolveBackoff(backoff: Backoff, what: string): ResolvedBackoff {
  const given = typeof backoff === 'string' ? { type: backoff } : backoff;
  const factor = given.factor ?? 2;
  const jitter = given.jitter ?? 0;
  if (!TYPES.includes(given.type)) {
    throw new JobsError(
      'invalid_options',
      `${what} is "${String(given.type)}": use 'fixed', 'linear' or 'exponential'.`,
    );
  }
  if (typeof factor !== 'number' || !(factor >= 1 && factor <= 1000)) {
    throw new JobsError(
      'invalid_options',
      `${what}.factor is ${String(factor)}: use a number from 1 to 1000.`,
    );
  }
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 1)) {
    throw new JobsError(
      'invalid_options',
      `${what}.jitter is ${String(jitter)}: use a number from 0 to 1.`,
    );
  }
  return {
    type: given.type,
    factor,
    maxDelayMs:
      given.maxDelay === undefined
        ? undefined
        : durationMs(given.maxDelay, `${what}.maxDelay`, 'invalid_options'),
    jitter,
  };
}

/**
 * The delay in milliseconds before the `retry`-th retry (1 for the first). The jitter takes up to
 * its share away, so that the cap is never exceeded.
 */
export function retryDelayMs(
  backoff: ResolvedBackoff,
  delayMs: number,
  retry: number,
  random: () => number,
): number {
  const most = backoff.maxDelayMs ?? Math.max(DAY_MS, delayMs);
  const grown = Math.min(grow(backoff, delayMs, retry), most, MAX_DURATION_MS);
  return Math.round(grown * (1 - backoff.jitter * random()));
}

function grow(backoff: ResolvedBackoff, delayMs: number, retry: number): number {
  switch (backoff.type) {
    case 'fixed':
      return delayMs;
    case 'linear':
      return delayMs * retry;
    case 'exponential':
      // Nothing grows to nothing; the power may be Infinity, and 0 × Infinity is no number.
      return delayMs === 0 ? 0 : delayMs * backoff.factor ** (retry - 1);
  }
}
