import { plainToInstance } from 'class-transformer';
import { isJsonObject, isRecord, setOwn, type JsonObject, type JsonValue } from '../model/json.js';
import type { ParamsClass } from './class-defaults.js';

/**
 * A new instance of the class, nested classes included, that shares nothing with `stored`.
 *
 * class-transformer takes an object's key `constructor` for its class, and drops keys such as
 * `toString`. Free data may have such keys, so objects that do are kept out of its sight: a symbol
 * passes in their place, and a copy is put back afterwards.
 */
export function toInstance(type: ParamsClass, stored: JsonValue): object {
  const hidden = new Map<symbol, JsonObject>();
  const visible = isJsonObject(stored) ? copyMembers(stored, hidden) : {};
  const instance = plainToInstance(type, visible, { exposeDefaultValues: true });
  if (hidden.size > 0) {
    putBack(instance, hidden);
  }
  return instance;
}

function copyVisible(value: JsonValue, hidden: Map<symbol, JsonObject>): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => copyVisible(item, hidden));
  }
  if (!isJsonObject(value)) {
    return value;
  }
  if (Object.keys(value).some((key) => key in Object.prototype)) {
    const token = Symbol('hidden from class-transformer');
    hidden.set(token, value);
    return token;
  }
  return copyMembers(value, hidden);
}

function copyMembers(value: JsonObject, hidden: Map<symbol, JsonObject>): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    setOwn(copy, key, copyVisible(member, hidden));
  }
  return copy;
}

function putBack(root: object, hidden: ReadonlyMap<symbol, JsonObject>): void {
  const seen = new Set<object>([root]);
  const restored = (value: unknown): unknown => {
    const original = typeof value === 'symbol' ? hidden.get(value) : undefined;
    if (original === undefined && isRecord(value)) {
      seen.add(value);
    }
    return original === undefined ? value : structuredCopy(original);
  };
  // The set grows while it is walked; each object is visited once.
  for (const part of seen) {
    if (part instanceof Map) {
      part.forEach((value, key) => part.set(key, restored(value)));
    } else if (part instanceof Set) {
      const items = [...part].map(restored);
      part.clear();
      items.forEach((item) => part.add(item));
    } else {
      for (const [key, value] of Object.entries(part)) {
        if (typeof value === 'symbol' || isRecord(value)) {
          Reflect.set(part, key, restored(value));
        }
      }
    }
  }
}

/** Keeps an own key `__proto__` a member of its own. */
function structuredCopy(value: JsonObject): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
