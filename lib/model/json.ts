/** Anything JSON can hold. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  [key: string]: JsonValue;
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The text that equal JSON shares: keys sorted by code unit, no white space. The value has passed
 * `toJsonText`, so its depth is bounded.
 */
export function canonicalJson(value: JsonValue): string {
  if (Array.isArray(value)) {
    return `[${value.map(canonicalJson).join(',')}]`;
  }
  if (!isJsonObject(value)) {
    return JSON.stringify(value);
  }
  const members = Object.entries(value).map(
    ([key, member]) => [key, `${JSON.stringify(key)}:${canonicalJson(member)}`] as const,
  );
  members.sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([, text]) => text).join(',')}}`;
}

/**
 * `incoming` over `defaults`: objects merge member by member, everything else replaces, null
 * included. Neither argument is changed; parts of `incoming` may be shared with the result.
 */
export function deepMerge(defaults: JsonValue, incoming: JsonValue): JsonValue {
  if (!isJsonObject(defaults) || !isJsonObject(incoming)) {
    return incoming;
  }
  const merged: JsonObject = { ...defaults };
  for (const [key, member] of Object.entries(incoming)) {
    const base = Object.hasOwn(defaults, key) ? defaults[key] : undefined;
    setOwn(merged, key, base === undefined ? member : deepMerge(base, member));
  }
  return merged;
}

/** Any object, to read members of unknown type from. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/**
 * Sets a member whatever its name: a plain assignment to `__proto__` would change the prototype,
 * and one to `constructor` throws where the host has frozen Object.prototype.
 */
export function setOwn<T>(target: Record<string, T>, key: string, value: T): void {
  if (key in target) {
    const descriptor = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(target, key, descriptor);
  } else {
    target[key] = value;
  }
}
