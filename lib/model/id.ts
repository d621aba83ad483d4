import { randomFillSync } from 'node:crypto';

/** Random numbers are fetched so many at a time. */
const pool = new Uint32Array(1024);
let used = pool.length;

/** The text of an id while it is written: one flat string a call, where joining leaves a tree of parts. */
const text = Buffer.from('00000000-0000-7000-8000-000000000000', 'latin1');
let writtenMs = 0;

/** The codes of the two digits of a byte, the first one in the lower half. */
const DIGITS = Uint16Array.from({ length: 256 }, (_, byte) =>
  Buffer.from(byte.toString(16).padStart(2, '0'), 'latin1').readUInt16LE(),
);

/** The other way round: the value of a digit by its code; of whatever is none NaN. */
const VALUES = Float64Array.from({ length: 128 }, (_, code) =>
  /[0-9a-f]/i.test(String.fromCharCode(code))
    ? Number.parseInt(String.fromCharCode(code), 16)
    : NaN,
);

/** A clock that was set back by more is followed; until then ids go on from the last one. */
export const FOLLOWED_AFTER_MS = 60_000;

/** Ids of jobs say no earlier time: a clock that does is one that knows no date. */
export const EARLIEST_ID_MS = Date.UTC(2024, 0, 1);

/** Nor a later one, so that row numbers made of ids stay safe integers. */
export const LATEST_ID_MS = Date.UTC(2093, 0, 1);

/**
 * UUIDs of version 7 (RFC 9562) that increase as long as the clock does: twelve bits after the time
 * count within a millisecond, 62 bits are random.
 */
export class IdSequence {
  readonly #first: number;
  #lastMs = 0;
  #count = 0;

  /** @param first where the count of each millisecond begins, below 4096 */
  constructor(first = 0) {
    this.#first = first;
  }

  next(nowMs: number): string {
    const ms = Math.min(Math.max(nowMs, EARLIEST_ID_MS), LATEST_ID_MS);
    if (ms > this.#lastMs || this.#lastMs - ms > FOLLOWED_AFTER_MS) {
      this.#lastMs = ms;
      this.#count = this.#first;
    } else if (++this.#count > 0xfff) {
      this.#lastMs += 1;
      this.#count = this.#first;
    }
    return uuidAt(this.#lastMs, this.#count);
  }
}

const ids = new IdSequence();

/** An id for anything but a job: a worker, a run. */
export function newId(nowMs: number = Date.now()): string {
  return ids.next(nowMs);
}

/** A UUID of version 7 with that time and those twelve bits after it; the rest is random. */
export function uuidAt(ms: number, twelveBits: number): string {
  return uuidOf(ms, twelveBits, randomHigh(), randomLow());
}

/** Thirty random bits, for the first part of an id's tail. */
export function randomHigh(): number {
  return random() & 0x3fffffff;
}

/** 32 random bits as a signed integer, for the other part. */
export function randomLow(): number {
  return random() | 0;
}

function random(): number {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 1;
  return pool[used - 1] ?? 0;
}

/** The UUID of version 7 of that time, with those twelve bits after it and those 62 in its tail. */
export function uuidOf(ms: number, twelveBits: number, high: number, low: number): string {
  if (ms !== writtenMs) {
    const hex = ms.toString(16).padStart(12, '0');
    text.write(hex.slice(0, 8), 0, 'latin1');
    text.write(hex.slice(8), 9, 'latin1');
    writtenMs = ms;
  }
  write(14, 0x70 | (twelveBits >> 8));
  write(16, twelveBits);
  write(19, 0x80 | (high >> 24));
  write(21, high >> 16);
  write(24, high >> 8);
  write(26, high);
  write(28, low >> 24);
  write(30, low >> 16);
  write(32, low >> 8);
  write(34, low);
  return text.toString('latin1');
}

/** Writes the two digits of the lowest byte. */
function write(at: number, value: number): void {
  const digits = DIGITS[value & 0xff] ?? 0;
  text[at] = digits & 0xff;
  text[at + 1] = digits >> 8;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether the text is a UUID in its usual form, of any version. */
export function isUuid(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text);
}

/** What a UUID of version 7 is made of. */
export interface UuidParts {
  readonly ms: number;
  readonly twelveBits: number;
  /** The 62 bits behind the variant: thirty, and 32 as a signed integer. */
  readonly high: number;
  readonly low: number;
}

/** Takes a UUID of version 7 apart; undefined for any other. */
export function uuidParts(id: string): UuidParts | undefined {
  if (!hasUuidForm(id) || id[14] !== '7') {
    return undefined;
  }
  const ms = hexOf(id, 0, 8) * 0x10000 + hexOf(id, 9, 13);
  const twelveBits = hexOf(id, 15, 18);
  const first = hexOf(id, 19, 23);
  const second = hexOf(id, 24, 28);
  const low = hexOf(id, 28, 36);
  return Number.isNaN(ms + twelveBits + first + second + low)
    ? undefined
    : { ms, twelveBits, high: ((first & 0x3fff) << 16) | second, low: low | 0 };
}

function hasUuidForm(id: unknown): boolean {
  return (
    typeof id === 'string' &&
    id.length === 36 &&
    id[8] === '-' &&
    id[13] === '-' &&
    id[18] === '-' &&
    id[23] === '-'
  );
}

/** The number that such digits of a text say; NaN where one is none. A pattern and five slices take eight times as long. */
function hexOf(digits: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) {
    value = value * 16 + (VALUES[digits.charCodeAt(at)] ?? Number.NaN);
  }
  return value;
}
