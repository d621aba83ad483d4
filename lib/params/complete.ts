import { deepMerge, isJsonObject, setOwn, type JsonObject, type JsonValue } from '../model/json.js';
import { classDefaults } from './class-defaults.js';
import type { ClassShape, NestedShape, PropertyShape } from './class-shape.js';

/**
 * The input over the defaults of its class, and every nested object over those of its own: what is
 * stored is what the handler's instance holds.
 */
export function completeParams(shape: ClassShape, input: JsonObject): JsonObject {
  const merged = { ...classDefaults(shape.type) };
  for (const [key, value] of Object.entries(input)) {
    const base = Object.hasOwn(merged, key) ? merged[key] : undefined;
    setOwn(merged, key, base === undefined ? value : deepMerge(base, value));
  }
  for (const [name, property] of shape.properties) {
    const value = Object.hasOwn(merged, name) ? merged[name] : undefined;
    if (property.nested !== undefined && value !== undefined) {
      merged[name] = completeValues(property.nested, property.container, value);
    }
  }
  return merged;
}

/** Whether the value has more than so many keys in all: defaults in a long list add up. */
export function hasMoreKeys(value: JsonValue, count: number): boolean {
  let left = count;
  const visit = (part: JsonValue): boolean => {
    if (typeof part !== 'object' || part === null) {
      return false;
    }
    const members = Object.values(part);
    left -= Array.isArray(part) ? 0 : members.length;
    return left < 0 || members.some(visit);
  };
  return visit(value);
}

function completeValues(
  nested: NestedShape,
  container: PropertyShape['container'],
  value: JsonValue,
): JsonValue {
  if (Array.isArray(value)) {
    return value.map((item) => completeOne(nested, item));
  }
  if (container === 'map' && isJsonObject(value)) {
    const entries = Object.entries(value).map(([key, item]) => [key, completeOne(nested, item)]);
    return Object.fromEntries(entries) as JsonObject;
  }
  return completeOne(nested, value);
}

function completeOne(nested: NestedShape, value: JsonValue): JsonValue {
  const shape = isJsonObject(value) ? shapeOf(nested, value) : undefined;
  return isJsonObject(value) && shape !== undefined ? completeParams(shape, value) : value;
}

/** The class of one nested object; undefined when its discriminator names none. */
function shapeOf(nested: NestedShape, value: JsonObject): ClassShape | undefined {
  if (!('tag' in nested)) {
    return nested;
  }
  const name = Object.hasOwn(value, nested.tag) ? value[nested.tag] : undefined;
  return typeof name === 'string' ? nested.variants.get(name) : undefined;
}
