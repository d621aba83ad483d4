import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const TAIL_CHARS = 16;

const pool = Buffer.alloc(POOL_BYTES);
let hexPool = '';
let used = 0;
let lastMs = 0;
let sequence = 0;
let writtenMs = -1;
let writtenTime = '';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/**
 * A UUID of version 7 (RFC 9562): ordered by time, and within this process strictly increasing.
 * Twelve bits after the time count within a millisecond; 62 bits are random.
 */
export function newId(nowMs: number = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    lastMs += 1;
    sequence = 0;
  }
  return uuidAt(lastMs, sequence);
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
