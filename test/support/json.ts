import type { JsonValue } from '../../lib/model/json.js';

/** JSON text as the value it is, `__proto__` keys and all. */
export function parseJson(text: string): JsonValue {
  return JSON.parse(text) as JsonValue;
}
