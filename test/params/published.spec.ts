import 'reflect-metadata';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { plainToInstance, Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsDate,
  IsDivisibleBy,
  IsIn,
  IsInt,
  IsNotEmpty,
  IsNumber,
  IsOptional,
  IsPositive,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  Min,
  NotEquals,
  ValidateNested,
  validateSync,
} from 'class-validator';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject, JsonValue } from '../../lib/model/json.js';
import { parseJson } from '../support/json.js';
import { classParams } from '../../lib/params/class-params.js';
import { completeParams } from '../../lib/params/complete.js';
import { readClassShape } from '../../lib/params/class-shape.js';
import { schemaCheck } from '../../lib/params/schema-check.js';

class Part {
  @IsString()
  @Length(2, 4)
  code!: string;

  @IsOptional()
  @IsPositive()
  weight?: number | null;

  @IsIn(['a', 'b', 1])
  grade: string | number = 'a';
}

class Order {
  @IsInt()
  @Min(1)
  @Max(5)
  count!: number;

  @IsNumber()
  @IsDivisibleBy(3)
  @NotEquals(9)
  step = 3;

  @IsString()
  @IsNotEmpty()
  @Matches(/^[a-z]*$/)
  word = 'w';

  @IsBoolean()
  flag = false;

  @IsOptional()
  @IsUUID()
  id?: string | null;

  @IsOptional()
  @IsDate()
  @Type(() => Date)
  day?: Date | null;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(2)
  @ArrayUnique()
  @IsString({ each: true })
  tags: string[] = ['t'];

  @ValidateNested({ each: true })
  @ArrayMaxSize(2)
  @Type(() => Part)
  parts: Part[] = [];

  @IsOptional()
  @ValidateNested()
  @Type(() => Part)
  main?: Part | null = null;
}

const order = classParams('shop:order', Order);
const shape = readClassShape('shop:order', Order);

/** JSON near the boundaries of the class: right, nearly right, and wrong in kind. */
const part = fc.record<Record<string, unknown>>(
  {
    code: fc.constantFrom<unknown>('', 'a', 'ab', 'abcd', 'abcde', '😀😀', 5, null),
    weight: fc.constantFrom<unknown>(-1, 0, 0.1, 1, null, '1'),
    grade: fc.constantFrom<unknown>('a', 'b', 1, '1', null, 'c'),
    other: fc.constant(1),
  },
  { requiredKeys: [] },
);
const rarely = <T>(usual: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 8, arbitrary: usual },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
  );
