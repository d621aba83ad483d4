import { Injectable } from '@nestjs/common';
import { filter, of, takeWhile } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import {
  InjectQueueWorker,
  JobType,
  QueueWorker,
  type JobContext,
  type JobEvent,
  type JobHandler,
  type JobProgress,
  type JobProgressEvent,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd } from '../support/waiting.js';

let body: (ctx: JobContext) => unknown = () => undefined;
const gate = handlerGate();

@JobType({ name: 'reports' })
class Reports implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx);
  }
}

@JobType({ name: 'part' })
class Part implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    await gate.hold(ctx);
    ctx.progress({ completed: 3, total: 4, message: 'three quarters' });
    await gate.hold(ctx);
    ctx.progress(1);
  }
}

@Injectable()
class Panel {
  constructor(@InjectQueueWorker('default') readonly worker: QueueWorker) {}
}

const types = [Reports];

afterEach(() => {
  body = () => undefined;
});

function thrown(work: () => void): unknown {
  try {
    work();
    return 'nothing thrown';
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

const WRONG: readonly (readonly [string, unknown])[] = [
  ['below 0', -0.01],
  ['above 1', 1.01],
  ['percent', 50],
  ['not a number', Number.NaN],
  ['infinite', Infinity],
  ['a text', '0.5'],
  ['null', null],
  ['more completed than total', { completed: 5, total: 4 }],
  ['a negative count', { completed: -1, total: 4 }],
  ['a fraction above 1 in a report', { progress: 1.5 }],
  ['a list', []],
  ['an object that says nothing', {}],
  ['an object of something else', { foo: 1 }],
  ['a misspelt count', { complete: 5, total: 9 }],
  ['a message that is no text', { progress: 0.9, message: 42 }],
];

describe('ctx.progress', () => {
  it('stores the last value, with its message and counts', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      for (let n = 1; n <= 500; n += 1) {
        ctx.progress({ completed: n, total: 1000, message: `item ${n}` });
      }
      await gate.hold(ctx);
      throw new Error('stop here');
    };
    const { id } = await app.jobs.enqueue(Reports);
    const { release } = await gate.entry(id);
    const job = await until(async () => {
      const now = await app.jobs.get(id);
      return now.completed === 500 && now;
    }, 'the last report');
    expect(job).toMatchObject({
      progress: 0.5,
      completed: 500,
      total: 1000,
      progressDetails: 'item 500',
    });
    release();
    const failed = await waitForEnd(app.jobs, id);
    expect(failed).toMatchObject({
      status: 'failed',
      progress: 0.5,
      completed: 500,
      progressDetails: 'item 500',
    });
    expect(await app.jobs.runs(id)).toMatchObject([{ completed: 500, total: 1000 }]);
  });

  it('stores the last of each of thousands of jobs that end at once', async () => {
    body = (ctx) => {
      ctx.progress({ completed: 1, total: 5, message: 'half' });
      ctx.progress({ completed: 5, total: 5, message: 'all' });
    };
    const app = await bootJobs({ types, options: { queues: { default: 2000 } } });
    const items = Array.from({ length: 1500 }, () => ({ type: Reports }));
    const outcomes = await app.jobs.enqueueMany(items);
    const jobs = await Promise.all(
      outcomes.map((each) => waitForEnd(app.jobs, each.job?.id ?? '')),
    );
    const wrong = jobs.filter((job) => job.completed !== 5 || job.progressDetails !== 'all');
    expect(wrong).toEqual([]);
  });

  it('keeps texts free of what databases refuse, and cuts them between characters', async () => {
    const novel = `${'x'.repeat(999)}😀 and more`;
    body = (ctx) => {
      ctx.progress(0.5, 'a\0b\ud800c');
      ctx.progress(0.6, novel);
    };
    const app = await bootJobs({ types });
    const { progressDetails } = await app.run(Reports);
    expect(progressDetails).not.toMatch(/\0|\ufffd|[\ud800-\udfff]/u);
    expect(progressDetails?.startsWith('xxx')).toBe(true);
    body = (ctx) => ctx.progress(0.5, 'a\0b\ud800c');
    expect((await app.run(Reports)).progressDetails).toMatch(/^a.b.c$/u);
  });

  it('refuses counts that do not fit what was reported before, and keeps that', async () => {
    const codes: unknown[] = [];
    body = (ctx) => {
      ctx.progress({ completed: 2, total: 10 });
      codes.push(thrown(() => ctx.progress({ completed: 20 })));
      codes.push(thrown(() => ctx.progress({ total: 1 })));
    };
    const app = await bootJobs({ types });
    expect(await app.run(Reports)).toMatchObject({ completed: 2, total: 10 });
    expect(codes).toEqual(['invalid_progress', 'invalid_progress']);
  });

  it('stores the last of two quick reports although the run fails right after', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.progress(0.25, 'early');
      ctx.progress(0.75, 'late');
      throw new Error('stop');
    };
    expect(await app.run(Reports)).toMatchObject({ progress: 0.75, progressDetails: 'late' });
  });

  it('is throttled: a hundred thousand reports are a few writes', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      for (let n = 0; n <= 100_000; n += 1) {
        ctx.progress(n / 100_000);
      }
    };
    const job = await app.run(Reports);
    expect(job).toMatchObject({ status: 'completed', progress: 1 });
  });

  it('takes a fraction with a message, and a report with both', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.progress(0.25, 'a quarter');
      throw new Error('stop');
    };
    expect(await app.run(Reports)).toMatchObject({ progress: 0.25, progressDetails: 'a quarter' });
    body = (ctx) => {
      ctx.progress({ progress: 0.9, completed: 1, total: 4, message: 'own fraction' });
      throw new Error('stop');
    };
    expect(await app.run(Reports)).toMatchObject({
      progress: 0.9,
      completed: 1,
      total: 4,
      progressDetails: 'own fraction',
    });
  });

  it.each(WRONG)('refuses what is %s and keeps the value', async (_, value) => {
    const app = await bootJobs({ types });
    let code: unknown;
    body = (ctx) => {
      ctx.progress(0.5, 'good');
      code = thrown(() => ctx.progress(value as number));
      throw new Error('stop');
    };
    const job = await app.run(Reports);
    expect(code).toBe('invalid_progress');
    expect(job).toMatchObject({ progress: 0.5, progressDetails: 'good' });
  });

  it('names the key that it does not know, and those that it knows', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => ctx.progress({ complete: 5, total: 9 } as JobProgress);
    const job = await app.run(Reports);
    expect(job).toMatchObject({ status: 'failed', total: null });
    expect(job.error).toContain('unknown key, "complete"');
    expect(job.error).toContain('{ progress, completed, total, message }');
  });

  it('takes a message alone, and counts that are not known yet', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.progress(0.5);
      ctx.progress({ message: 'half' });
      const total: number | undefined = undefined;
      ctx.progress({ completed: 7, total } as JobProgress);
      throw new Error('stop');
    };
    expect(await app.run(Reports)).toMatchObject({
      progress: 0.5,
      progressDetails: 'half',
      completed: 7,
      total: null,
    });
  });

  it('is 1 for what completed, and 0 again for a new run', async () => {
    const app = await bootJobs({ types });
    const starts: number[] = [];
    body = (ctx) => {
      starts.push(ctx.job.progress);
      ctx.progress(0.7);
      if (ctx.attempt === 1) {
        throw new Error('again');
      }
    };
    const job = await app.run(Reports, undefined, { maxRetries: 1, retryDelay: 0 });
    expect(job).toMatchObject({ status: 'completed', progress: 1 });
    expect(starts).toEqual([0, 0]);
  });

  it('says when the end is expected', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      const started = Date.now();
      await until(() => Date.now() > started + 100);
      ctx.progress(0.5);
      await gate.hold(ctx);
    };
    const { id } = await app.jobs.enqueue(Reports);
    await gate.entry(id);
    const job = await until(async () => {
      const now = await app.jobs.get(id);
      return now.eta !== null && now;
    }, 'an estimate');
    const start = (job.startedAt as Date).getTime();
    const eta = (job.eta as Date).getTime();
    // Half took about 100 ms, so the whole takes about 200, on a machine that is not too busy.
    expect(eta).toBeGreaterThan(start + 150);
    expect(eta).toBeLessThan(start + 3000);
  });
});

