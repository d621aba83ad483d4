import { createHash } from 'node:crypto';
import { durationMs } from '../model/duration.js';
import { JobsError } from '../model/errors.js';
import { canonicalJson, isRecord, type JsonValue } from '../model/json.js';
import { isPlainText } from '../model/text.js';
import { UNIQUE_CONFLICTS, UNIQUE_UNTIL, type UniqueClaim } from '../model/unique.js';

/** What a type or an enqueue says of it; what is absent is said by the type, or is the default. */
export type UniqueTerms = Partial<UniqueClaim>;

const KEYS: readonly string[] = ['key', 'until', 'within', 'onConflict'];

/**
 * The option `unique` of an enqueue, or of the type that is named.
 *
 * @throws JobsError `invalid_request`, or `invalid_options` for a type
 */
export function uniqueTerms(given: unknown, where = ''): UniqueTerms | undefined {
  if (given === undefined) {
    return undefined;
  }
  if (given === true) {
    return {};
  }
  if (!isRecord(given) || Array.isArray(given)) {
    throw bad(where, 'unique', `must be true, or an object that may have ${KEYS.join(', ')}`);
  }
  const unknown = Object.keys(given).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw bad(where, `unique.${unknown}`, `is unknown: use ${KEYS.join(', ')}`);
  }
  const { key, until, within, onConflict } = given;
  if (key !== undefined && !isPlainText(key, 1, 255)) {
    throw bad(where, 'unique.key', 'must be a text of 1 to 255 characters');
  }
  return {
    ...(key === undefined ? {} : { key }),
    ...(until === undefined ? {} : { until: oneOf(until, UNIQUE_UNTIL, where, 'unique.until') }),
    ...(within === undefined
      ? {}
      : { withinMs: Math.round(durationMs(within, `${where}unique.within`, codeOf(where))) }),
    ...(onConflict === undefined
      ? {}
      : { onConflict: oneOf(onConflict, UNIQUE_CONFLICTS, where, 'unique.onConflict') }),
  };
}

/**
 * The key that a job claims, if it claims any: what the enqueue says goes over what its type says.
 *
 * @param params as accepted, with the defaults of the type
 * @throws JobsError `invalid_request`
 */
export function uniqueClaim(
  type: { readonly typeId: string; readonly unique: UniqueTerms | undefined },
  given: unknown,
  params: JsonValue,
): UniqueClaim | null {
  const own = uniqueTerms(given);
  if (own === undefined && type.unique === undefined) {
    return null;
  }
  const { key, until, withinMs, onConflict } = { ...type.unique, ...own };
  return {
    key: key ?? `${type.typeId} ${hashOf(params)}`,
    until: until ?? 'final',
    withinMs: withinMs ?? 0,
    onConflict: onConflict ?? 'reject',
  };
}

function hashOf(params: JsonValue): string {
  return createHash('sha256').update(canonicalJson(params)).digest('hex');
}

function oneOf<T extends string>(
  value: unknown,
  words: readonly T[],
  where: string,
  field: string,
): T {
  const word = words.find((each) => each === value);
  if (word === undefined) {
    throw bad(where, field, `must be one of ${words.join(', ')}`);
  }
  return word;
}

function codeOf(where: string): 'invalid_request' | 'invalid_options' {
  return where === '' ? 'invalid_request' : 'invalid_options';
}

function bad(where: string, field: string, message: string): JobsError {
  return new JobsError(codeOf(where), `${where}${field} ${message}.`, {
    errors: [{ field, message }],
  });
}
