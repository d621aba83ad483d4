import { badField } from '../engine/enqueue-checks.js';
import { checkOptionKeys } from '../engine/option-keys.js';
import { isUuid } from '../model/id.js';
import { JobsError } from '../model/errors.js';
import { isPlainText } from '../model/text.js';

const TEXTS = ['tenantId', 'reason', 'actor'] as const;

/** What a scope has. */
export const SCOPE_KEYS: ReadonlySet<string> = new Set(['tenantId']);
/** What the options of an operation have. */
export const REASON_KEYS: ReadonlySet<string> = new Set(TEXTS);
export const FAIL_KEYS: ReadonlySet<string> = new Set([...TEXTS, 'result']);
export const DELETE_KEYS: ReadonlySet<string> = new Set([...TEXTS, 'cascade']);
export const FLOW_KEYS: ReadonlySet<string> = new Set(['manager']);
export const WAIT_KEYS: ReadonlySet<string> = new Set(['tenantId', 'timeout', 'signal']);
export const WATCH_KEYS: ReadonlySet<string> = new Set(['tenantId', 'after', 'whenReady']);
export const LOG_KEYS: ReadonlySet<string> = new Set([
  'tenantId',
  'after',
  'level',
  'limit',
  'tail',
]);
export const MANY_KEYS: ReadonlySet<string> = new Set(['onConflict', 'manager']);

/** An id as it is stored, a job's unless it says else. @throws JobsError `invalid_request` for what is no UUID, as over REST */
export function checkedId(id: unknown, what = 'job'): string {
  if (!isUuid(id)) {
    throw badField('id', `must be the id of a ${what}, a UUID`);
  }
  return id.toLowerCase();
}

/** A worker's id as it is stored. @throws JobsError `invalid_request` for anything but a text that a database holds */
export function checkedWorkerId(id: unknown, what = 'id'): string {
  if (!isPlainText(id, 0, Infinity)) {
    throw badField(what, 'must be the id of a worker, a text');
  }
  return id.toLowerCase();
}

/**
 * A scope that is misspelt would reach the jobs of every tenant, so what is not known is refused.
 *
 * @throws JobsError `invalid_request` that names the option
 */
export function checkOptions(given: object, known: ReadonlySet<string>, what = 'options'): void {
  checkOptionKeys(given, known, what);
  const options: Partial<Record<string, unknown>> = { ...given };
  for (const key of TEXTS) {
    if (options[key] !== undefined) {
      // A reason is stored with what cannot be stored replaced; a tenant is looked for as it is.
      (key === 'tenantId' ? checkSought : checkText)(options[key], key);
    }
  }
}

/** @throws JobsError `invalid_request` that names the argument for anything but a text */
export function checkText(value: unknown, what: string): void {
  if (typeof value !== 'string') {
    throw badField(what, 'must be a text');
  }
}

/** What is looked for. @throws JobsError `invalid_request` that names the argument for anything but a text that a database holds */
export function checkSought(value: unknown, what: string): void {
  checkText(value, what);
  if (!isPlainText(value, 0, Infinity)) {
    throw badField(what, 'must be a text without NUL and without halves of surrogate pairs');
  }
}

/** @throws JobsError `invalid_request` for anything but an AbortSignal, or nothing */
export function checkSignal(signal: unknown): void {
  if (
    signal !== undefined &&
    (typeof signal !== 'object' || signal === null || !('throwIfAborted' in signal))
  ) {
    throw badField('signal', 'must be an AbortSignal');
  }
}

/** @throws JobsError `invalid_request` for anything but a function, or nothing */
export function checkCallback(given: unknown, what: string): void {
  if (given !== undefined && typeof given !== 'function') {
    throw badField(what, 'must be a function');
  }
}

/** @throws JobsError `invalid_request` for anything but an array */
export function checkItems(items: unknown): void {
  if (!Array.isArray(items)) {
    throw badField('items', 'must be an array of { type, params, ...options }');
  }
}

/** @throws JobsError `invalid_request` for another word */
export function checkedConflict(onConflict: unknown): 'fail' | 'ignore' {
  if (onConflict !== undefined && onConflict !== 'fail' && onConflict !== 'ignore') {
    throw badField('onConflict', "must be 'fail' or 'ignore'");
  }
  return onConflict ?? 'fail';
}

/** @throws JobsError `invalid_request` that names the argument for anything but such a number */
export function wholeNumber(value: number, field: string, most: number, least = 1): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new JobsError(
      'invalid_request',
      `${field} is ${String(value)}: use a whole number from ${least} to ${most}.`,
      {
        errors: [{ field, message: `must be a whole number from ${least} to ${most}` }],
      },
    );
  }
  return value;
}
