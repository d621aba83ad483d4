import 'reflect-metadata';
import { Type } from 'class-transformer';
import { Allow, IsObject, IsOptional, IsString, ValidateNested } from 'class-validator';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { toJsonText } from '../../lib/model/json-text.js';
import type { JsonObject } from '../../lib/model/json.js';
import { parseJson } from '../support/json.js';
import { classParams } from '../../lib/params/class-params.js';
import { anyParams } from '../../lib/params/params-contract.js';
import { mistakesOf, refusalOf, stored } from './refusal.js';

class Inner {
  @IsString()
  text = 'inner';
}

class Free {
  @IsObject()
  data: Record<string, unknown> = {};

  @Allow()
  list: unknown = [];

  @IsOptional()
  @ValidateNested()
  @Type(() => Inner)
  inner?: Inner;
}

const free = classParams('t:free', Free);
const hostileKeys = Object.getOwnPropertyNames(Object.prototype);

afterEach(() => {
  expect(({} as JsonObject)['x']).toBeUndefined();
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(hostileKeys);
});

describe('keys of Object.prototype', () => {
  it.each(hostileKeys)('%s is data in a free field, and reaches the handler', async (key) => {
    const data = parseJson(`{"${key}":{"x":1,"prototype":{"x":1}},"a":[{"${key}":"v"}],"b":1}`);
    const json = await stored(free, { data, list: [data] });
    expect(JSON.stringify(json)).toBe(
      `{"data":${JSON.stringify(data)},"list":[${JSON.stringify(data)}]}`,
    );
    const params = free.instantiate(json) as Free;
    expect(params).toBeInstanceOf(Free);
    expect(JSON.stringify(params.data)).toBe(JSON.stringify(data));
    expect(JSON.stringify(params.list)).toBe(JSON.stringify([data]));
    expect(Object.getPrototypeOf(params.data)).toBe(Object.prototype);
    expect(params.data['x']).toBeUndefined();
    expect(params.data['b']).toBe(1);
  });

  it.each(hostileKeys)('%s is an unknown field of a class, at every level', async (key) => {
    expect(await mistakesOf(free, parseJson(`{"${key}":{"x":1}}`))).toEqual([
      `params.${key}: is not a known field`,
    ]);
    expect(await mistakesOf(free, parseJson(`{"inner":{"${key}":{"x":1}}}`))).toEqual([
      `params.inner.${key}: is not a known field`,
    ]);
  });

  it('never share a hidden object between handlers', async () => {
    const json = await stored(free, { data: { constructor: { n: 1 } } });
    const first = free.instantiate(json) as { data: { constructor: { n: number } } };
    first.data.constructor.n = 2;
    expect(free.instantiate(json)).toMatchObject({ data: { constructor: { n: 1 } } });
    expect(json).toMatchObject({ data: { constructor: { n: 1 } } });
  });

  it('do no harm in JSON that was stored before the class', () => {
    const old = parseJson(
      '{"constructor":{"x":1},"__proto__":{"x":1},"inner":{"constructor":1},"then":1}',
    );
    expect(free.instantiate(old)).toBeInstanceOf(Free);
    expect((free.instantiate(old) as JsonObject)['x']).toBeUndefined();
    expect(free.instantiate([1])).toBeInstanceOf(Free);
  });
});

describe('any JSON that passes the limits', () => {
  const key = fc.oneof(
    fc.constantFrom(...hostileKeys, 'prototype', 'then', 'toJSON', 'length', ''),
    fc.string(),
  );
  const tree = fc.letrec<{ node: unknown }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, 0, 'text'),
      fc.array(tie('node'), { maxLength: 3 }),
      fc
        .array(fc.tuple(key, tie('node')), { maxLength: 4 })
        .map((entries) => Object.fromEntries(entries)),
    ),
  })).node;

  it('comes back to the handler unchanged, from a free field', async () => {
    await fc.assert(
      fc.asyncProperty(tree, async (list) => {
        const json = await stored(free, { list: parseJson(JSON.stringify(list)) });
        const params = free.instantiate(json) as Free;
        expect(JSON.stringify(params.list)).toBe(JSON.stringify(list));
      }),
      { numRuns: 500 },
    );
  });

  it('is stored or refused by a class, without any other error', async () => {
    await fc.assert(
      fc.asyncProperty(tree, async (input) => {
        const json = parseJson(JSON.stringify(input));
        const accepted = await Promise.resolve(free.accept(json)).then(
          () => true,
          (error: unknown) => (expect(error).toMatchObject({ code: 'invalid_params' }), false),
        );
        expect(typeof accepted).toBe('boolean');
      }),
      { numRuns: 500 },
    );
  });

  it('is taken without a class as it is', async () => {
    const json = parseJson('{"constructor":{"prototype":{"x":1}},"a":[null]}');
    expect(await stored(anyParams, json)).toBe(json);
    expect(anyParams.instantiate(json)).toBe(json);
  });
});

describe('depth', () => {
  it('of 64 levels passes every step', async () => {
    const levels = 62;
    const text = `{"list":${'['.repeat(levels)}${']'.repeat(levels)}}`;
    const json = await stored(free, parseJson(text));
    expect(JSON.stringify((free.instantiate(json) as Free).list)).toBe(text.slice(8, -1));
    expect(toJsonText(json, 'params', { bytes: 1000, depth: 64 })).toContain('"data":{}');
  });

  it('of recursive classes is followed only as deep as the data', async () => {
    class Node {
      @IsOptional()
      @ValidateNested()
      @Type(() => Node)
      next?: Node;
    }
    const contract = classParams('t:t', Node);
    const deep = parseJson(`${'{"next":'.repeat(62)}{"bad":1}${'}'.repeat(62)}`);
    const error = await refusalOf(contract, deep);
    expect(error.errors?.[0]?.message).toBe('is not a known field');
  });
});
