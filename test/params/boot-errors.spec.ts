import 'reflect-metadata';
import { Transform, Type } from 'class-transformer';
import { IsInt, IsNumber, IsOptional, IsString, ValidateNested } from 'class-validator';
import { describe, expect, it } from 'vitest';
import { JobsError } from '../../lib/model/errors.js';
import type { Class } from '../../lib/model/job-type.js';
import { classParams } from '../../lib/params/class-params.js';

class Bare {
  name = 'x';
}

class Item {
  @IsString()
  url!: string;
}

class Undecorated {
  @IsInt()
  size = 1;

  folder = 'out';
}

class Untyped {
  @ValidateNested()
  item!: Item;
}

class NestsBare {
  @ValidateNested()
  @Type(() => Bare)
  item!: Bare;
}

class Demanding {
  @IsInt()
  size: number;

  constructor(given: { size: number }) {
    this.size = given.size;
  }
}

class Endless {
  @IsNumber()
  limit = Infinity;
}

function bootError(paramsClass: Class): JobsError {
  try {
    classParams('files:digest', paramsClass);
  } catch (error) {
    if (error instanceof JobsError) {
      return error;
    }
    throw error;
  }
  throw new Error('no error');
}

describe('a params class that could accept nothing fails the boot', () => {
  it.each<[string, Class, string]>([
    [
      'without decorators',
      Bare,
      'Bare has no class-validator decorators. Decorate its fields, or leave "params" out to take any JSON.',
    ],
    [
      'with a field that has none',
      Undecorated,
      'Undecorated.folder has no class-validator decorator. Add one (@Allow() accepts anything), or make it a #private field or a getter.',
    ],
    [
      'with a nested field that names no class',
      Untyped,
      'Untyped.item has @ValidateNested() but no @Type(() => …). Add it, from the same copy of class-transformer as this package uses.',
    ],
    [
      'that nests one without decorators',
      NestsBare,
      'Bare has no class-validator decorators. Decorate its fields, or leave "params" out to take any JSON.',
    ],
    [
      'that cannot be made without arguments',
      Demanding,
      "Demanding gives no defaults: Cannot read properties of undefined (reading 'size'). new Demanding() must work without arguments and hold plain data.",
    ],
    [
      'with a default that JSON cannot hold',
      Endless,
      'Endless gives no defaults: limit is Infinity, which JSON cannot hold. new Endless() must work without arguments and hold plain data.',
    ],
  ])('%s', (_, paramsClass, message) => {
    const error = bootError(paramsClass);
    expect(error.code).toBe('invalid_options');
    expect(error.message).toBe(`The params class of "files:digest" cannot be used: ${message}`);
  });
});

describe('what looks like it but works', () => {
  it('is a nested field that a transformation builds', async () => {
    class Built {
      @ValidateNested()
      @Transform(({ value }: { value: object }) => Object.assign(new Item(), value))
      item!: Item;
    }
    const contract = classParams('t:t', Built);
    expect(await contract.accept({ item: { url: 'x' } })).toEqual({ item: { url: 'x' } });
    await expect(contract.accept({ item: { url: 1 } })).rejects.toMatchObject({
      errors: [{ field: 'params.item.url', message: 'url must be a string' }],
    });
  });

  it('is a nested class picked for each value', async () => {
    class Picked {
      @IsOptional()
      @ValidateNested()
      @Type((help) => (help?.object['big'] === true ? Item : Undecorated))
      item?: Item | Undecorated;

      @IsOptional()
      big?: boolean;
    }
    const contract = classParams('t:t', Picked);
    expect(await contract.accept({ big: true, item: { url: 'x' } })).toMatchObject({ big: true });
    await expect(contract.accept({ big: true, item: {} })).rejects.toMatchObject({
      code: 'invalid_params',
    });
  });
});
