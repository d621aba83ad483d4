import { IsObject, IsOptional, IsString } from 'class-validator';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs, type HostOptions } from '../support/boot.js';
import { codeOf, refusal } from '../support/refusals.js';

class LooseParams {
  @IsOptional()
  @IsObject()
  any?: Record<string, unknown>;

  @IsOptional()
  @IsString()
  text?: string;
}

let value: unknown;

@JobType({ name: 'free' })
class Free implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

@JobType({ name: 'typed', params: LooseParams })
class Typed implements JobHandler<LooseParams> {
  execute(ctx: JobContext<LooseParams>): unknown {
    return { own: Object.keys(ctx.params), isInstance: ctx.params instanceof LooseParams };
  }
}

@JobType({ name: 'returns' })
class Returns implements JobHandler {
  execute(): unknown {
    return value;
  }
}

@JobType({ name: 'saves' })
class Saves implements JobHandler {
  async execute(ctx: JobContext): Promise<unknown> {
    await ctx.checkpoint('before');
    return {
      checkpoint: await codeOf(ctx.checkpoint(value)),
      result: await codeOf(ctx.setResult(value)),
    };
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Free, Typed, Returns, Saves], lifetime: 'file' });
});

afterEach(() => {
  value = undefined;
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

const parse = (text: string): unknown => JSON.parse(text) as unknown;
const nested = (depth: number): unknown => parse('['.repeat(depth) + ']'.repeat(depth));
const nestedObject = (depth: number): unknown =>
  parse('{"a":'.repeat(depth) + '1' + '}'.repeat(depth));
/** JSON text of so many UTF-8 bytes: an object around one text. */
const ofBytes = (bytes: number, filler = 'x'): { t: string } => {
  const room = bytes - Buffer.byteLength('{"t":""}');
  const size = Buffer.byteLength(filler);
  return { t: filler.repeat(Math.floor(room / size)) + 'x'.repeat(room % size) };
};

const KB = 1024;

/** What is refused wherever JSON comes in, and by which code. */
const HOSTILE: readonly (readonly [string, () => unknown, RegExp])[] = [
  ['an own key __proto__', () => parse('{"__proto__":{"polluted":1}}'), /^invalid/],
  [
    'an own key __proto__ deep inside',
    () => parse('{"a":[{"b":{"__proto__":{"polluted":1}}}]}'),
    /^invalid/,
  ],
  ['an own key __proto__ that is null', () => parse('{"__proto__":null}'), /^invalid/],
  ['NUL in a text', () => ({ text: 'a\0b' }), /^invalid/],
  ['NUL in a key', () => ({ 'a\0b': 1 }), /^invalid/],
  ['a lone high surrogate', () => ({ text: 'a\ud800b' }), /^invalid/],
  ['a lone low surrogate', () => ({ text: '\udc00' }), /^invalid/],
  ['a lone surrogate in a key', () => ({ '\ud800': 1 }), /^invalid/],
  ['65 levels of arrays', () => nested(65), /^invalid/],
  ['65 levels of objects', () => nestedObject(65), /^invalid/],
  ['100,000 levels', () => nested(100_000), /^invalid/],
  ['one byte too much', () => ofBytes(256 * KB + 1), /^too_large$/],
  ['one byte too much in other letters', () => ofBytes(256 * KB + 1, 'é'), /^too_large$/],
  ['megabytes', () => ofBytes(5_000_000), /^too_large$/],
];

/** What is data like any other, wherever JSON comes in. */
const HARMLESS: readonly (readonly [string, () => unknown])[] = [
  ['a constructor key', () => parse('{"constructor":{"prototype":{"polluted":1}}}')],
  [
    'keys of Object',
    () => parse('{"toString":1,"hasOwnProperty":2,"valueOf":null,"prototype":{}}'),
  ],
  ['keys of promises', () => parse('{"then":1,"catch":"x"}')],
  ['a key named toJSON', () => parse('{"toJSON":"text"}')],
  ['64 levels of arrays', () => nested(64)],
  ['64 levels of objects', () => nestedObject(64)],
  ['exactly 256 kB', () => ofBytes(256 * KB)],
  ['exactly 256 kB of two-byte letters', () => ofBytes(256 * KB, 'é')],
  ['a pair of surrogates', () => ({ text: '💥' })],
  ['control characters', () => ({ text: '\u0001\u001b[31m\u2028\u2029\u202e' })],
  ['markup and SQL', () => ({ text: `<script>alert(1)</script>'; DROP TABLE jobs; --` })],
  ['numbers at the edge', () => [Number.MAX_SAFE_INTEGER, -0.1, 1e308, 5e-324]],
  ['an empty key', () => ({ '': { '': 1 } })],
  [
    'ten thousand keys',
    () => Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`k${n}`, n])),
  ],
];

describe('params', () => {
  it.each(HOSTILE)('with %s are refused and nothing is stored', async (_, make, code) => {
    const before = (await app.jobs.list()).total;
    const error = await refusal(app.jobs.enqueue('default:free', make()));
    expect(error.code).toMatch(code);
    expect(error.status).toBe(error.code === 'too_large' ? 413 : 400);
    expect(error.message.length).toBeLessThan(1000);
    expect((await app.jobs.list()).total).toBe(before);
  });

  it.each(HARMLESS)('with %s are taken and come back as they were', async (_, make) => {
    const job = await app.run('default:free', make());
    expect(job.status).toBe('completed');
    expect(job.params).toEqual(make());
    expect(job.result).toEqual(make());
  });

  it('of a class are refused with their path for an own key __proto__', async () => {
    const error = await refusal(
      app.jobs.enqueue('default:typed', parse('{"any":{"__proto__":{"polluted":1}}}')),
    );
    expect(error.code).toMatch(/^invalid/);
    expect(JSON.stringify(error.errors ?? error.message)).toMatch(/any/);
  });

  it('of a class may hold a constructor key, which is data', async () => {
    const params = parse('{"any":{"constructor":{"name":"x"},"prototype":1}}');
    const job = await app.run('default:typed', params);
    expect(job).toMatchObject({ status: 'completed', result: { isInstance: true } });
    expect(job.params).toEqual(params);
  });

  it('of a class refuse an unknown constructor key of their own, like any unknown key', async () => {
    const error = await refusal(
      app.jobs.enqueue('default:typed', parse('{"constructor":{"x":1}}')),
    );
    expect(error.code).toBe('invalid_params');
  });
});

