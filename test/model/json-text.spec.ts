import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JobsError } from '../../lib/model/errors.js';
import { toJsonText } from '../../lib/model/json-text.js';
import { parseJson } from '../support/json.js';

const limits = { bytes: 256 * 1024, depth: 64 };

function refusal(value: unknown, what = 'params', custom = limits): JobsError {
  try {
    toJsonText(value, what, custom);
  } catch (error) {
    if (error instanceof JobsError) {
      return error;
    }
    throw error;
  }
  throw new Error('expected an error, got none');
}

function nested(levels: number, inner: unknown = 1): unknown {
  let value = inner;
  for (let level = 0; level < levels; level += 1) {
    value = level % 2 === 0 ? [value] : { a: value };
  }
  return value;
}

class Holder {
  constructor(readonly held: unknown) {}
}

const ofBytes = (bytes: number) => ({ a: 'x'.repeat(bytes - 8) });
const manyKeys = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 0]));

describe('toJsonText: what passes', () => {
  it('is the text of JSON.stringify, for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' }), (value) => {
        fc.pre(!/__proto__|\0|\\u0000/.test(JSON.stringify(value)));
        const text = toJsonText(value, 'params', limits);
        expect(text).toBe(JSON.stringify(value));
        expect(JSON.stringify(parseJson(text))).toBe(text);
      }),
    );
  });

  it('gives the same text by the quick and by the careful road', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        fc.pre(!JSON.stringify(value).includes('__proto__'));
        const careful = { value, bell: '\u0007' };
        expect(toJsonText(careful, 'params', limits)).toBe(JSON.stringify(careful));
      }),
    );
  });

  it('drops undefined members and calls toJSON, as JSON does', () => {
    class Money {
      constructor(readonly cents: number) {}
      toJSON(key: string) {
        return { key, cents: this.cents };
      }
    }
    class Point {
      x = 1;
      y = undefined;
      move() {}
    }
    const bare: object = Object.setPrototypeOf({ a: 1 }, null);
    const value = {
      at: new Date(0),
      gone: undefined,
      list: [undefined, null],
      price: new Money(5),
      point: new Point(),
      boxed: [new Number(1), new String('s'), new Boolean(false)],
      bytes: Buffer.from('ab'),
      url: new URL('https://example.com/'),
      bare,
    };
    expect(toJsonText(value, 'params', limits)).toBe(JSON.stringify(value));
    expect(toJsonText(new Date(0), 'params', limits)).toBe('"1970-01-01T00:00:00.000Z"');
  });

  it.each([null, true, 0, -0, '', 'text', [], {}])('takes %j', (value) => {
    expect(toJsonText(value, 'params', limits)).toBe(JSON.stringify(value));
  });

  it('takes constructor and prototype as data', () => {
    const text = '{"constructor":{"prototype":{"x":1}},"prototype":1,"hasOwnProperty":2}';
    expect(toJsonText(JSON.parse(text), 'params', limits)).toBe(text);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('takes control characters, backslashes and whole surrogate pairs', () => {
    for (const text of [
      '\u0001\u001b',
      'C:\\users\\u0000',
      '😀',
      'e\u0301',
      '\uffff',
      '__proto__',
    ]) {
      expect(parseJson(toJsonText({ text }, 'params', limits))).toEqual({ text });
    }
  });

  it('takes an object that appears twice without a circle', () => {
    const shared = { a: 1 };
    expect(toJsonText({ one: shared, two: [shared, new Date(0)] }, 'params', limits)).toContain(
      '"one":{"a":1}',
    );
  });
});

