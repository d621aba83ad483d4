import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsBoolean,
  IsDate,
  IsEmail,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUrl,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { refusal } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

class Item {
  @IsUrl()
  url = 'https://example.com';

  @IsInt()
  @Min(1)
  @Max(10)
  count = 1;
}

class Options {
  @IsIn(['fast', 'thorough'])
  mode = 'fast';

  @IsBoolean()
  dryRun = false;

  @IsOptional()
  @IsString()
  @MaxLength(5)
  note?: string | null = 'none';
}

class ImportParams {
  /** No default: it must be given. */
  @IsString()
  @MinLength(2)
  source!: string;

  @ValidateNested()
  @Type(() => Options)
  options: Options = new Options();

  @IsArray()
  @ArrayMaxSize(3)
  @ValidateNested({ each: true })
  @Type(() => Item)
  items: Item[] = [new Item()];

  @IsOptional()
  @IsEmail()
  email?: string;

  @IsOptional()
  @Matches(/^[a-z]+$/)
  slug?: string;

  total(): number {
    return this.items.reduce((sum, item) => sum + item.count, 0);
  }
}

class DatedParams {
  @IsDate()
  @Type(() => Date)
  day = new Date(0);
}

const seen: unknown[] = [];

@JobType({ name: 'import', params: ImportParams })
class Import implements JobHandler<ImportParams, number> {
  execute(ctx: JobContext<ImportParams>): number {
    seen.push(ctx.params, ctx.job.params);
    return ctx.params.total();
  }
}

@JobType({ name: 'free' })
class Free implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

@JobType({ name: 'dated', params: DatedParams })
class Dated implements JobHandler<DatedParams, boolean> {
  execute(ctx: JobContext<DatedParams>): boolean {
    return ctx.params.day instanceof Date;
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Import, Free, Dated], lifetime: 'file' });
});

describe('params of a class', () => {
  it('reach the handler as an instance, in ctx.params and in ctx.job.params', async () => {
    seen.length = 0;
    const job = await app.run(Import, {
      source: 'x1',
      items: [{ url: 'https://a.example', count: 2 }, { count: 3 }],
    });
    expect(job).toMatchObject({ status: 'completed', result: 5 });
    expect(seen).toHaveLength(2);
    for (const params of seen as ImportParams[]) {
      expect(params).toBeInstanceOf(ImportParams);
      expect(params.options).toBeInstanceOf(Options);
      expect(params.items[0]).toBeInstanceOf(Item);
    }
  });

  it('are stored with every default', async () => {
    const { params } = await app.jobs.enqueue(Import, { source: 'x1' }, { delay: '1h' });
    expect(params).toEqual({
      source: 'x1',
      options: { mode: 'fast', dryRun: false, note: 'none' },
      items: [{ url: 'https://example.com', count: 1 }],
    });
  });

  it('merge deeply over the defaults; arrays replace, null is kept', async () => {
    const { params } = await app.jobs.enqueue(
      'default:import',
      { source: 'x1', options: { dryRun: true, note: null }, items: [] },
      { delay: '1h' },
    );
    expect(params).toEqual({
      source: 'x1',
      options: { mode: 'fast', dryRun: true, note: null },
      items: [],
    });
  });

  it('never share a default between two jobs', async () => {
    const first = await app.jobs.enqueue(Import, { source: 'x1' }, { delay: '1h' });
    (first.params as ImportParams).items.push(new Item());
    const second = await app.jobs.enqueue(Import, { source: 'x1' }, { delay: '1h' });
    expect((second.params as ImportParams).items).toHaveLength(1);
  });

  it.each<[string, unknown, string]>([
    ['a missing field', {}, 'params.source'],
    ['a wrong type', { source: 1 }, 'params.source'],
    ['a text that is too short', { source: 'x' }, 'params.source'],
    ['an unknown field', { source: 'x1', sorce: 'x' }, 'params.sorce'],
    ['an unknown nested field', { source: 'x1', options: { mod: 'fast' } }, 'params.options.mod'],
    ['a word outside its list', { source: 'x1', options: { mode: 'slow' } }, 'params.options.mode'],
    [
      'a text for a boolean',
      { source: 'x1', options: { dryRun: 'true' } },
      'params.options.dryRun',
    ],
    [
      'a text that is too long',
      { source: 'x1', options: { note: '123456' } },
      'params.options.note',
    ],
    ['a number below its minimum', { source: 'x1', items: [{ count: 0 }] }, 'params.items.0.count'],
    [
      'a number above its maximum',
      { source: 'x1', items: [{ count: 1 }, { count: 11 }] },
      'params.items.1.count',
    ],
    [
      'a fraction for an integer',
      { source: 'x1', items: [{ count: 1.5 }] },
      'params.items.0.count',
    ],
    ['a text for a number', { source: 'x1', items: [{ count: '2' }] }, 'params.items.0.count'],
    ['a bad URL in an item', { source: 'x1', items: [{ url: 'nowhere' }] }, 'params.items.0.url'],
    [
      'an unknown field of an item',
      { source: 'x1', items: [{ cuont: 1 }] },
      'params.items.0.cuont',
    ],
    ['too many items', { source: 'x1', items: [{}, {}, {}, {}] }, 'params.items'],
    ['an object for an array', { source: 'x1', items: { 0: {} } }, 'params.items'],
    ['a text for an object', { source: 'x1', options: 'fast' }, 'params.options'],
    ['an array for an object', { source: 'x1', options: [] }, 'params.options'],
    ['null where it is not allowed', { source: null }, 'params.source'],
    ['a bad address', { source: 'x1', email: 'a@' }, 'params.email'],
    ['a text that does not match', { source: 'x1', slug: 'A' }, 'params.slug'],
    ['a text instead of params', 'x1', 'params'],
    ['an array instead of params', [{ source: 'x1' }], 'params'],
    ['null instead of params', null, 'params'],
  ])('are refused for %s, with its path, and nothing is stored', async (_, params, field) => {
    const before = (await app.jobs.list()).total;
    const error = await refusal(app.jobs.enqueue('default:import', params, { delay: '1h' }));
    expect(error).toMatchObject({ code: 'invalid_params', status: 400 });
    expect(error.errors?.map((each) => each.field)).toContain(field);
    expect(error.errors?.every((each) => each.message.length > 0)).toBe(true);
    expect((await app.jobs.list()).total).toBe(before);
  });

  it('are refused for everything at once, not only for the first mistake', async () => {
    const error = await refusal(
      app.jobs.enqueue('default:import', {
        source: 1,
        options: { mode: 'slow' },
        items: [{ count: 0 }],
      }),
    );
    const fields = error.errors?.map((each) => each.field);
    expect(fields).toEqual(
      expect.arrayContaining(['params.source', 'params.options.mode', 'params.items.0.count']),
    );
  });

  it('may hold dates, which travel as text', async () => {
    const job = await app.run('default:dated', { day: '2026-02-03T04:05:06.000Z' });
    expect(job).toMatchObject({ status: 'completed', result: true });
  });

  it('are published as a JSON Schema and as defaults', () => {
    const info = app.catalog.type('default:import');
    expect(info.params).toEqual({
      options: { mode: 'fast', dryRun: false, note: 'none' },
      items: [{ url: 'https://example.com', count: 1 }],
    });
    expect(info.paramsSchema).toMatchObject({
      type: 'object',
      additionalProperties: false,
      required: ['source'],
      properties: { source: { type: 'string', minLength: 2 } },
    });
    expect(JSON.stringify(info.paramsSchema)).toMatch(/"enum":\["fast","thorough"\]/);
  });
});

