import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalJson,
  deepMerge,
  isJsonObject,
  type JsonObject,
  type JsonValue,
} from '../../lib/model/json.js';
import { parseJson } from '../support/json.js';

const json = fc.jsonValue({ maxDepth: 5 }).map((value) => parseJson(JSON.stringify(value)));

describe('canonicalJson', () => {
  it('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
      }),
    );
  });

  it('keeps the value', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(parseJson(canonicalJson(value))).toEqual(value);
      }),
    );
  });

  it('tells values apart that differ', () => {
    fc.assert(
      fc.property(json, json, (left, right) => {
        const same = canonicalJson(left) === canonicalJson(right);
        const equal = isSame(left, right);
        expect(same).toBe(equal);
      }),
    );
  });

  it('sorts keys by code unit and writes no white space', () => {
    const value = {
      é: 1,
      b: 2,
      B: 3,
      10: 4,
      9: 5,
      '😀': 6,
      '\uff5e': 7,
      a: { d: [1, 2], c: null },
    };
    expect(canonicalJson(value)).toBe(
      '{"10":4,"9":5,"B":3,"a":{"c":null,"d":[1,2]},"b":2,"é":1,"😀":6,"～":7}',
    );
  });

  it('writes numbers as JSON.stringify does', () => {
    expect(canonicalJson([-0, 1.0, 1e21, 1e-7, 0.1])).toBe('[0,1,1e+21,1e-7,0.1]');
  });
});

describe('deepMerge', () => {
  it('merges objects, replaces arrays and keeps null', () => {
    const defaults = { a: { x: 1, y: 2 }, list: [1, 2, 3], name: 'n', keep: true };
    const incoming = { a: { y: 3, z: 4 }, list: [9], name: null };
    expect(deepMerge(defaults, incoming)).toEqual({
      a: { x: 1, y: 3, z: 4 },
      list: [9],
      name: null,
      keep: true,
    });
  });

  it('lets the incoming value win where the kinds differ', () => {
    expect(deepMerge({ a: { x: 1 } }, { a: [1] })).toEqual({ a: [1] });
    expect(deepMerge({ a: [1] }, { a: { x: 1 } })).toEqual({ a: { x: 1 } });
    expect(deepMerge({ a: 1 }, null)).toBeNull();
  });

  it('changes neither argument', () => {
    fc.assert(
      fc.property(json, json, (defaults, incoming) => {
        const before = JSON.stringify([defaults, incoming]);
        deepMerge(defaults, incoming);
        expect(JSON.stringify([defaults, incoming])).toBe(before);
      }),
    );
  });

  it('gives the defaults over an empty object, and the incoming value over none', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), json), (value) => {
        expect(isSame(deepMerge(value, {}), value)).toBe(true);
        expect(isSame(deepMerge({}, value), value)).toBe(true);
      }),
    );
  });

  it('treats the names of Object.prototype as data', () => {
    const incoming = parseJson(
      '{"constructor":{"prototype":{"x":1}},"prototype":{"x":1},"toString":{"x":1}}',
    );
    const merged = deepMerge({ constructor: { name: 'c' }, a: 1 }, incoming);
    expect(merged).toEqual({
      a: 1,
      constructor: { name: 'c', prototype: { x: 1 } },
      prototype: { x: 1 },
      toString: { x: 1 },
    });
    expect(({} as JsonObject)['x']).toBeUndefined();
  });

  it('never touches a prototype, even when __proto__ gets here', () => {
    const incoming = parseJson('{"__proto__":{"x":1},"a":{"__proto__":{"x":1}}}');
    const merged = deepMerge({ a: { b: 1 } }, incoming);
    expect(({} as JsonObject)['x']).toBeUndefined();
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect(isJsonObject(merged) && merged['x']).toBeUndefined();
    expect(isJsonObject(merged) && Object.getPrototypeOf(merged['a'])).toBe(Object.prototype);
  });
});

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    return value.map(reversed);
  }
  return isJsonObject(value)
    ? Object.fromEntries(
        Object.entries(value)
          .toReversed()
          .map(([key, member]) => [key, reversed(member)]),
      )
    : value;
}

function isSame(left: JsonValue, right: JsonValue): boolean {
  if (Array.isArray(left) && Array.isArray(right)) {
    return (
      left.length === right.length && left.every((item, at) => isSame(item, right[at] ?? null))
    );
  }
  if (isJsonObject(left) && isJsonObject(right)) {
    const keys = Object.keys(left);
    return (
      keys.length === Object.keys(right).length &&
      keys.every(
        (key) => Object.hasOwn(right, key) && isSame(left[key] ?? null, right[key] ?? null),
      )
    );
  }
  return left === right;
}
