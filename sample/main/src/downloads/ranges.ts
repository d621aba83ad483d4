/** What proves that the rest comes from the same version of the file: kept as the checkpoint. */
export interface Validator {
  readonly etag?: string;
  readonly lastModified?: string;
  /** Bytes in all, where the server said so. */
  readonly total?: number;
}

/** Which bytes an answer brings. */
export interface Body {
  /** Position of its first byte. */
  readonly offset: number;
  /** Bytes of the whole file, where the server says so. */
  readonly total: number | undefined;
}

/** The value of `If-Range`, if there is one: without it nobody knows whether the rest fits. */
export function ifRange(validator: Validator): string | undefined {
  return validator.etag ?? validator.lastModified;
}

/** The validator of an answer, of the kinds that may prove a range (RFC 9110, section 13.1.5). */
export function validatorOf(headers: Headers, total: number | undefined): Validator {
  if (isEncoded(headers)) return {};
  const etag = headers.get('etag');
  const lastModified = headers.get('last-modified');
  const date = headers.get('date');
  const known = total === undefined ? {} : { total };
  if (etag !== null && !etag.startsWith('W/')) return { etag, ...known };
  if (lastModified !== null && date !== null && isStrong(lastModified, date)) {
    return { lastModified, ...known };
  }
  return known;
}

/** What is in the body; undefined when the answer is neither the file nor the range asked for. */
export function bodyOf(response: Response, asked: Validator, offset: number): Body | undefined {
  const { status, headers } = response;
  if (status === 200) return { offset: 0, total: contentLength(headers) };
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  const isOther = (headers.get('etag') ?? asked.etag) !== asked.etag;
  if (status !== 206 || isOther || Number(range?.[1]) !== offset) return undefined;
  return { offset, total: range?.[2] === '*' ? undefined : Number(range?.[2]) };
}

/** Milliseconds that a `Retry-After` asks for, in seconds or as a date. */
export function retryAfterMs(headers: Headers, now: number): number | undefined {
  const text = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_WAIT_MS);
}

const LONGEST_WAIT_MS = 86_400_000;

// Two versions can share a second, so a time proves something only when it lies behind the answer's.
function isStrong(lastModified: string, date: string): boolean {
  return Date.parse(date) - Date.parse(lastModified) >= 1000;
}

// Of a body that is compressed on the way, the length says nothing about the file.
function contentLength(headers: Headers): number | undefined {
  const text = headers.get('content-length');
  return text === null || isEncoded(headers) ? undefined : Number(text);
}

function isEncoded(headers: Headers): boolean {
  return (headers.get('content-encoding') ?? 'identity') !== 'identity';
}
