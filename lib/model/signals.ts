import type { Duration } from './duration.js';

/** Why a handler's signal fired. */
export type JobAbortCode = 'canceled' | 'suspended' | 'timeout' | 'shutdown' | 'lease_lost';

/**
 * The reason of a handler's `AbortSignal`. Rejecting with it (or any `AbortError`) after
 * `suspended` or `shutdown` means "stopped"; the job goes on later from its checkpoint.
 */
export class JobAbortError extends Error {
  /** `AbortError`, so that libraries that look at names treat it as an abort. */
  override readonly name: string = 'AbortError';
  readonly code: JobAbortCode;

  constructor(code: JobAbortCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Thrown by a handler: fail now, whatever retries are left. */
export class UnrecoverableJobError extends Error {
  override readonly name: string = 'UnrecoverableJobError';
}

/** Thrown by a handler: come back after `delay`, without costing a retry. */
export class RetryLater extends Error {
  override readonly name: string = 'RetryLater';
  /** Milliseconds or a duration text; checked when it is thrown. */
  readonly delay: Duration;

  constructor(delay: Duration, message = 'The handler asked to be run again later.') {
    super(message);
    this.delay = delay;
  }
}

/** What `ctx.skip`, `ctx.reschedule`, `ctx.sleep` and `ctx.waitForSignal` throw to end the handler. */
export class SteeringSignal extends Error {
  override readonly name: string = 'SteeringSignal';
  readonly kind: 'skip' | 'reschedule' | 'release';
  readonly reason: string;

  constructor(kind: SteeringSignal['kind'], reason: string) {
    super(reason);
    this.kind = kind;
    this.reason = reason;
  }
}

/** Whether something thrown says "I stopped because my signal fired". */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError';
}

/** Whether something thrown is an {@link UnrecoverableJobError}, also a subclass or one of another copy of this package. */
export function isUnrecoverable(thrown: unknown): boolean {
  return thrown instanceof UnrecoverableJobError || hasName(thrown, 'UnrecoverableJobError');
}

/** Whether something thrown is a {@link RetryLater}, likewise. */
export function isRetryLater(thrown: unknown): thrown is RetryLater {
  return (
    thrown instanceof RetryLater ||
    (hasName(thrown, 'RetryLater') &&
      typeof thrown === 'object' &&
      thrown !== null &&
      'delay' in thrown)
  );
}

function hasName(thrown: unknown, name: string): boolean {
  return thrown instanceof Error && thrown.name === name;
}