describe('an emission', () => {
  it.each(WRONG)('that is %s fails the run with invalid_progress', async (_, value) => {
    const app = await bootJobs({ types });
    body = () => of(0.5, value as number, 0.9);
    const job = await app.run(Reports);
    expect(job).toMatchObject({ status: 'failed', progress: 0.5 });
    expect(job.error).toMatch(/progress/i);
  });

  it('of an async iterable that is wrong ends the iteration', async () => {
    const app = await bootJobs({ types });
    let closed = false;
    body = async function* (): AsyncGenerator<number> {
      try {
        yield 0.5;
        yield 7;
        yield 0.6;
      } finally {
        closed = true;
      }
    };
    expect(await app.run(Reports)).toMatchObject({ status: 'failed', progress: 0.5 });
    expect(closed).toBe(true);
  });
});

describe('a handler that passes on what is told of another job', () => {
  const relays: readonly (readonly [string, (app: BootedJobs, id: string) => unknown])[] = [
    ['watch', (app, id) => app.jobs.watch(id)],
    [
      'progress$',
      (app, id) =>
        app.get(Panel).worker.progress$.pipe(
          filter((event) => event.jobId === id),
          takeWhile((event) => event.progress !== 1, true),
        ),
    ],
  ];

  it.each(relays)('by %s has its progress', async (_, relay) => {
    const app = await bootJobs({ types: [Reports, Part], providers: [Panel] });
    const part = await app.jobs.enqueue(Part);
    const reported = await gate.entry(part.id);
    let isFollowed = false;
    body = () => {
      const stream = relay(app, part.id);
      isFollowed = true;
      return stream;
    };
    const { id } = await app.jobs.enqueue(Reports);
    await until(() => isFollowed, 'the follower');
    reported.release();
    const last = await gate.entry(part.id, 2);
    await until(async () => (await app.jobs.get(id)).progress === 0.75, 'the progress of the part');
    last.release();
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', error: null });
  });
});