const input = fc
  .record<Record<string, unknown>>(
    {
      count: rarely(fc.constantFrom<unknown>(0, 1, 2, 5, 6, 1.5, '2')),
      step: rarely(fc.constantFrom<unknown>(0, 3, 6, 9, 4, -3)),
      word: rarely(fc.constantFrom<unknown>('', 'a', 'A', 'abc')),
      flag: rarely(fc.constantFrom<unknown>(true, false, 'true', 1)),
      id: rarely(
        fc.constantFrom<unknown>('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'f47ac10b', null),
      ),
      day: rarely(
        fc.constantFrom<unknown>('2026-01-02', '2026-01-02T03:04:05Z', '2026', 'x', null),
      ),
      tags: rarely(fc.array(fc.constantFrom<unknown>('a', 'b', 1), { maxLength: 3 })),
      parts: rarely(fc.array(part, { maxLength: 3 })),
      main: rarely(part),
      other: fc.constant(1),
    },
    { requiredKeys: [] },
  )
  .map((value) => parseJson(JSON.stringify(value)) as JsonObject);
const lucky = fc.record({
  count: fc.integer({ min: 1, max: 5 }),
  step: fc.constantFrom(0, 3, -6),
  main: fc.record({ code: fc.constantFrom('ab', 'abc', 'abcd') }),
});

async function isAccepted(value: JsonValue): Promise<boolean> {
  try {
    await order.accept(value);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid_params' });
    return false;
  }
}

describe('a schema', () => {
  it('finds no field in what every object inherits', () => {
    const check = schemaCheck({
      required: ['constructor'],
      properties: { toString: { type: 'string' } },
    });
    expect(check({}, 'params').map(({ field }) => field)).toEqual(['params.constructor']);
  });
});

/** What cannot even be made an instance, such as `{ toString: 0 }` for a date, is refused as well. */
function isAcceptedByClass(completed: JsonValue): boolean {
  const options = { whitelist: true, forbidNonWhitelisted: true };
  try {
    return validateSync(plainToInstance(Order, structuredClone(completed)), options).length === 0;
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return false;
  }
}

describe('the published schema', () => {
  it('is what a reader of either draft accepts as a schema', () => {
    for (const reader of [
      new Ajv({ formats: fullFormats }),
      new Ajv2020({ formats: fullFormats }),
    ]) {
      expect(reader.validateSchema(order.schema)).toBe(true);
      expect(() => reader.compile(order.schema)).not.toThrow();
    }
  });

  it('is enforced: what any reader refuses of the completed params is refused', async () => {
    const readers = [new Ajv({ formats: fullFormats }), new Ajv2020({ formats: fullFormats })];
    const judges = readers.map((reader) => reader.compile(order.schema));
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(input, lucky), async (value) => {
        const accepted = await isAccepted(value);
        const completed = completeParams(shape, value);
        taken += accepted ? 1 : 0;
        for (const judge of judges) {
          expect(accepted && !judge(completed)).toBe(false);
        }
      }),
      { numRuns: 1000 },
    );
    expect(taken).toBeGreaterThan(50);
  });

  it('refuses nothing that the class accepts, but what it says of kinds', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(input, lucky), async (value) => {
        const completed = completeParams(shape, value);
        const isJsonOnly = hasOddKinds(completed);
        const isRefused = !(await isAccepted(value));
        expect(isAcceptedByClass(completed) && !isJsonOnly && isRefused).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  it('tells a client what it need not send', () => {
    expect(order.schema['required']).toEqual(['count']);
    expect(order.schema['properties']).toMatchObject({
      step: { type: 'number', multipleOf: 3, not: { const: 9 }, default: 3 },
      word: { type: 'string', minLength: 1, pattern: '^[a-z]*$', default: 'w' },
      tags: {
        type: 'array',
        items: { type: 'string' },
        minItems: 1,
        maxItems: 2,
        uniqueItems: true,
      },
      main: { default: null },
    });
    const { Part: partSchema } = order.schema['$defs'] as JsonObject;
    expect(partSchema).toMatchObject({ required: ['code'], additionalProperties: false });
  });

  it('is the same each time, and JSON through and through', () => {
    const again = classParams('shop:order', Order).schema;
    expect(again).toEqual(order.schema);
    expect(parseJson(JSON.stringify(order.schema))).toEqual(order.schema);
  });

  it('accepts its own defaults where nothing is required', async () => {
    const contract = classParams(
      't:t',
      (() => {
        class Relaxed {
          @IsInt()
          @Min(1)
          size = 1;

          @IsOptional()
          @IsString()
          note?: string | null = null;
        }
        return Relaxed;
      })(),
    );
    expect(await contract.accept(contract.defaults)).toEqual({ size: 1, note: null });
    expect(await contract.accept({})).toEqual({ size: 1, note: null });
  });
});

/** What class-validator takes and JSON Schema tells apart: one value for a list, a list for one. */
function hasOddKinds({ tags, parts, main, day }: JsonObject): boolean {
  const isList = [tags, parts].every((list) => Array.isArray(list));
  const isOddDay =
    day !== undefined && day !== null && !/^"\d{4}-\d{2}-\d{2}/.test(JSON.stringify(day));
  return !isList || Array.isArray(main) || isOddDay || typeof day === 'number';
}
