import { isObservable, type Observable } from 'rxjs';

/** How a handler's output is read: its emissions, its end, and how to stop it. */
export interface OutputReader {
  /** Resolves with the returned value, undefined for a stream that completed. */
  readonly done: Promise<unknown>;
  /** Unsubscribes or returns the stream; no effect on a plain promise. */
  stop(reason: Error): void;
}

/** Whether the value is a stream of progress rather than a result. */
export function isStream(value: unknown): value is Observable<unknown> | AsyncIterable<unknown> {
  return (
    isObservable(value) ||
    (typeof value === 'object' && value !== null && Symbol.asyncIterator in value)
  );
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  );
}

/** Reads an Observable or an async iterable; a throw of `emit` ends it with that error. */
export function readStream(
  stream: Observable<unknown> | AsyncIterable<unknown>,
  emit: (value: unknown) => void,
): OutputReader {
  return isObservable(stream) ? readObservable(stream, emit) : readIterable(stream, emit);
}

function readObservable(stream: Observable<unknown>, emit: (value: unknown) => void): OutputReader {
  let stop: (reason: Error) => void = () => undefined;
  const done = new Promise<unknown>((resolve, reject) => {
    let isRefused = false;
    const subscription = stream.subscribe({
      next: (value) => {
        // A synchronous stream goes on emitting after the emission that was refused.
        if (isRefused) {
          return;
        }
        try {
          emit(value);
        } catch (error) {
          isRefused = true;
          reject(error);
          queueMicrotask(() => subscription.unsubscribe());
        }
      },
      error: reject,
      complete: () => resolve(undefined),
    });
    stop = (reason) => {
      subscription.unsubscribe();
      reject(reason);
    };
  });
  return { done, stop: (reason) => stop(reason) };
}

function readIterable(
  stream: AsyncIterable<unknown>,
  emit: (value: unknown) => void,
): OutputReader {
  const iterator = stream[Symbol.asyncIterator]();
  let stopped: Error | undefined;
  const read = async (): Promise<unknown> => {
    for (;;) {
      const step = await iterator.next();
      if (stopped !== undefined) {
        throw stopped;
      }
      if (step.done === true) {
        // A generator may also return a result.
        return step.value;
      }
      try {
        emit(step.value);
      } catch (error) {
        await iterator.return?.();
        throw error;
      }
    }
  };
  return {
    done: read(),
    stop: (reason) => {
      stopped = reason;
      // A generator that is suspended at a yield ends now, one that awaits ends at its next yield.
      // What it throws on the way is not the run's outcome.
      new Promise((resolve) => resolve(iterator.return?.())).catch(ignored);
    },
  };
}

function ignored(): void {
  // The run has its ending already: the reason it was stopped for.
}
