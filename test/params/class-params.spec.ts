import 'reflect-metadata';
import { Expose, Transform, Type } from 'class-transformer';
import {
  Allow,
  ArrayUnique,
  IsArray,
  IsDate,
  IsEnum,
  IsIn,
  IsInt,
  IsNumber,
  IsObject,
  IsOptional,
  IsString,
  IsUrl,
  Max,
  MaxLength,
  Min,
  MinDate,
  MinLength,
  Validate,
  ValidateIf,
  ValidateNested,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../lib/model/json.js';
import { classParams } from '../../lib/params/class-params.js';
import { mistakesOf, refusalOf, stored } from './refusal.js';

enum Color {
  red,
  green,
}

class Item {
  @IsUrl({ require_tld: false })
  url!: string;

  @IsInt()
  @Min(1)
  @Max(10)
  count = 1;
}

class Target {
  @IsString()
  @MinLength(1)
  folder = 'out';

  @IsOptional()
  @IsInt()
  mode?: number | null = 0o644;

  label(): string {
    return `${this.folder}:${this.mode}`;
  }
}

class Fetch {
  @IsString()
  @MaxLength(20)
  name!: string;

  @ValidateNested()
  @Type(() => Target)
  target: Target = new Target();

  @IsArray()
  @ValidateNested({ each: true })
  @Type(() => Item)
  items: Item[] = [];

  @IsString({ each: true })
  tags: string[] = ['all'];

  @IsEnum(Color)
  color: Color = Color.red;

  @IsOptional()
  @IsNumber()
  ratio?: number | null;

  @IsOptional()
  @IsObject()
  extra?: Record<string, unknown>;

  @IsOptional()
  @IsDate()
  @MinDate(new Date(0))
  @Type(() => Date)
  since?: Date;
}

class Entry {
  @IsString()
  key!: string;
}

const fetch = classParams('files:fetch', Fetch);
const name = 'n';

describe('what is stored', () => {
  it('is the input over the defaults', async () => {
    expect(await stored(fetch, { name, target: { mode: null } })).toEqual({
      name,
      target: { folder: 'out', mode: null },
      items: [],
      tags: ['all'],
      color: 0,
    });
  });

  it('is all defaults when nothing is given and nothing is required', async () => {
    expect(await stored(classParams('t:t', Target))).toEqual({ folder: 'out', mode: 420 });
  });

  it('replaces arrays, and completes each item from the defaults of its own class', async () => {
    const url = 'http://localhost:1/a';
    expect(
      await stored(fetch, { name, tags: [], items: [{ url }, { url, count: 2 }] }),
    ).toMatchObject({
      tags: [],
      items: [
        { url, count: 1 },
        { url, count: 2 },
      ],
    });
  });

  it('leaves the input as it was and the defaults as they are', async () => {
    const input = { name, target: { mode: 1 }, items: [{ url: 'http://a.example' }] };
    const before = structuredClone(input);
    const first = (await stored(fetch, input)) as JsonObject;
    (first['tags'] as string[]).push('changed');
    (first['target'] as JsonObject)['folder'] = 'changed';
    expect(input).toEqual(before);
    expect(await stored(fetch, { name })).toMatchObject({
      tags: ['all'],
      target: { folder: 'out' },
    });
    expect(fetch.defaults).toMatchObject({ tags: ['all'], target: { folder: 'out' } });
  });

  it('holds a default of the moment of the call', async () => {
    let calls = 0;
    class Counted {
      @IsInt()
      call = (calls += 1);
    }
    const contract = classParams('t:t', Counted);
    const first = (await stored(contract)) as { call: number };
    const second = (await stored(contract)) as { call: number };
    expect(second.call).toBeGreaterThan(first.call);
  });

  it('holds dates as text', async () => {
    expect(await stored(fetch, { name, since: '2026-01-02T03:04:05.000Z' })).toMatchObject({
      since: '2026-01-02T03:04:05.000Z',
    });
  });
});

describe('what handlers get', () => {
  it('is an instance, nested classes included', async () => {
    const json = await stored(fetch, {
      name,
      items: [{ url: 'http://a.example' }],
      since: '2026-01-02',
      extra: { a: [1] },
    });
    const params = fetch.instantiate(json) as Fetch;
    expect(params).toBeInstanceOf(Fetch);
    expect(params.target).toBeInstanceOf(Target);
    expect(params.target.label()).toBe('out:420');
    expect(params.items[0]).toBeInstanceOf(Item);
    expect(params.items[0]?.count).toBe(1);
    expect(params.since).toEqual(new Date('2026-01-02'));
    expect(params.extra).toEqual({ a: [1] });
  });

  it('is never shared', async () => {
    const json = await stored(fetch, {
      name,
      extra: { a: [1] },
      items: [{ url: 'http://a.example' }],
    });
    const before = JSON.stringify(json);
    const first = fetch.instantiate(json) as Fetch;
    first.items.push(new Item());
    first.target.folder = 'changed';
    (first.extra as { a: number[] }).a.push(2);
    const second = fetch.instantiate(json) as Fetch;
    expect(second).not.toBe(first);
    expect(second.items).toHaveLength(1);
    expect(second.target.folder).toBe('out');
    expect(second.extra).toEqual({ a: [1] });
    expect(JSON.stringify(json)).toBe(before);
  });

  it('keeps the default of an exposed field that stored JSON lacks', () => {
    class Exposed {
      @Expose()
      @IsInt()
      size = 5;
    }
    expect(classParams('t:t', Exposed).instantiate({})).toEqual({ size: 5 });
  });

  it('keeps the defaults of fields that JSON stored by an older version lacks', () => {
    const params = fetch.instantiate({ name, items: [{ url: 'x' }] }) as Fetch;
    expect(params).toMatchObject({
      tags: ['all'],
      target: { folder: 'out' },
      items: [{ count: 1 }],
    });
  });
});

describe('what is refused', () => {
  it.each<[string, unknown, string[]]>([
    ['a missing field', {}, ['params.name: is required']],
    ['a number for a text', { name: 1 }, ['params.name: name must be a string']],
    [
      'a text for a number',
      { name, target: { mode: '1' } },
      ['params.target.mode: mode must be an integer number'],
    ],
    ['null for a required field', { name: null }, ['params.name: name must be a string']],
    ['an unknown field', { name, nam: 1 }, ['params.nam: is not a known field']],
    [
      'an unknown nested field',
      { name, target: { dir: 1 } },
      ['params.target.dir: is not a known field'],
    ],
    [
      'an unknown field of an item',
      { name, items: [{ url: 'http://a.example' }, { url: 'http://a.example', x: 1 }] },
      ['params.items.1.x: is not a known field'],
    ],
    ['a missing field of an item', { name, items: [{}] }, ['params.items.0.url: is required']],
    [
      'a bad URL',
      { name, items: [{ url: 'no url' }] },
      ['params.items.0.url: url must be a URL address'],
    ],
    [
      'a number out of range',
      { name, items: [{ url: 'http://a.example', count: 11 }] },
      ['params.items.0.count: count must not be greater than 10'],
    ],
    [
      'a text that is too long',
      { name: 'x'.repeat(21) },
      ['params.name: name must be shorter than or equal to 20 characters'],
    ],
    ['a wrong item of plain values', { name, tags: ['a', 1] }, ['params.tags.1: must be a string']],
    ['a single value for an array', { name, tags: 'a' }, ['params.tags: must be an array']],
    [
      'an object for an array',
      { name, items: { 0: { url: 'http://a.example' } } },
      ['params.items: items must be an array'],
    ],
    ['an array for an object', { name, target: [{}] }, ['params.target: must be an object']],
    ['a text for an object', { name, target: 'out' }, ['params.target: must be an object']],
    ['null for an item', { name, items: [null] }, ['params.items.0: must be an object']],
    ['the name of an enum member', { name, color: 'green' }, ['params.color: must be a number']],
    [
      'a number outside its enum',
      { name, color: 2 },
      ['params.color: color must be one of the following values: 0, 1'],
    ],
    ['a number for a date', { name, since: 5 }, ['params.since: must be a string']],
    [
      'a text that is no date',
      { name, since: 'soon' },
      ['params.since: must be a valid date or date-time'],
    ],
    [
      'a date that does not exist',
      { name, since: '2026-02-30' },
      ['params.since: must be a valid date or date-time'],
    ],
    ['an array', [{ name }], ['params: must be an object']],
    ['null', null, ['params: must be an object']],
    ['a text', 'x', ['params: must be an object']],
  ])('%s', async (_, input, mistakes) => {
    expect(await mistakesOf(fetch, input)).toEqual(mistakes);
  });

  it('is reported in full, with a sentence that names the type and what to do', async () => {
    const error = await refusalOf(fetch, {
      name: 1,
      target: { mode: 'x' },
      items: [{ url: 1, y: 2 }],
    });
    expect(error).toMatchObject({ code: 'invalid_params', status: 400 });
    expect(error.errors?.map(({ field }) => field).toSorted()).toEqual([
      'params.items.0.url',
      'params.items.0.y',
      'params.name',
      'params.target.mode',
    ]);
    expect(error.message).toMatch(
      /^The params of "files:fetch" were refused \(params\..*; and 1 more\)\. Correct them and try again\.$/,
    );
  });

  it('speaks in the words of the class', async () => {
    class Paged {
      @IsInt({ message: 'Give the number of pages.' })
      @Min(1, { message: 'At least one page.' })
      pages!: number;
    }
    const contract = classParams('t:t', Paged);
    expect(await mistakesOf(contract, { pages: 0 })).toEqual(['params.pages: At least one page.']);
    expect(await mistakesOf(contract, { pages: 'x' })).toEqual([
      'params.pages: Give the number of pages.',
    ]);
  });

  it('is cut to 50 entries', async () => {
    const items = Array.from({ length: 60 }, () => ({ url: 'x y' }));
    const { errors = [] } = await refusalOf(fetch, { name, items });
    expect(errors).toHaveLength(51);
    expect(errors.at(-1)).toEqual({ field: 'params', message: 'and 10 more mistakes' });
  });

  it('is one mistake for params of extraordinary size, in a short time', async () => {
    class Bulk {
      @ValidateNested({ each: true })
      @Type(() => Entry)
      items!: Entry[];
    }
    const items = Array.from({ length: 50_000 }, () => ({}));
    const started = performance.now();
    expect(await mistakesOf(classParams('t:t', Bulk), { items })).toEqual([
      'params.items.0.key: is required',
    ]);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('defaults of many items', () => {
  it('count as keys: 10,000 in all, and not one more', async () => {
    const url = 'http://a.example';
    const items = (count: number) => Array.from({ length: count }, () => ({ url }));
    // Beside the items: name, target with two fields, items, tags, color.
    const all = { name, items: items(4_996) };
    expect(await stored(fetch, all)).toHaveProperty('items.4995.count', 1);
    expect(await stored(fetch, { ...all, ratio: 1 })).toHaveProperty('ratio', 1);
    expect(await mistakesOf(fetch, { ...all, ratio: 1, extra: {} })).toEqual([
      'params: has more than 10000 keys in all, defaults included',
    ]);
  });
});

describe('IsOptional', () => {
  it('takes null, absence and a value that fits', async () => {
    for (const ratio of [null, undefined, 0.5]) {
      const input = ratio === undefined ? { name } : { name, ratio };
      expect(await stored(fetch, input)).toMatchObject(input);
    }
    expect(await mistakesOf(fetch, { name, ratio: 'x' })).toHaveLength(1);
  });

  it('takes null for nested objects and enums, and says what else fits', async () => {
    class Loose {
      @IsOptional()
      @ValidateNested()
      @Type(() => Target)
      target?: Target | null;

      @IsOptional()
      @IsIn(['a', 'b'])
      word?: string | null;
    }
    const contract = classParams('t:t', Loose);
    expect(await stored(contract, { target: null, word: null })).toEqual({
      target: null,
      word: null,
    });
    expect(await stored(contract, { target: {} })).toEqual({
      target: { folder: 'out', mode: 420 },
    });
    expect(await mistakesOf(contract, { target: { x: 1 } })).toEqual([
      'params.target.x: is not a known field',
    ]);
    expect(await mistakesOf(contract, { target: 1 })).toEqual(['params.target: must be an object']);
    expect(await mistakesOf(contract, { word: 'c' })).toEqual([
      'params.word: word must be one of the following values: a, b',
    ]);
  });
});

describe('validators of the host', () => {
  const known = new Set(['a.txt']);

  @ValidatorConstraint({ name: 'exists', async: true })
  class Exists implements ValidatorConstraintInterface {
    async validate(file: unknown): Promise<boolean> {
      await Promise.resolve();
      if (file === 'broken') {
        throw new Error('the disk is gone');
      }
      return typeof file === 'string' && known.has(file);
    }
    defaultMessage() {
      return 'is no known file';
    }
  }

  class Read {
    @Validate(Exists)
    file!: string;
  }
  const read = classParams('t:t', Read);

  it('are awaited', async () => {
    expect(await stored(read, { file: 'a.txt' })).toEqual({ file: 'a.txt' });
    expect(await mistakesOf(read, { file: 'b.txt' })).toEqual(['params.file: is no known file']);
  });

  it('decide by themselves whether a value must be given', async () => {
    expect(read.schema).not.toHaveProperty('required');
    expect(await mistakesOf(read, {})).toEqual(['params.file: is no known file']);
  });

  it('that fail are no fault of the params', async () => {
    await expect(stored(read, { file: 'broken' })).rejects.toThrow('the disk is gone');
  });
});

describe('what only class-validator can judge', () => {
  class Conditional {
    @IsIn(['file', 'url'])
    kind = 'file';

    @ValidateIf((params: Conditional) => params.kind === 'url')
    @IsUrl()
    url?: string;

    @Transform(({ value }: { value: string }) => value.split(','))
    @IsString({ each: true })
    @MinLength(2, { each: true })
    words: unknown = 'ab,cd';

    @MaxLength(2, { validateIf: (params: Conditional) => params.kind === 'file' })
    short = 'ab';
  }
  const contract = classParams('t:t', Conditional);

  it('is published without keywords', () => {
    expect(contract.schema['properties']).toEqual({
      kind: { type: 'string', enum: ['file', 'url'], default: 'file' },
      url: {},
      words: { default: 'ab,cd' },
      short: { default: 'ab' },
    });
  });

  it('is judged all the same', async () => {
    expect(await stored(contract, { kind: 'file', url: 5 })).toMatchObject({ url: 5 });
    expect(await mistakesOf(contract, { kind: 'url', url: 5 })).toEqual([
      'params.url: url must be a URL address',
    ]);
    expect(await mistakesOf(contract, { short: 'abc' })).toHaveLength(1);
    expect(await mistakesOf(contract, { words: 'ab,c' })).toEqual([
      'params.words: each value in words must be longer than or equal to 2 characters',
    ]);
    expect(await mistakesOf(contract, { words: 5 })).toEqual([
      'params: cannot be read by Conditional: value.split is not a function',
    ]);
  });

  it('is transformed for the handler and stored as it came', async () => {
    const json = await stored(contract, { words: 'xx,yy' });
    expect(json).toMatchObject({ words: 'xx,yy' });
    expect(contract.instantiate(json)).toMatchObject({ words: ['xx', 'yy'] });
  });
});

describe('classes of many shapes', () => {
  it('inherit rules and defaults, and may narrow them', async () => {
    class Base {
      @IsString()
      name = 'base';

      @IsInt()
      @Min(1)
      size!: number;
    }
    class Derived extends Base {
      @IsString()
      @MaxLength(3)
      override name = 'der';

      @IsOptional()
      @IsString()
      note?: string;
    }
    const contract = classParams('t:t', Derived);
    expect(contract.schema).toMatchObject({
      required: ['size'],
      properties: {
        name: { type: 'string', maxLength: 3, default: 'der' },
        size: { type: 'integer', minimum: 1 },
        note: { type: ['string', 'null'] },
      },
    });
    expect(await stored(contract, { size: 1 })).toEqual({ name: 'der', size: 1 });
    expect(await mistakesOf(contract, { size: 0, name: 'long' })).toHaveLength(2);
    expect(contract.instantiate({ size: 1 })).toBeInstanceOf(Derived);
  });

  it('may nest themselves', async () => {
    class Tree {
      @IsString()
      name = 'leaf';

      @IsArray()
      @ValidateNested({ each: true })
      @Type(() => Tree)
      children: Tree[] = [];
    }
    class Wood {
      @ValidateNested()
      @Type(() => Tree)
      tree: Tree = new Tree();
    }
    for (const [contract, wrap, path] of [
      [classParams('t:t', Tree), (tree: JsonObject) => tree, 'params'],
      [classParams('t:t', Wood), (tree: JsonObject) => ({ tree }), 'params.tree'],
    ] as const) {
      expect(await stored(contract, wrap({ children: [{ children: [{}] }] }))).toEqual(
        wrap({
          name: 'leaf',
          children: [{ name: 'leaf', children: [{ name: 'leaf', children: [] }] }],
        }),
      );
      expect(
        await mistakesOf(contract, wrap({ children: [{ children: [{ name: 1, x: 1 }] }] })),
      ).toEqual([
        `${path}.children.0.children.0.x: is not a known field`,
        `${path}.children.0.children.0.name: name must be a string`,
      ]);
    }
  });

  it('may share a name', async () => {
    const first = (() => {
      class Part {
        @IsString()
        text = 'a';
      }
      return Part;
    })();
    const second = (() => {
      class Part {
        @IsInt()
        number = 1;
      }
      return Part;
    })();
    class Both {
      @ValidateNested()
      @Type(() => first)
      one = new first();

      @ValidateNested()
      @Type(() => second)
      two = new second();
    }
    const contract = classParams('t:t', Both);
    expect(Object.keys(contract.schema['$defs'] as JsonObject)).toEqual(['Part', 'Part2']);
    expect(await stored(contract)).toEqual({ one: { text: 'a' }, two: { number: 1 } });
    expect(await mistakesOf(contract, { one: { number: 1 } })).toEqual([
      'params.one.number: is not a known field',
    ]);
  });

  it('may be told apart by a discriminator', async () => {
    abstract class Shape {}
    class Circle extends Shape {
      @IsNumber()
      @Min(0)
      radius = 1;
    }
    class Square extends Shape {
      @IsNumber()
      side!: number;
    }
    const discriminator = {
      property: 'kind',
      subTypes: [
        { name: 'circle', value: Circle },
        { name: 'square', value: Square },
      ],
    };
    class Drawing {
      @ValidateNested({ each: true })
      @Type(() => Shape, { discriminator })
      shapes!: Shape[];

      @IsOptional()
      @ValidateNested()
      @Type(() => Shape, { discriminator })
      frame?: Shape;
    }
    const contract = classParams('t:t', Drawing);
    const input = {
      shapes: [{ kind: 'circle' }, { kind: 'square', side: 2 }],
      frame: { kind: 'square', side: 3 },
    };
    const json = await stored(contract, input);
    expect(json).toEqual({
      ...input,
      shapes: [
        { kind: 'circle', radius: 1 },
        { kind: 'square', side: 2 },
      ],
    });
    for (let round = 0; round < 2; round += 1) {
      const drawing = contract.instantiate(json) as Drawing;
      expect(drawing.shapes[0]).toBeInstanceOf(Circle);
      expect(drawing.shapes[1]).toBeInstanceOf(Square);
      expect(drawing.frame).toBeInstanceOf(Square);
    }
    expect(
      await mistakesOf(contract, { shapes: [{ kind: 'square', side: 'x' }, { kind: 'cube' }, {}] }),
    ).toEqual([
      'params.shapes.0.side: side must be a number conforming to the specified constraints',
      'params.shapes.1.kind: must be one of "circle", "square"',
      'params.shapes.2.kind: is required',
    ]);
    expect(await mistakesOf(contract, { shapes: [{ kind: 'circle', side: 1 }] })).toEqual([
      'params.shapes.0.side: is not a known field',
    ]);
  });

  it('may hold maps and sets', async () => {
    class Price {
      @IsInt()
      cents = 0;
    }
    class Held {
      @ValidateNested({ each: true })
      @Type(() => Price)
      prices: Map<string, Price> = new Map([['a', new Price()]]);

      @IsString({ each: true })
      @Type(() => String)
      words: Set<string> = new Set(['w']);

      @ArrayUnique()
      lines: string[] = [];
    }
    const contract = classParams('t:t', Held);
    const json = await stored(contract, { prices: { b: { cents: 2 }, c: {} } });
    expect(json).toEqual({
      prices: { a: { cents: 0 }, b: { cents: 2 }, c: { cents: 0 } },
      words: ['w'],
      lines: [],
    });
    const held = contract.instantiate(json) as Held;
    expect(held.prices.get('b')).toBeInstanceOf(Price);
    expect(held.words).toEqual(new Set(['w']));
    expect(await mistakesOf(contract, { prices: { b: { cents: 'x' } } })).toHaveLength(1);
    expect(await mistakesOf(contract, { lines: ['a', 'a'] })).toEqual([
      "params.lines: All lines's elements must be unique",
    ]);
  });

  it('may name a class for its data alone: what it says is enforced all the same', async () => {
    class Unchecked {
      @IsObject()
      @Type(() => Item)
      item!: Item;

      @Allow()
      anything: unknown;
    }
    const contract = classParams('t:t', Unchecked);
    expect(await stored(contract, { item: { url: 'http://a.example' } })).toEqual({
      item: { url: 'http://a.example', count: 1 },
    });
    expect(
      await mistakesOf(contract, { item: { url: 'http://a.example', count: 99, x: 1 } }),
    ).toEqual(['params.item.x: is not a known field', 'params.item.count: must be <= 10']);
    expect(
      await stored(contract, { item: { url: 'http://a.example' }, anything: [{ x: null }] }),
    ).toMatchObject({
      anything: [{ x: null }],
    });
  });

  it('take an array where only ValidateNested and the type Array say so', async () => {
    class Listed {
      @ValidateNested()
      @Type(() => Item)
      items!: Item[];
    }
    const contract = classParams('t:t', Listed);
    expect(await stored(contract, { items: [{ url: 'http://a.example' }] })).toEqual({
      items: [{ url: 'http://a.example', count: 1 }],
    });
    expect(await mistakesOf(contract, { items: { url: 'http://a.example' } })).toEqual([
      'params.items: must be an array',
    ]);
    expect(await mistakesOf(contract, {})).toEqual(['params.items: is required']);
  });

  it('find a duplicate in a long array without comparing every pair', async () => {
    class Unique {
      @ArrayUnique((item: number[]) => item[0])
      list!: number[][];
    }
    const list = Array.from({ length: 20_000 }, (_, id) => [id]);
    const started = performance.now();
    const twice = [...list, [0]];
    expect(await mistakesOf(classParams('t:t', Unique), { list: twice })).toEqual([
      'params.list: must not hold the same item twice',
    ]);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
