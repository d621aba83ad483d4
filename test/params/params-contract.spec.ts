import 'reflect-metadata';
import { IsInt } from 'class-validator';
import { describe, expect, it } from 'vitest';
import { anyParams, paramsContract } from '../../lib/params/params-contract.js';

class Sized {
  @IsInt()
  size = 1;
}

describe('the contract of a job type', () => {
  it('without a class takes any JSON at once, and an empty object for nothing', async () => {
    const contract = await paramsContract('files:digest');
    expect(contract).toBe(anyParams);
    expect(contract.schema).toEqual({});
    expect(contract.defaults).toEqual({});
    expect(contract.accept(undefined)).toEqual({});
    for (const value of [null, 0, '', false, [], { a: [1] }]) {
      expect(contract.accept(value)).toBe(value);
      expect(contract.instantiate(value)).toBe(value);
    }
  });

  it('gives each caller an empty object of its own', () => {
    expect(anyParams.accept(undefined)).not.toBe(anyParams.accept(undefined));
  });

  it('with a class is the contract of that class', async () => {
    const contract = await paramsContract('files:digest', Sized);
    expect(contract.defaults).toEqual({ size: 1 });
    await expect(contract.accept({ size: 'x' })).rejects.toThrow('The params of "files:digest"');
    expect(contract.instantiate({ size: 2 })).toBeInstanceOf(Sized);
  });

  it('rejects a class that cannot describe params', async () => {
    await expect(paramsContract('files:digest', class Empty {})).rejects.toMatchObject({
      code: 'invalid_options',
    });
  });
});
