import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { deferred } from '../support/gate.js';
import { until } from '../support/waiting.js';

class Odd extends Error {
  override get message(): string {
    throw new Error('even its message throws');
  }
}

const cyclic: Record<string, unknown> = { name: 'cyclic' };
cyclic['self'] = cyclic;

const late = deferred<never>();

/** Everything a handler might throw; the texts are what people must find in `error`. */
const THROWN: Readonly<Record<string, { readonly value: unknown; readonly text: RegExp }>> = {
  'an Error': { value: new TypeError('it broke'), text: /TypeError: it broke[\s\S]*thrown\.spec/ },
  'an Error with a cause': {
    value: new Error('outer', { cause: new Error('the inner reason') }),
    text: /outer[\s\S]*the inner reason/,
  },
  'an AggregateError': {
    value: new AggregateError([new Error('one')], 'several'),
    text: /several/,
  },
  'an Error without a stack': {
    value: Object.assign(new Error('bare'), { stack: undefined }),
    text: /bare/,
  },
  'an Error with a changed stack': {
    value: Object.assign(new Error('m'), { stack: 42 }),
    text: /m/,
  },
  'an Error whose message throws': { value: new Odd(), text: /./ },
  'a DOMException': { value: new DOMException('dom', 'DataError'), text: /dom/ },
  'a foreign AbortError': {
    value: new DOMException('stopped by itself', 'AbortError'),
    text: /stopped by itself/,
  },
  'a text': { value: 'just text', text: /^just text/ },
  'an empty text': { value: '', text: /^/ },
  'a number': { value: 42, text: /42/ },
  null: { value: null, text: /null/ },
  undefined: { value: undefined, text: /undefined/ },
  'a symbol': { value: Symbol('sym'), text: /sym/ },
  'a BigInt': { value: 10n, text: /10/ },
  'an object': { value: { code: 'E_X' }, text: /E_X/ },
  'a cyclic object': { value: cyclic, text: /./ },
  'an object without prototype': { value: Object.create(null), text: /./ },
  'an object whose toJSON throws': {
    value: {
      toJSON() {
        throw new Error('no JSON');
      },
    },
    text: /./,
  },
  'a function': { value: () => 1, text: /./ },
  'a hostile proxy': {
    value: new Proxy(
      {},
      {
        get() {
          throw new Error('trap');
        },
        getPrototypeOf() {
          throw new Error('trap');
        },
      },
    ),
    text: /./,
  },
  'text with NUL and a lone surrogate': { value: new Error('a\0b\ud800c'), text: /a.b.c/s },
};

@JobType({ name: 'throws' })
class Throws implements JobHandler {
  execute(ctx: JobContext<{ what: string; how: string }>): unknown {
    const thrown = THROWN[ctx.params.what]?.value;
    switch (ctx.params.how) {
      case 'sync':
        throw thrown;
      case 'rejected':
        // oxlint-disable-next-line prefer-promise-reject-errors -- that is what this test is about
        return Promise.reject(thrown);
      default:
        return new Promise((_, reject) => setImmediate(() => reject(thrown as Error)));
    }
  }
}

@JobType({ name: 'huge-error' })
class HugeError implements JobHandler {
  execute(): void {
    throw new Error('ä'.repeat(100_000));
  }
}

@JobType({ name: 'lingers', timeout: 60 })
class Lingers implements JobHandler {
  execute(): Promise<never> {
    return late.promise;
  }
}

@JobType({ name: 'fine' })
class Fine implements JobHandler {
  execute(): string {
    return 'alive';
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Throws, HugeError, Lingers, Fine], lifetime: 'file' });
});

const CASES = Object.keys(THROWN).flatMap((what) =>
  ['sync', 'rejected', 'later'].map((how) => ({ what, how })),
);

describe('a handler that throws', () => {
  it.each(CASES)('$what ($how) fails its run, and the worker lives on', async ({ what, how }) => {
    const job = await app.run(Throws, { what, how });
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(THROWN[what]?.text ?? /never/);
    expect(job.result).toBeNull();
    const [run] = await app.jobs.runs(job.id);
    expect(run).toMatchObject({ outcome: 'failed', error: job.error });
    expect((await app.run(Fine)).result).toBe('alive');
  });

  it('a novel has its error cut to 32 kB, which says so', async () => {
    const { error } = await app.run(HugeError);
    expect(Buffer.byteLength(error ?? '')).toBeLessThanOrEqual(32_768);
    expect(Buffer.byteLength(error ?? '')).toBeGreaterThan(30_000);
    expect(error).toMatch(/cut/);
    expect(error).not.toMatch(/\ufffd/);
  });

  it('after it was given up is heard by nobody and changes nothing', async () => {
    const unhandled: unknown[] = [];
    const listen = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listen);
    try {
      const job = await app.run(Lingers);
      expect(job.status).toBe('timeout');
      late.reject(new Error('far too late'));
      expect((await app.run(Fine)).result).toBe('alive');
      await until(() => new Promise((resolve) => setImmediate(() => resolve(true))));
      expect(unhandled).toEqual([]);
      expect(await app.jobs.get(job.id)).toEqual(job);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });
});
