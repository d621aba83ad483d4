import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const TAIL_CHARS = 16;

const pool = Buffer.alloc(POOL_BYTES);
let hexPool = '';
let used = 0;
let writtenMs = -1;
let writtenTime = '';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

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
  if (ms !== writtenMs) {
    const hex = ms.toString(16).padStart(12, '0');
    writtenMs = ms;
    writtenTime = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
  }
  if (used === hexPool.length) {
    hexPool = randomFillSync(pool).toString('hex');
    used = 0;
  }
  const at = used;
  used += TAIL_CHARS;
  // The two bits of the variant, and fourteen random ones of the same group.
  const variant = '89ab'[hexPool.charCodeAt(at) & 3] ?? '8';
  const counter = HEX[twelveBits & 0xff] ?? '';
  return (
    `${writtenTime}${'0123456789abcdef'[twelveBits >> 8] ?? ''}${counter}` +
    `-${variant}${hexPool.slice(at + 1, at + 4)}-${hexPool.slice(at + 4, at + TAIL_CHARS)}`
  );
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether the text is a UUID in its usual form, of any version. */
export function isUuid(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text);
}

/** The time in a UUID of version 7 and the twelve bits after it; undefined for any other. */
export function uuidParts(id: string): { ms: number; twelveBits: number } | undefined {
  if (!isUuid(id) || id[14] !== '7') {
    return undefined;
  }
  return {
    ms: Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16),
    twelveBits: Number.parseInt(id.slice(15, 18), 16),
  };
}
