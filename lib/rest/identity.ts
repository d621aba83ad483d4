import type { JobsIdentity } from '../jobs.options.js';
import { isPlainText } from '../model/text.js';
import type { HttpRequest } from './http.js';

/** Who makes a request, with nothing left out. */
export interface Caller {
  readonly tenantId: string;
  readonly userId: string | null;
  readonly isOperator: boolean;
}

/** The tenant of a host that has none, and its only caller. */
export const EVERYONE: Caller = {
  tenantId: '00000000-0000-0000-0000-000000000000',
  userId: null,
  isOperator: true,
};

/** Kept beside the request rather than on it, where a host's middleware could set it. */
const callers = new WeakMap<object, Caller>();

export function remember(request: HttpRequest, caller: Caller): void {
  callers.set(request, caller);
}

export function callerOf(request: HttpRequest): Caller | undefined {
  return callers.get(request);
}

/** What `identify` gave, checked; a text says what is wrong with it, without what it was. */
export function toCaller(given: unknown): Caller | string {
  if (typeof given !== 'object' || given === null) {
    return given === null ? 'null' : typeof given;
  }
  const { tenantId, userId = null, operator = false }: Partial<JobsIdentity> = given;
  if (!isName(tenantId)) {
    return 'an object without a fit tenantId';
  }
  if (userId !== null && !isName(userId)) {
    return 'an object without a fit userId';
  }
  return typeof operator === 'boolean'
    ? { tenantId, userId, isOperator: operator }
    : 'an object whose operator is neither true nor false';
}

/** `identify` has failed a request, and its host was told. */
export class Unidentified extends Error {
  override readonly name: string = 'Unidentified';
}

function isName(value: unknown): value is string {
  return isPlainText(value, 1, 64);
}
