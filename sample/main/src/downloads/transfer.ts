import { open, rm, stat } from 'node:fs/promises';
import { RetryLater, UnrecoverableJobError } from 'nestjs-jobs';
import { bodyOf, ifRange, retryAfterMs, validatorOf, type Body, type Validator } from './ranges.js';
import { discard } from './verify.js';

/** What to fetch. */
export interface Source {
  readonly url: string;
  readonly size?: number | null;
  readonly stallSec: number;
}

/** What a transfer goes on from, tells, and is stopped by. */
export interface TransferOptions {
  readonly signal: AbortSignal;
  /** What `onStart` was given when the transfer that broke began. */
  readonly validator: unknown;
  readonly onStart: (validator: Validator, offset: number) => Promise<void>;
  readonly onBytes: (bytes: number, total: number | undefined) => void;
}

/**
 * Brings a URL into a file and resolves with its length. A file that an earlier attempt left is
 * gone on with, if the server proves that it still has the same version; else it begins again.
 */
export async function transfer(
  source: Source,
  file: string,
  options: TransferOptions,
): Promise<number> {
  const validator = isValidator(options.validator) ? options.validator : {};
  const there = await resumable(file, validator);
  if (there > 0 && there === validator.total) return there;
  const stall = new Stall(source.stallSec * 1000);
  const signal = AbortSignal.any([options.signal, stall.signal]);
  try {
    const response = await request(source.url, validator, there, signal);
    const body = await accepted(response, validator, there, file);
    const expected = source.size ?? body.total;
    if (body.total !== undefined && expected !== body.total) {
      await response.body?.cancel();
      await discard(file, `would have ${body.total} bytes instead of ${expected}`);
    }
    const kept = body.offset > 0 ? validator : validatorOf(response.headers, body.total);
    await options.onStart(kept, body.offset);
    const bytes = await write(response, file, body.offset, expected, (done) => {
      stall.postpone();
      options.onBytes(done, expected === undefined ? undefined : Math.max(expected, done));
    });
    if (expected !== undefined && bytes < expected) {
      throw new Error(`${source.url} ended after ${bytes} of ${expected} bytes`);
    }
    return bytes;
  } catch (error) {
    options.signal.throwIfAborted();
    stall.signal.throwIfAborted();
    throw isNetworkError(error) ? named(source.url, error) : error;
  } finally {
    stall.end();
  }
}

/** Aborts when it is not postponed in time. */
class Stall {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#timer = setTimeout(() => {
      this.#controller.abort(new Error(`The transfer stalled: no byte came for ${ms / 1000} s`));
    }, ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  postpone(): void {
    this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Bytes of the file that can be kept. */
async function resumable(file: string, validator: Validator): Promise<number> {
  if (ifRange(validator) === undefined) return 0;
  const there = await stat(file).catch(() => undefined);
  return there?.size ?? 0;
}

function request(url: string, validator: Validator, offset: number, signal: AbortSignal) {
  const headers = new Headers({ 'accept-encoding': 'identity' });
  const proof = ifRange(validator);
  if (offset > 0 && proof !== undefined) {
    headers.set('range', `bytes=${offset}-`);
    headers.set('if-range', proof);
  }
  return fetch(url, { headers, signal });
}

async function accepted(
  response: Response,
  validator: Validator,
  offset: number,
  file: string,
): Promise<Body> {
  const body = bodyOf(response, validator, offset);
  if (body !== undefined) return body;
  await response.body?.cancel();
  const answer = `${response.url} answered ${response.status} ${response.statusText}`.trim();
  if (response.status === 206 || response.status === 416) {
    await rm(file, { force: true });
    throw new Error(`${answer}, not the range that was asked for: it begins again`);
  }
  const wait = retryAfterMs(response.headers, Date.now());
  if ((response.status === 429 || response.status === 503) && wait !== undefined) {
    throw new RetryLater(wait, answer);
  }
  if (response.status >= 500 || response.status === 408 || response.status === 429) {
    throw new Error(answer);
  }
  throw new UnrecoverableJobError(answer);
}

/**
 * Writes the body from `offset` on and resolves with the file's length. One that brings more than
 * expected is not read to its end, which may never come.
 */
async function write(
  response: Response,
  file: string,
  offset: number,
  expected: number | undefined,
  onBytes: (bytes: number) => void,
): Promise<number> {
  const handle = await open(file, offset === 0 ? 'w' : 'r+');
  try {
    let bytes = offset;
    for await (const chunk of response.body ?? []) {
      for (let from = 0; from < chunk.length;) {
        const { bytesWritten } = await handle.write(chunk, from, chunk.length - from, bytes);
        from += bytesWritten;
        bytes += bytesWritten;
      }
      onBytes(bytes);
      if (expected !== undefined && bytes > expected) break;
    }
    await handle.datasync();
    return bytes;
  } finally {
    await handle.close();
  }
}

function isValidator(value: unknown): value is Validator {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// `fetch` hides what went wrong behind "fetch failed" and "terminated".
function isNetworkError(error: unknown): error is TypeError {
  return error instanceof TypeError;
}

function named(url: string, error: TypeError): Error {
  const { cause } = error;
  const reason = cause instanceof Error && cause.message !== '' ? cause.message : error.message;
  return new Error(`Cannot fetch ${url}: ${reason}`, { cause: error });
}
