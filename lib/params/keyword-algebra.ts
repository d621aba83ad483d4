import { canonicalJson, type JsonObject, type JsonValue } from '../model/json.js';

/** The schema that accepts what every part accepts, as flat as it can be. */
export function intersection(parts: readonly JsonObject[]): JsonObject {
  const merged: JsonObject = {};
  const apart: JsonObject[] = [];
  for (const part of parts) {
    for (const [keyword, value] of Object.entries(part)) {
      const present = merged[keyword];
      const both = present === undefined ? value : narrower(keyword, present, value);
      if (both === undefined) {
        apart.push({ [keyword]: value });
      } else {
        merged[keyword] = both;
      }
    }
  }
  const present = Array.isArray(merged['allOf']) ? merged['allOf'] : [];
  return simplified(apart.length === 0 ? merged : { ...merged, allOf: [...present, ...apart] });
}

/** The schema that accepts null too. */
export function orNull(schema: JsonObject): JsonObject {
  const keywords = Object.keys(schema);
  if (keywords.length === 0) {
    return schema;
  }
  const { type, enum: values, ...rest } = schema;
  if (keywords.some((keyword) => ABOUT_NULL.has(keyword)) || Array.isArray(type)) {
    return { anyOf: [schema, { type: 'null' }] };
  }
  return {
    ...(type === undefined ? {} : { type: [type, 'null'] }),
    ...(Array.isArray(values) ? { enum: [...new Set([...values, null])] } : {}),
    ...rest,
  };
}

/** Keywords that judge null too, where `minLength` and its like pass over it. */
const ABOUT_NULL = new Set(['const', 'not', 'anyOf', 'allOf', '$ref']);

const LARGER = new Set(['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']);
const SMALLER = new Set(['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']);

/** One value for both, undefined when the keyword cannot say both at once. */
function narrower(keyword: string, left: JsonValue, right: JsonValue): JsonValue | undefined {
  if (canonicalJson(left) === canonicalJson(right)) {
    return left;
  }
  if (keyword === 'type') {
    return narrowerType([left].flat(), [right].flat());
  }
  if (typeof left === 'number' && typeof right === 'number') {
    const pick = LARGER.has(keyword) ? Math.max : SMALLER.has(keyword) ? Math.min : undefined;
    return pick?.(left, right);
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    return narrowerList(keyword, left, right);
  }
  return undefined;
}

function narrowerList(keyword: string, left: JsonValue[], right: JsonValue[]) {
  if (keyword === 'allOf') {
    return [...left, ...right];
  }
  const shared = left.filter((value) => right.includes(value));
  return keyword === 'enum' && shared.length > 0 ? shared : undefined;
}

function narrowerType(left: JsonValue[], right: JsonValue[]): JsonValue | undefined {
  const takes = (types: JsonValue[], type: JsonValue) =>
    types.includes(type) || (type === 'integer' && types.includes('number'));
  const shared = left.filter((type) => takes(right, type));
  for (const type of right) {
    if (takes(left, type) && !shared.includes(type)) {
      shared.push(type);
    }
  }
  const types = shared.includes('integer') ? shared.filter((type) => type !== 'number') : shared;
  return types.length === 1 ? types[0] : types.length === 0 ? undefined : types;
}

/** `not null` and `not empty` say nothing more of a number; of a text, that it has a character. */
function simplified(schema: JsonObject): JsonObject {
  const { not, ...rest } = schema;
  const meaning = not === undefined ? undefined : canonicalJson(not);
  if (typeof rest['type'] !== 'string' || (meaning !== NULL && meaning !== EMPTY)) {
    return schema;
  }
  return rest['type'] === 'string' && meaning === EMPTY
    ? intersection([rest, { minLength: 1 }])
    : rest;
}

const NULL = '{"type":"null"}';
const EMPTY = '{"enum":["",null]}';
