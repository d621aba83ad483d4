import { types } from 'node:util';
import { JobsError } from './errors.js';
import { isRecord, setOwn, type JsonObject, type JsonValue } from './json.js';
import { storableText } from './text.js';

/** Which code bad content is reported under; too many bytes are `too_large` in any case. */
export type JsonErrorCode = 'invalid_params' | 'invalid_request';

export interface PlainJsonOptions {
  /** Names the value in messages and field paths. */
  readonly what: string;
  readonly code: JsonErrorCode;
  readonly bytes: number;
  readonly depth: number;
}

/** Keys a value may have in all. */
export const MAX_JSON_KEYS = 10_000;

/**
 * A plain copy of the value, as `JSON.stringify` would read it (`toJSON` called, undefined members
 * dropped), or an error that says which part cannot be stored and what to do. Where JSON would lose
 * data without a word (NaN, a Map, a function) it is an error too. It keeps a stack of its own:
 * a value 10,000 levels deep parses, but would overflow the call stack here.
 *
 * @throws JobsError `too_large`, or `options.code`
 */
export function plainJson(value: unknown, options: PlainJsonOptions): JsonValue {
  return new PlainCopy(options).of(value);
}

/** The 413 of a value with more bytes than allowed. */
export function tooLarge(what: string, limit: number): JobsError {
  return new JobsError(
    'too_large',
    `${what} takes more than the ${limit} bytes of JSON that are allowed. ` +
      'Keep large data elsewhere and pass a reference to it.',
  );
}

/** A container being copied; `source` is what `toJSON` made of it. */
interface Level {
  readonly name: string;
  readonly source: Container;
  readonly keys: readonly string[] | undefined;
  readonly length: number;
  readonly target: JsonValue[] | JsonObject;
  next: number;
}

type Scalar = string | number | boolean | null;
type Container = Readonly<Record<string, unknown>>;

class PlainCopy {
  readonly #options: PlainJsonOptions;
  readonly #levels: Level[] = [];
  /** A lower bound of the text's bytes, so that huge values end early. */
  #bytes = 0;
  #keys = 0;
  /** The part being read, below the levels that are open. */
  #name: string;

  constructor(options: PlainJsonOptions) {
    this.#options = options;
    this.#name = options.what;
  }

  of(value: unknown): JsonValue {
    try {
      return this.#copy(value);
    } catch (thrown) {
      throw thrown instanceof JobsError
        ? thrown
        : this.#refuse('cannot be read: its getter or toJSON threw', 'Pass plain data.', thrown);
    }
  }

