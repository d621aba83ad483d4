import type { JobsIdentity } from '../jobs.options.js';
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

/** What `identify` gave, checked; undefined when it is not an identity. */
export function toCaller(given: unknown): Caller | undefined {
  if (typeof given !== 'object' || given === null) {
    return undefined;
  }
  const { tenantId, userId = null, operator = false }: Partial<JobsIdentity> = given;
  const isFit = isName(tenantId) && (userId === null || isName(userId));
  return isFit && typeof operator === 'boolean'
    ? { tenantId, userId, isOperator: operator }
    : undefined;
}

const UNSTORABLE = /[\0\p{Surrogate}]/u;

function isName(value: unknown): value is string {
  return (
    typeof value === 'string' && value.length >= 1 && value.length <= 64 && !UNSTORABLE.test(value)
  );
}
