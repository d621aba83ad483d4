import type { JobEvent } from '../model/job.js';
import { durationMs, type Duration } from '../model/duration.js';
import { JobsError } from '../model/errors.js';
import { isFinal } from '../model/job-status.js';
import type { Engine } from './engine.js';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Resolves when the job is final.
 *
 * @throws JobsError `not_found`, `not_finished`; or the reason of the caller's signal
 */
export function waitForEnd(
  engine: Engine,
  id: string,
  options: {
    readonly tenantId?: string;
    readonly timeout?: Duration;
    readonly signal?: AbortSignal;
  },
): Promise<void> {
  const { timeout, signal, tenantId } = options;
  const timeoutMs = timeout === undefined ? undefined : durationMs(timeout, 'timeout');
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    let last: JobEvent | undefined;
    const until = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs;
    let timer: NodeJS.Timeout | undefined;
    const aborted = (): void => finish(() => reject(signal?.reason));
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      subscription.unsubscribe();
      settle();
    };
    const arm = (): void => {
      const leftMs = until - performance.now();
      timer = setTimeout(
        () =>
          performance.now() >= until - 1 ? finish(() => reject(notFinished(id, last))) : arm(),
        Math.min(Math.max(0, leftMs), LONGEST_TIMER_MS),
      );
    };
    signal?.addEventListener('abort', aborted, { once: true });
    const subscription = engine.watch(id, tenantId === undefined ? {} : { tenantId }).subscribe({
      next: (event) => {
        last = event;
        // The deadline counts from the call, but nobody is refused before the first look.
        if (timer === undefined && timeoutMs !== undefined) {
          arm();
        }
      },
      error: (error: unknown) => queueMicrotask(() => finish(() => reject(error))),
      complete: () =>
        queueMicrotask(() =>
          finish(() =>
            last !== undefined && isFinal(last.status) ? resolve() : reject(notFinished(id, last)),
          ),
        ),
    });
  });
}

function notFinished(id: string, last: JobEvent | undefined): JobsError {
  return new JobsError(
    'not_finished',
    `Job ${id} has not ended in time${last === undefined ? '' : `: it is ${last.status}`}. It goes on; wait again or watch it.`,
    { members: { job_id: id } },
  );
}