  #copy(value: unknown): JsonValue {
    const root = this.#unwrap(value, '');
    if (root === undefined) {
      throw this.#refuse('has no JSON form', 'Pass null, or leave it out.');
    }
    const copy = this.#begin(root);
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      if (level.next < level.length) {
        this.#copyNext(level);
      } else {
        this.#levels.pop();
      }
    }
    return copy;
  }

  #copyNext(level: Level): void {
    const index = level.next;
    level.next += 1;
    const key = level.keys?.[index] ?? String(index);
    this.#name = key;
    const value = this.#unwrap(level.source[key], key);
    if (Array.isArray(level.target)) {
      level.target.push(this.#begin(value ?? null));
    } else if (value !== undefined) {
      this.#checkKey(key);
      setOwn(level.target, key, this.#begin(value));
    }
  }

  /** The scalar itself, or the empty copy of a container that is now open. */
  #begin(value: Scalar | Container): JsonValue {
    if (isRecord(value)) {
      return this.#open(value);
    }
    if (typeof value === 'string') {
      this.#count(value.length + 2);
      this.#checkText(value, '');
    } else {
      this.#count(1);
    }
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw this.#refuse(`is ${value}, which JSON cannot hold`, 'Pass a finite number or null.');
    }
    return value;
  }

  #open(source: Container): JsonValue {
    if (this.#levels.length >= this.#options.depth) {
      throw this.#refuse(
        `is nested more than ${this.#options.depth} levels deep`,
        'Flatten it, or keep it elsewhere and pass a reference to it.',
      );
    }
    const keys = Array.isArray(source) ? undefined : Object.keys(source);
    const length = Array.isArray(source) ? source.length : (keys?.length ?? 0);
    // Brackets and commas. A sparse array of a billion holes ends here.
    this.#count(Array.isArray(source) ? length + 1 : 2);
    const target: JsonValue[] | JsonObject = Array.isArray(source) ? [] : {};
    this.#levels.push({ name: this.#name, source, keys, length, target, next: 0 });
    return target;
  }

  /** What `JSON.stringify` would write instead of the value. */
  #unwrap(value: unknown, key: string): Scalar | Container | undefined {
    const plain = unbox(isRecord(value) ? this.#callToJson(value, key) : value);
    if (typeof plain === 'bigint') {
      throw this.#refuse('is a bigint, which JSON cannot hold', 'Pass it as a string.');
    }
    if (plain instanceof Map || plain instanceof Set || plain instanceof Promise) {
      const fix = plain instanceof Promise ? 'Await it first.' : 'Pass an object or an array.';
      throw this.#refuse(`is a ${plain.constructor.name}, which JSON would lose`, fix);
    }
    if (typeof plain === 'function' || typeof plain === 'symbol') {
      throw this.#refuse(`is a ${typeof plain}, which JSON would lose`, 'Pass plain data.');
    }
    return isRecord(plain) || isScalar(plain) ? plain : undefined;
  }

  #callToJson(value: Container, key: string): unknown {
    this.#checkCircle(value);
    const { toJSON } = value;
    return typeof toJSON === 'function' ? Reflect.apply(toJSON, value, [key]) : value;
  }

  #checkCircle(value: unknown): void {
    const at = this.#levels.findIndex((level) => level.source === value);
    if (at >= 0) {
      const origin = fieldPath(this.#levels.slice(0, at + 1).map((level) => level.name));
      throw this.#refuse(`refers back to ${origin}, a circle`, 'Pass an id instead.');
    }
  }

  #checkKey(key: string): void {
    this.#keys += 1;
    this.#count(key.length + 3);
    if (key === '__proto__') {
      throw this.#refuse('is a key that is never accepted', 'Rename it.');
    }
    this.#checkText(key, 'has a name that ');
    if (this.#keys > MAX_JSON_KEYS) {
      throw this.#refuse(
        `is one key more than the ${MAX_JSON_KEYS} allowed in all`,
        'Pass fewer, or keep the data elsewhere and pass a reference to it.',
      );
    }
  }

  #checkText(text: string, subject: string): void {
    if (UNSTORABLE.test(text)) {
      const found = text.includes('\0') ? 'a NUL character' : 'half of a surrogate pair';
      throw this.#refuse(
        `${subject}contains ${found}, which not every database can store`,
        'Remove it, or encode the text, as base64 for example.',
      );
    }
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#options.bytes) {
      throw tooLarge(this.#options.what, this.#options.bytes);
    }
  }

  #refuse(what: string, fix: string, cause?: unknown): JobsError {
    const names = this.#levels.map((level) => level.name);
    const field = fieldPath([...names, this.#name]);
    return new JobsError(this.#options.code, `${field} ${what}. ${fix}`, {
      cause,
      errors: [{ field, message: `${what}. ${fix}` }],
    });
  }
}

/** `new String('x')` and its like, which JSON writes as the primitive. */
function unbox(value: unknown): unknown {
  return types.isBoxedPrimitive(value) ? value.valueOf() : value;
}

function isScalar(value: unknown): value is Scalar {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** A path short enough to read and safe to log, however long and odd its parts are. */
export function fieldPath(names: readonly string[]): string {
  const shown = names.length > 12 ? [...names.slice(0, 8), '…', ...names.slice(-3)] : names;
  return shown
    .map((name) => storableText(name.length > 64 ? `${name.slice(0, 63)}…` : name))
    .join('.');
}
