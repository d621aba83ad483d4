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
  return uuidWith(ms, twelveBits, drawTail());
}

/** Draws the 62 random bits that end an id; what is returned stands for them until the next call. */
export function drawTail(): number {
  if (used === hexPool.length) {
    hexPool = randomFillSync(pool).toString('hex');
    used = 0;
  }
  const drawn = used;
  used += TAIL_CHARS;
  return drawn;
}

/** The first thirty of the bits drawn. */
export function highOfTail(drawn: number): number {
  return pool.readUInt32BE(drawn / 2) & 0x3fffffff;
}

/** The other 32, as a signed integer. */
export function lowOfTail(drawn: number): number {
  return pool.readInt32BE(drawn / 2 + 4);
}

/** {@link uuidAt} with the bits that were drawn last. */
export function uuidWith(ms: number, twelveBits: number, drawn: number): string {
  // The two bits of the variant come before the first two of the tail.
  const variant = '89ab'[((pool[drawn / 2] ?? 0) >> 4) & 3] ?? '8';
  return (
    `${headOf(ms, twelveBits)}-${variant}${hexPool.slice(drawn + 1, drawn + 4)}` +
    `-${hexPool.slice(drawn + 4, drawn + TAIL_CHARS)}`
  );
}

/** The UUID whose tail has these bits. */
export function uuidOf(ms: number, twelveBits: number, high: number, low: number): string {
  const first = (0x8000 | (high >> 16)) & 0xffff;
  return (
    `${headOf(ms, twelveBits)}-${hex(first >> 8)}${hex(first)}-${hex(high >> 8)}${hex(high)}` +
    `${hex(low >> 24)}${hex(low >> 16)}${hex(low >> 8)}${hex(low)}`
  );
}

function headOf(ms: number, twelveBits: number): string {
  if (ms !== writtenMs) {
    const text = ms.toString(16).padStart(12, '0');
    writtenMs = ms;
    writtenTime = `${text.slice(0, 8)}-${text.slice(8)}-7`;
  }
  return `${writtenTime}${'0123456789abcdef'[twelveBits >> 8] ?? ''}${hex(twelveBits)}`;
}

/** The lowest byte. */
function hex(value: number): string {
  return HEX[value & 0xff] ?? '';
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
  if (!isUuid(id) || id[14] !== '7') {
    return undefined;
  }
  const first = Number.parseInt(id.slice(19, 23), 16);
  return {
    ms: Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16),
    twelveBits: Number.parseInt(id.slice(15, 18), 16),
    high: ((first & 0x3fff) << 16) | Number.parseInt(id.slice(24, 28), 16),
    low: Number.parseInt(id.slice(28), 16) | 0,
  };
}
