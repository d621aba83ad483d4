import { EventEmitter } from 'node:events';
import { concat, delay, EMPTY, from, NEVER, Observable, of, throwError } from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler, type JobProgress } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

/** What a handler of the type does is chosen by the test, by name. */
const BODIES: Readonly<Record<string, (ctx: JobContext<{ body: string }>) => unknown>> = {
  'a value': () => ({ answer: 42 }),
  'a promise': async () => {
    await Promise.resolve();
    return [1, 2];
  },
  // oxlint-disable-next-line unicorn/no-thenable -- a thenable is the point
  'a thenable': () => ({ then: (resolve: (value: string) => void) => resolve('thenable') }),
  nothing: () => undefined,
  null: () => null,
  zero: () => 0,
  false: () => false,
  'an empty text': () => '',
  'setResult alone': async (ctx) => {
    await ctx.setResult({ kept: true });
  },
  'setResult and a value': async (ctx) => {
    await ctx.setResult('early');
    return 'late';
  },
  'setResult and null': async (ctx) => {
    await ctx.setResult('early');
    return null;
  },
  'an observable': () => of(0.25, 0.5, 0.75),
  'an observable of reports': () =>
    of<JobProgress[]>(
      { completed: 1, total: 4, message: 'one' },
      { completed: 3, total: 4, message: 'three' },
    ),
  'an empty observable': () => EMPTY,
  'an observable with setResult': (ctx) =>
    new Observable<number>((subscriber) => {
      subscriber.next(0.5);
      void ctx.setResult('from inside').then(() => subscriber.complete());
    }),
  'a promise of an observable': async () => of(0.5),
  'a broken observable': () =>
    concat(
      of(0.5),
      throwError(() => new Error('stream broke')),
    ),
  'an observable that throws': () =>
    new Observable(() => {
      throw new Error('no subscription');
    }),
  'an async iterable': async function* () {
    yield 0.1;
    await Promise.resolve();
    yield { progress: 0.9, message: 'nearly' };
  },
  'an async iterable that returns': async function* () {
    yield 0.5;
    return 'returned';
  },
  'a broken async iterable': async function* () {
    yield 0.5;
    throw new Error('iteration broke');
  },
  'a slow observable': () => from([0.2, 0.4]).pipe(delay(30)),
  'a date': () => ({ at: new Date(0) }),
};

const torn: string[] = [];

@JobType({ name: 'any' })
class AnyBody implements JobHandler {
  execute(ctx: JobContext<{ body: string }>): unknown {
    return (BODIES[ctx.params.body] as (ctx: JobContext<{ body: string }>) => unknown)(ctx);
  }
}

@JobType({ name: 'endless-stream', suspendable: true })
class EndlessStream implements JobHandler {
  execute(ctx: JobContext): Observable<number> {
    return new Observable((subscriber) => {
      subscriber.next(0.5);
      const inner = NEVER.subscribe(subscriber);
      return () => {
        torn.push(ctx.job.id);
        inner.unsubscribe();
      };
    });
  }
}

@JobType({ name: 'endless-loop', suspendable: true })
class EndlessLoop implements JobHandler {
  async *execute(ctx: JobContext): AsyncGenerator<number> {
    const ticks = new EventEmitter();
    try {
      for (;;) {
        yield 0.5;
        await new Promise<void>((resolve) => {
          ctx.signal.addEventListener('abort', () => resolve(), { once: true });
          ticks.once('never', resolve);
        });
      }
    } finally {
      torn.push(ctx.job.id);
    }
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [AnyBody, EndlessStream, EndlessLoop], lifetime: 'file' });
});

describe('a handler that returns', () => {
  it.each<[string, unknown]>([
    ['a value', { answer: 42 }],
    ['a promise', [1, 2]],
    ['a thenable', 'thenable'],
    ['nothing', null],
    ['null', null],
    ['zero', 0],
    ['false', false],
    ['an empty text', ''],
    ['setResult alone', { kept: true }],
    ['setResult and a value', 'late'],
    ['setResult and null', null],
    ['an observable', null],
    ['an observable of reports', null],
    ['an empty observable', null],
    ['an observable with setResult', 'from inside'],
    ['a promise of an observable', null],
    ['an async iterable', null],
    ['a slow observable', null],
    ['a date', { at: '1970-01-01T00:00:00.000Z' }],
  ])('%s completes its job', async (body, result) => {
    const job = await app.run(AnyBody, { body });
    expect(job).toMatchObject({
      status: 'completed',
      result,
      error: null,
      progress: 1,
      revision: 1,
      retries: 0,
    });
    expect(job.startedAt).toBeInstanceOf(Date);
    expect(job.finishedAt).toBeInstanceOf(Date);
    expect(await app.jobs.runs(job.id)).toMatchObject([
      { revision: 1, outcome: 'completed', error: null },
    ]);
  });

  it.each<[string, RegExp]>([
    ['a broken observable', /stream broke/],
    ['an observable that throws', /no subscription/],
    ['a broken async iterable', /iteration broke/],
  ])('%s fails it', async (body, error) => {
    const job = await app.run(AnyBody, { body });
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(error);
    expect(job.result).toBeNull();
    expect(job.progress).toBe(0.5 * Number(!body.includes('that throws')));
  });

  it('an observable keeps what its last report said', async () => {
    const job = await app.run(AnyBody, { body: 'an observable of reports' });
    expect(job).toMatchObject({ completed: 3, total: 4, progressDetails: 'three', progress: 1 });
  });
});

describe.each([
  ['an observable', EndlessStream],
  ['an async iterable', EndlessLoop],
])('%s without end', (_, type) => {
  it('is unsubscribed when its job is canceled', async () => {
    const { id } = await app.jobs.enqueue(type);
    await until(async () => (await app.jobs.get(id)).progress === 0.5, 'the first emission');
    await app.jobs.cancel(id);
    expect((await waitForEnd(app.jobs, id)).status).toBe('canceled');
    await until(() => torn.includes(id), 'the teardown');
  });

  it('is unsubscribed when its job is suspended, which counts as stopped', async () => {
    const { id } = await app.jobs.enqueue(type);
    await until(async () => (await app.jobs.get(id)).progress === 0.5, 'the first emission');
    await app.jobs.suspend(id);
    expect(await waitForStatus(app.jobs, id, 'suspended')).toMatchObject({ progress: 0.5 });
    await until(() => torn.includes(id), 'the teardown');
    expect(await app.jobs.runs(id)).toMatchObject([{ outcome: 'suspended' }]);
  });
});

describe('a result that is no JSON', () => {
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;

  @JobType({ name: 'odd' })
  class Odd implements JobHandler {
    execute(ctx: JobContext<{ n: number }>): unknown {
      return [1n, cyclic, () => 1, Symbol('x'), Number.NaN, '\0', '\ud800'][ctx.params.n];
    }
  }

  it.each([0, 1, 2, 3, 4, 5, 6])('fails the run and says why (%d)', async (n) => {
    const other = await bootJobs({ types: [Odd] });
    const job = await other.run(Odd, { n });
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(/result/i);
    expect(job.result).toBeNull();
  });
});
