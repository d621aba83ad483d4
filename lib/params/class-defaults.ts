import type { JsonObject } from '../model/json.js';

/** A class that params can be made of: constructed without arguments. */
export type ParamsClass = new () => object;

/** What a new instance holds, as JSON. Made anew each time: a default may be the present moment. */
export function classDefaults(type: ParamsClass): JsonObject {
  return JSON.parse(JSON.stringify(new type(), plainMember)) as JsonObject;
}

function plainMember(key: string, value: unknown): unknown {
  if (value instanceof Map) {
    return Object.fromEntries(value);
  }
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new RangeError(`${key} is ${value}, which JSON cannot hold`);
  }
  return value instanceof Set ? [...value] : value;
}