describe('toJsonText: bytes', () => {
  const small = { bytes: 100, depth: 64 };
  it.each([
    ['plain', 'a', 1],
    ['two-byte', 'é', 2],
    ['three-byte', '語', 3],
    ['four-byte', '😀', 4],
    ['escaped', '\u0001', 6],
  ])('counts %s characters in UTF-8 at the limit', (_, character, width) => {
    const textOf = (bytes: number) =>
      character.repeat(Math.floor((bytes - 2) / width)) + 'x'.repeat((bytes - 2) % width);
    expect(Buffer.byteLength(toJsonText(textOf(99), 'params', small))).toBe(99);
    expect(Buffer.byteLength(toJsonText(textOf(100), 'params', small))).toBe(100);
    expect(refusal(textOf(101), 'params', small).code).toBe('too_large');
  });

  it('takes 256 kB to the byte and answers 413 above', () => {
    expect(toJsonText(ofBytes(limits.bytes - 1), 'result', limits)).toHaveLength(limits.bytes - 1);
    expect(toJsonText(ofBytes(limits.bytes), 'result', limits)).toHaveLength(limits.bytes);
    const error = refusal(ofBytes(limits.bytes + 1), 'result');
    expect(error).toMatchObject({ code: 'too_large', status: 413 });
    expect(error.message).toBe(
      'result takes more than the 262144 bytes of JSON that are allowed. Keep large data elsewhere and pass a reference to it.',
    );
  });

  it('ends early on what would not fit in memory', () => {
    const sparse: unknown[] = [];
    sparse.length = 4_000_000_000;
    expect(refusal(sparse).code).toBe('too_large');
    const line = 'x'.repeat(200_000);
    expect(refusal({ list: Array.from({ length: 100_000 }, () => line) }).code).toBe('too_large');
  });

  it('never counts more than there is: small containers fit to the byte', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        // Not a plain object, so it is looked at closely.
        const careful = new Holder(value);
        const text = JSON.stringify(careful);
        fc.pre(!text.includes('__proto__'));
        const exact = { bytes: Buffer.byteLength(text), depth: 64 };
        expect(toJsonText(careful, 'params', exact)).toBe(text);
        const less = { bytes: exact.bytes - 1, depth: 64 };
        expect(refusal(careful, 'params', less).code).toBe('too_large');
      }),
    );
  });
});

describe('toJsonText: depth and keys', () => {
  it('takes 64 levels and refuses 65', () => {
    for (const inner of [1, new Date(0), undefined]) {
      expect(toJsonText(nested(63, inner), 'params', limits)).toBeTypeOf('string');
      expect(toJsonText(nested(64, inner), 'params', limits)).toBeTypeOf('string');
      const error = refusal(nested(65, inner));
      expect(error).toMatchObject({ code: 'invalid_params', status: 400 });
      expect(error.message).toContain('is nested more than 64 levels deep');
    }
    expect(toJsonText(1, 'params', { bytes: 10, depth: 0 })).toBe('1');
    expect(refusal([], 'params', { bytes: 10, depth: 0 }).code).toBe('invalid_params');
  });

  it('keeps its limit where it is lower than the quick check reaches', () => {
    const low = { bytes: 1000, depth: 3 };
    expect(toJsonText(nested(3), 'params', low)).toBe(JSON.stringify(nested(3)));
    expect(refusal(nested(4), 'params', low).message).toContain('more than 3 levels');
  });

  it('survives 10,000 and a million levels', () => {
    const parsed: unknown = JSON.parse('['.repeat(10_000) + ']'.repeat(10_000));
    expect(refusal(parsed).message).toMatch(/^params\.0\.0\.0.*nested more than 64 levels deep/);
    expect(refusal(nested(1_000_000)).code).toBe('invalid_params');
  });

  it('takes 10,000 keys in all and refuses one more', () => {
    expect(toJsonText(manyKeys(9_999), 'params', limits)).toBeTypeOf('string');
    expect(toJsonText(manyKeys(10_000), 'params', limits)).toBeTypeOf('string');
    expect(refusal(manyKeys(10_001))).toMatchObject({ code: 'invalid_params' });
    const spread = Array.from({ length: 10_001 }, () => ({ k: 0 }));
    expect(toJsonText(spread.slice(1), 'params', limits)).toBeTypeOf('string');
    expect(refusal(spread).errors?.[0]?.field).toBe('params.10000.k');
  });

  it('does not count members that are dropped', () => {
    const dropped = { ...manyKeys(10_000), gone: undefined };
    expect(toJsonText(dropped, 'params', limits)).toBeTypeOf('string');
  });
});

