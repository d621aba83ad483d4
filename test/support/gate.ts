import type { JobContext } from '../../lib/index.js';
import { releaseAfterEach } from './cleanup.js';
import { until } from './waiting.js';

/** One call of a handler that the test holds in its hand. */
export interface Entry<P = unknown> {
  readonly ctx: JobContext<P>;
  /** Lets the handler return. */
  readonly release: (value?: unknown) => void;
  /** Lets the handler throw. */
  readonly fail: (thrown: unknown) => void;
}

/** Holds handlers until the test lets them go; whatever is still held after a test is let go. */
export interface HandlerGate<P = unknown> {
  /** For a handler's body: waits for the test, whatever its signal says. */
  readonly hold: (ctx: JobContext<P>) => Promise<unknown>;
  /** For a handler's body: waits for the test, or stops when its signal fires. */
  readonly obey: (ctx: JobContext<P>) => Promise<unknown>;
  /** The `nth` call for the job (1 = the first), once the handler is in it. */
  readonly entry: (jobId: string, nth?: number) => Promise<Entry<P>>;
  /** Every call so far, in order. */
  readonly entries: readonly Entry<P>[];
  /** From now to the end of the test handlers pass without waiting. */
  readonly open: () => void;
}

export function handlerGate<P = unknown>(): HandlerGate<P> {
  let entries: Entry<P>[] = [];
  let isOpen = false;

  function hold(ctx: JobContext<P>): Promise<unknown> {
    return new Promise<unknown>((resolve, reject) => {
      entries.push({ ctx, release: resolve, fail: reject });
      if (isOpen) {
        resolve(undefined);
      }
    });
  }

  function open(): void {
    isOpen = true;
    for (const entry of entries) {
      entry.release();
    }
  }

  releaseAfterEach(open, () => {
    entries = [];
    isOpen = false;
  });

  return {
    hold,
    open,
    obey(ctx) {
      const held = hold(ctx);
      const aborted = new Promise<never>((_, reject) => {
        const stop = (): void => reject(ctx.signal.reason as Error);
        if (ctx.signal.aborted) {
          stop();
        } else {
          ctx.signal.addEventListener('abort', stop, { once: true });
        }
      });
      return Promise.race([held, aborted]);
    },
    entry(jobId, nth = 1) {
      return until(
        () => entries.filter((entry) => entry.ctx.job.id === jobId)[nth - 1],
        `call ${nth} of the handler of ${jobId}`,
      );
    },
    get entries() {
      return entries;
    },
  };
}

/** A promise and its ends, for hooks and anything else that a test holds open. */
export interface Deferred<T = void> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve: (value) => resolve(value), reject: (error) => reject(error) };
}