describe('params without a class', () => {
  it.each<[string, unknown]>([
    ['an object', { a: { b: [1, 'x', null, true, 1.5] } }],
    ['an array', [1, 2, 3]],
    ['a text', 'hello'],
    ['an empty text', ''],
    ['zero', 0],
    ['false', false],
    ['null', null],
    ['an empty object', {}],
  ])('may be %s', async (_, params) => {
    const job = await app.run('default:free', params);
    expect(job.params).toEqual(params);
    // null as a result cannot be told from none, and need not be.
    expect(job.result).toEqual(params);
  });

  it('are an empty object when none are given', async () => {
    expect((await app.run('default:free')).result).toEqual({});
    expect(app.catalog.type('default:free').paramsSchema).toEqual({});
  });

  it.each<[string, unknown]>([
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a BigInt', 1n],
    ['NaN', Number.NaN],
    ['an infinite number', { a: [Infinity] }],
    ['a function inside', { a: () => 1 }],
  ])('may not be %s', async (_, params) => {
    const error = await refusal(app.jobs.enqueue('default:free', params, { delay: '1h' }));
    expect(error.status).toBe(400);
    expect(`${error.message} ${JSON.stringify(error.errors)}`).toMatch(/params/);
  });

  it('may not be cyclic', async () => {
    const params: Record<string, unknown> = { a: 1 };
    params['self'] = params;
    expect((await refusal(app.jobs.enqueue('default:free', params))).status).toBe(400);
  });

  it('are taken as they were at the call: changing them afterwards changes nothing', async () => {
    const params = { list: [1] };
    const pending = app.jobs.enqueue('default:free', params);
    params.list.push(2);
    const { id } = await pending;
    expect((await waitForEnd(app.jobs, id)).result).toEqual({ list: [1] });
  });
});

describe('a handler that changes its params', () => {
  it('does not change the stored ones', async () => {
    const job = await app.run('default:free', { n: 1 });
    expect(job.params).toEqual({ n: 1 });
  });
});
