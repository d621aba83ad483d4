import type { JsonValue } from './json.js';
import { plainJson, tooLarge, type JsonErrorCode } from './json-plain.js';

/** How large JSON may be. */
export interface JsonLimits {
  /** Bytes of its text in UTF-8. */
  readonly bytes: number;
  /** Levels of objects and arrays within each other. */
  readonly depth: number;
}

/**
 * The JSON text of a value, as `JSON.stringify` makes it, once the value is known to be safe to
 * store on every database: bounded in bytes, depth and keys, no NUL, no lone surrogate, no own key
 * `__proto__`, nothing that JSON would lose.
 *
 * @param what names the value in messages and field paths, such as `params`
 * @param code defaults to `invalid_params` for `params`, else `invalid_request`
 * @throws JobsError `too_large`, or `code` with the path of what is wrong
 */
export function toJsonText(
  value: unknown,
  what: string,
  limits: JsonLimits,
  code?: JsonErrorCode,
): string {
  return toJson(value, what, limits, code).text;
}

/** JSON as it is stored, and what it holds. */
export interface StoredJson {
  readonly text: string;
  /** What parsing the text gives: a copy that shares nothing with what was given. */
  readonly value: JsonValue;
}

/** {@link toJsonText} with the value that was stored. */
export function toJson(
  value: unknown,
  what: string,
  limits: JsonLimits,
  code: JsonErrorCode = what === 'params' ? 'invalid_params' : 'invalid_request',
): StoredJson {
  const small = smallPlain(value, limits.depth);
  if (small !== undefined) {
    // A UTF-16 unit takes at most three bytes: short texts need no count.
    refuseLarge(small.text, what, limits.bytes);
    return small;
  }
  const text = JSON.stringify(plainJson(value, { what, code, ...limits }));
  refuseLarge(text, what, limits.bytes);
  return { text, value: JSON.parse(text) as JsonValue };
}

function refuseLarge(text: string, what: string, bytes: number): void {
  if (text.length * 3 > bytes && Buffer.byteLength(text) > bytes) {
    throw tooLarge(what, bytes);
  }
}

const SMALL = 20_000;
const SHALLOW = 32;

/** What is left of the size that counts as small; negative when it is spent. */
let budget = 0;

/**
 * What nearly every job carries: small, plain, harmless. Undefined for everything else, which
 * `plainJson` then looks at closely. It is copied in the same walk, which is faster than parsing the
 * text again. NUL and lone surrogates need no look at each string: `JSON.stringify` writes both as
 * `\u` escapes, so their absence shows in the text.
 */
function smallPlain(value: unknown, depth: number): StoredJson | undefined {
  try {
    budget = SMALL;
    const copied = copy(value, Math.min(depth, SHALLOW));
    if (copied === undefined || budget < 0) {
      return undefined;
    }
    const text = JSON.stringify(copied);
    return text.includes('\\u') ? undefined : { text, value: copied };
  } catch {
    // A getter or a proxy threw; `plainJson` says where.
    return undefined;
  }
}

/**
 * A copy of a plain value, undefined when it is not plain. A member weighs at least 2, which keeps
 * the number of keys in bounds without counting them.
 */
function copy(value: unknown, depth: number): JsonValue | undefined {
  switch (typeof value) {
    case 'string':
      budget -= value.length + 1;
      return value;
    case 'number':
      budget -= 1;
      // JSON knows no negative zero.
      return Number.isFinite(value) ? value + 0 : undefined;
    case 'boolean':
      budget -= 1;
      return value;
    case 'object':
      if (value === null) {
        budget -= 1;
        return null;
      }
      return depth === 0 ? undefined : copyObject(value, depth - 1);
    default:
      return undefined;
  }
}

function copyObject(value: object, depth: number): JsonValue | undefined {
  budget -= 1;
  if (Array.isArray(value)) {
    return copyArray(value, depth);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (
    (prototype !== Object.prototype && prototype !== null) ||
    (value as { toJSON?: unknown }).toJSON !== undefined
  ) {
    return undefined;
  }
  const copied: Record<string, JsonValue> = {};
  for (const key of Object.keys(value)) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined) {
      continue;
    }
    budget -= key.length + 1;
    const plain = key === '__proto__' || budget < 0 ? undefined : copy(member, depth);
    if (plain === undefined) {
      return undefined;
    }
    copied[key] = plain;
  }
  return copied;
}

function copyArray(array: readonly unknown[], depth: number): JsonValue | undefined {
  const copied: JsonValue[] = [];
  for (let index = 0; index < array.length && budget >= 0; index += 1) {
    const plain = copy(array[index], depth);
    if (plain === undefined) {
      return undefined;
    }
    copied.push(plain);
  }
  return budget < 0 ? undefined : copied;
}