describe('state and meta at enqueue', () => {
  it.each(HOSTILE)('with %s are refused', async (name, make, code) => {
    expect(await codeOf(app.jobs.enqueue('default:free', {}, { state: make() }))).toMatch(code);
    const meta = make();
    if (!Array.isArray(meta)) {
      expect(await codeOf(app.jobs.enqueue('default:free', {}, { meta: meta as object }))).toMatch(
        name.includes('levels') ? /./ : code,
      );
    }
  });

  it.each([
    [16 * KB - 1, 'ok'],
    [16 * KB, 'ok'],
    [16 * KB + 1, 'too_large'],
  ])('meta of %d bytes is %s', async (bytes, code) => {
    expect(
      await codeOf(app.jobs.enqueue('default:free', {}, { meta: ofBytes(bytes), delay: '1h' })),
    ).toBe(code);
  });
});

describe('results and checkpoints', () => {
  it.each(HOSTILE)(
    'with %s are refused: the run fails, and a checkpoint keeps its value',
    async (_, make, code) => {
      value = make();
      const returned = await app.run('default:returns');
      expect(returned.status).toBe('failed');
      expect(returned.error).toBeTruthy();
      expect(returned.result).toBeNull();

      const saved = await app.run('default:saves');
      const result = saved.result as { checkpoint: string; result: string };
      expect(result.checkpoint).toMatch(code);
      expect(result.result).toMatch(code);
      expect(saved.state).toBe('before');
    },
  );

  it.each(HARMLESS)('with %s are kept as they are', async (_, make) => {
    value = make();
    expect((await app.run('default:returns')).result).toEqual(make());
    const saved = await app.run('default:saves');
    expect(saved.result).toMatchObject({ checkpoint: 'ok', result: 'ok' });
    expect(saved.state).toEqual(make());
  });
});

describe('other texts', () => {
  it.each<[string, HostOptions]>([
    ['a key with NUL', { idempotencyKey: 'a\0b' }],
    ['a key with a lone surrogate', { idempotencyKey: '\ud800' }],
    ['a tag with NUL', { tags: ['a\0'] }],
    ['a tag with a lone surrogate', { tags: ['\udfff'] }],
    ['a channel with NUL', { channel: '\0' }],
    ['a tenant with NUL', { tenantId: 'a\0' }],
    ['a user with a lone surrogate', { userId: '\ud83d' }],
  ])('refuses %s', async (_, options) => {
    expect(await codeOf(app.jobs.enqueue('default:free', {}, options))).toBe('invalid_request');
  });

  it('stores a hostile reason readably', async () => {
    const { id } = await app.jobs.enqueue('default:free', {}, { delay: '1h' });
    const job = await app.jobs.cancel(id, { reason: 'a\0b\ud800 <b>' });
    expect(job.status).toBe('canceled');
    expect(job.details).toMatch(/^a.b. <b>$/);
  });

  it('cuts an endless reason and says so, or refuses it', async () => {
    const { id } = await app.jobs.enqueue('default:free', {}, { delay: '1h' });
    const answer = await codeOf(app.jobs.cancel(id, { reason: 'x'.repeat(1_000_000) }));
    expect(answer).toMatch(/^(ok|invalid_request|too_large)$/);
    expect(((await app.jobs.get(id)).details ?? '').length).toBeLessThanOrEqual(32 * KB);
  });
});

describe('limits of one’s own', () => {
  it('replace the defaults, at n and n + 1', async () => {
    const small = await bootJobs({
      types: [Free, Returns],
      options: { limits: { params: 100, result: 50, state: 60, meta: 70, depth: 3, error: 1000 } },
    });
    expect(await codeOf(small.jobs.enqueue(Free, ofBytes(100), { delay: '1h' }))).toBe('ok');
    expect(await codeOf(small.jobs.enqueue(Free, ofBytes(101), { delay: '1h' }))).toBe('too_large');
    expect(await codeOf(small.jobs.enqueue(Free, nested(3), { delay: '1h' }))).toBe('ok');
    expect(await codeOf(small.jobs.enqueue(Free, nested(4), { delay: '1h' }))).toMatch(/^invalid/);
    expect(await codeOf(small.jobs.enqueue(Free, {}, { delay: '1h', state: ofBytes(60) }))).toBe(
      'ok',
    );
    expect(await codeOf(small.jobs.enqueue(Free, {}, { delay: '1h', state: ofBytes(61) }))).toBe(
      'too_large',
    );
    expect(await codeOf(small.jobs.enqueue(Free, {}, { delay: '1h', meta: ofBytes(70) }))).toBe(
      'ok',
    );
    expect(await codeOf(small.jobs.enqueue(Free, {}, { delay: '1h', meta: ofBytes(71) }))).toBe(
      'too_large',
    );
    value = ofBytes(50);
    expect((await small.run(Returns)).status).toBe('completed');
    value = ofBytes(51);
    expect(await small.run(Returns)).toMatchObject({ status: 'failed', result: null });
  });
});