describe('progress$ and events$ of a queue worker', () => {
  it('tell every report and every change of the jobs that run here', async () => {
    const app = await bootJobs({ types, providers: [Panel] });
    const { worker } = app.get(Panel);
    const reports: JobProgressEvent[] = [];
    const events: JobEvent[] = [];
    const subscriptions = [
      worker.progress$.subscribe((event) => reports.push(event)),
      worker.events$.subscribe((event) => events.push(event)),
    ];
    body = () =>
      of<JobProgress[]>({ completed: 1, total: 4, message: 'first' }, { completed: 2, total: 4 });
    const { id } = await app.jobs.enqueue(Reports);
    await waitForEnd(app.jobs, id);
    await until(() => events.some((event) => event.status === 'completed'), 'the last event');

    expect(
      reports.map((event) => [
        event.jobId,
        event.type,
        event.queue,
        event.progress,
        event.completed,
      ]),
    ).toEqual([
      [id, 'default:reports', 'default', 0.25, 1],
      [id, 'default:reports', 'default', 0.5, 2],
    ]);
    expect(reports[0]).toMatchObject({ message: 'first', total: 4 });
    expect(reports[0]?.runId).toMatch(/^[0-9a-f-]{36}$/);
    expect(reports[0]?.at).toBeInstanceOf(Date);

    const own = events.filter((event) => event.jobId === id && event.type === 'status');
    expect(own.map((event) => event.status)).toEqual(
      expect.arrayContaining(['running', 'completed']) as unknown as string[],
    );
    const sequences = own.map((event) => event.sequence);
    expect([...sequences].sort((a, b) => a - b)).toEqual(sequences);
    for (const subscription of subscriptions) {
      subscription.unsubscribe();
    }
  });

  it('complete when the application closes', async () => {
    const app = await bootJobs({ types, providers: [Panel] });
    const { worker } = app.get(Panel);
    const ended: string[] = [];
    worker.progress$.subscribe({ complete: () => ended.push('progress$') });
    worker.events$.subscribe({ complete: () => ended.push('events$') });
    worker.running$.subscribe({ complete: () => ended.push('running$') });
    await app.close();
    expect(ended.sort()).toEqual(['events$', 'progress$', 'running$']);
  });
});