describe('toJsonText: what is refused, and where', () => {
  const circle: { list: unknown[] } = { list: [] };
  circle.list.push({ back: circle });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();

  it.each<[string, unknown, string]>([
    ['NaN', { a: [{ b: Number.NaN }] }, 'params.a.0.b is NaN, which JSON cannot hold.'],
    ['Infinity', [1, Infinity], 'params.1 is Infinity, which JSON cannot hold.'],
    ['1e400', JSON.parse('{"n":1e400}'), 'params.n is Infinity, which JSON cannot hold.'],
    ['a bigint', { id: 1n }, 'params.id is a bigint, which JSON cannot hold.'],
    ['a circle', circle, 'params.list.0.back refers back to params, a circle.'],
    ['undefined', undefined, 'params has no JSON form.'],
    ['a function', () => 1, 'params is a function, which JSON would lose.'],
    ['a function inside', { a: [() => 1] }, 'params.a.0 is a function, which JSON would lose.'],
    ['a symbol', { a: Symbol('s') }, 'params.a is a symbol, which JSON would lose.'],
    ['a Map', { m: new Map() }, 'params.m is a Map, which JSON would lose.'],
    ['a Set', new Set([1]), 'params is a Set, which JSON would lose.'],
    ['a promise', { p: Promise.resolve(1) }, 'params.p is a Promise, which JSON would lose.'],
    ['an invalid date', { d: { toJSON: () => Number.NaN } }, 'params.d is NaN'],
    ['NUL', { a: 'x\0' }, 'params.a contains a NUL character'],
    ['NUL in a key', { a: { 'x\0': 1 } }, 'params.a.x\ufffd has a name that contains a NUL'],
    ['NUL beside text like an escape', { a: '\\u0000\0' }, 'params.a contains a NUL character'],
    ['a lone high surrogate', { a: 'x\ud800' }, 'params.a contains half of a surrogate pair'],
    ['a lone low surrogate', ['\udc00x'], 'params.0 contains half of a surrogate pair'],
    [
      'surrogates in the wrong order',
      ['\ude00\ud83d'],
      'params.0 contains half of a surrogate pair',
    ],
    ['a lone surrogate in a key', { '\ud800': 1 }, 'params.\ufffd has a name that contains half'],
    [
      '__proto__',
      JSON.parse('{"__proto__":1}'),
      'params.__proto__ is a key that is never accepted.',
    ],
    [
      '__proto__ deep inside',
      JSON.parse('{"a":[{"__proto__":{"x":1}}]}'),
      'params.a.0.__proto__ is a key that is never accepted.',
    ],
    [
      'a throwing getter',
      {
        a: {
          get b() {
            throw new Error('no');
          },
        },
      },
      'params.a.b cannot be read',
    ],
    ['a revoked proxy', { a: revoked.proxy }, 'params.a cannot be read'],
  ])('%s', (_, value, message) => {
    const error = refusal(value);
    expect(error).toMatchObject({ code: 'invalid_params', status: 400 });
    expect(error.message.slice(0, message.length)).toBe(message);
    const [problem] = error.errors ?? [];
    expect(`${problem?.field} ${problem?.message}`).toBe(error.message);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('says what to do', () => {
    expect(refusal({ id: 1n }).message).toBe(
      'params.id is a bigint, which JSON cannot hold. Pass it as a string.',
    );
  });

  it('reports under the code it is given', () => {
    expect(refusal(Number.NaN, 'result').code).toBe('invalid_request');
    expect(() => toJsonText(Number.NaN, 'state', limits, 'invalid_params')).toThrow(
      expect.objectContaining({ code: 'invalid_params' }),
    );
  });

  it('keeps paths short and clean, however long and odd the keys are', () => {
    const key = 'k'.repeat(1000);
    const { message } = refusal(nested(30, { [key]: 1n }));
    expect(message.length).toBeLessThan(250);
    expect(message).toContain(`${'k'.repeat(63)}… is a bigint`);
    expect(message).toContain('.….');
  });
});
