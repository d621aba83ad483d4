import { IsInt } from 'class-validator';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { filter, map, toArray, firstValueFrom } from 'rxjs';
import {
  JobType,
  RetryLater,
  UnrecoverableJobError,
  type Job,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

/** What the next attempts do; the last one is repeated. */
let script: ((ctx: JobContext) => unknown)[] = [];
let asked: unknown[] = [];
let paramsAsked: unknown[] = [];
let answer: boolean | Promise<boolean> | (() => never) = true;

function play(ctx: JobContext): unknown {
  return script[Math.min(ctx.attempt, script.length) - 1]?.(ctx);
}

const fail = (): never => {
  throw new Error('broken');
};

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
}

@JobType({ name: 'stubborn', maxRetries: 3, retryDelay: 0 })
class Stubborn implements JobHandler {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
}

@JobType({ name: 'linear', maxRetries: 9, retryDelay: '1h', backoff: 'linear' })
class Linear implements JobHandler {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
}

@JobType({
  name: 'exponential',
  maxRetries: 9,
  retryDelay: '1h',
  backoff: { type: 'exponential', factor: 3, maxDelay: '5h' },
})
class Exponential implements JobHandler {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
}

@JobType({
  name: 'jittery',
  maxRetries: 9,
  retryDelay: '1h',
  backoff: { type: 'fixed', jitter: 0.5 },
})
class Jittery implements JobHandler {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
}

class JudgedParams {
  @IsInt()
  n = 1;
}

@JobType({ name: 'judged', params: JudgedParams, maxRetries: 5, retryDelay: 0 })
class Judged implements JobHandler<JudgedParams> {
  execute(ctx: JobContext): unknown {
    return play(ctx);
  }
  shouldRetry(error: unknown, job: Job): boolean | Promise<boolean> {
    asked.push(error, job.id);
    paramsAsked.push(job.params);
    return typeof answer === 'function' ? answer() : answer;
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({
    types: [Plain, Stubborn, Linear, Exponential, Jittery, Judged],
    lifetime: 'file',
  });
});

afterEach(() => {
  script = [];
  asked = [];
  paramsAsked = [];
  answer = true;
});

async function outcomes(id: string): Promise<string[]> {
  return (await app.jobs.runs(id)).map((run) => run.outcome);
}

describe('a failing job', () => {
  it('without retries fails at once: 0 means 0', async () => {
    script = [fail];
    expect(await app.run(Plain)).toMatchObject({
      status: 'failed',
      retries: 0,
      revision: 1,
      maxRetries: 0,
    });
    expect(await app.run(Stubborn, undefined, { maxRetries: 0 })).toMatchObject({
      status: 'failed',
      retries: 0,
      revision: 1,
    });
  });

  it('is tried as often as its type says, then fails with the last error', async () => {
    script = [
      fail,
      () => {
        throw new Error('broken at last');
      },
    ];
    const job = await app.run(Stubborn);
    expect(job).toMatchObject({ status: 'failed', retries: 3, revision: 4, maxRetries: 3 });
    expect(job.error).toMatch(/broken at last/);
    expect(await outcomes(job.id)).toEqual(['failed', 'failed', 'failed', 'failed']);
    const runs = await app.jobs.runs(job.id);
    expect(runs.map((run) => run.revision)).toEqual([1, 2, 3, 4]);
    expect(runs[0]?.error).toMatch(/broken/);
    expect(runs.every((run) => run.startedAt instanceof Date && run.endedAt instanceof Date)).toBe(
      true,
    );
    expect(new Set(runs.map((run) => run.id)).size).toBe(4);
  });

  it('has the budget of the job over that of the type', async () => {
    script = [fail];
    expect(await app.run(Plain, undefined, { maxRetries: 2, retryDelay: 0 })).toMatchObject({
      status: 'failed',
      retries: 2,
      revision: 3,
    });
  });

  it('that succeeds in the end is completed, without an error', async () => {
    script = [fail, fail, () => 'fine'];
    const job = await app.run(Stubborn);
    expect(job).toMatchObject({
      status: 'completed',
      result: 'fine',
      error: null,
      retries: 2,
      revision: 3,
    });
    expect(await outcomes(job.id)).toEqual(['failed', 'failed', 'completed']);
  });

  it('shows no final status between two attempts', async () => {
    script = [fail, fail, fail, () => 'fine'];
    await app.queues.pause('default');
    const { id } = await app.jobs.enqueue(Stubborn);
    const seen = firstValueFrom(
      app.jobs.watch(id).pipe(
        filter((event) => event.type === 'status'),
        map((event) => event.status),
        toArray(),
      ),
    );
    await app.queues.resume('default');
    const statuses = await seen;
    expect(statuses.at(-1)).toBe('completed');
    expect(statuses.filter((status) => !['waiting', 'running'].includes(status))).toEqual([
      'completed',
    ]);
  });

  it('waits with the reason "retry" and its error in sight', async () => {
    script = [fail];
    const { id, scheduledAt } = await app.jobs.enqueue(Linear);
    const job = await waitForStatus(app.jobs, id, 'waiting').then(() =>
      until(async () => {
        const now = await app.jobs.get(id);
        return now.retries === 1 && now;
      }, 'the first failure'),
    );
    expect(job).toMatchObject({ status: 'waiting', waitingFor: 'retry', finishedAt: null });
    expect(job.error).toMatch(/broken/);
    expect(job.scheduledAt).toEqual(scheduledAt);
    expect(job.runAt.getTime()).toBeGreaterThan(scheduledAt.getTime() + 3_500_000);
    await app.jobs.cancel(id);
  });
});

describe('the delay between attempts', () => {
  /** Fails it again and again, each time brought forward by hand; gives the delays in hours. */
  async function delays(type: typeof Linear, times: number): Promise<number[]> {
    script = [fail];
    const { id } = await app.jobs.enqueue(type);
    const hours: number[] = [];
    for (let retry = 1; retry <= times; retry += 1) {
      const job = await until(async () => {
        const now = await app.jobs.get(id);
        return now.retries === retry && now.status === 'waiting' && now;
      }, `failure ${retry}`);
      hours.push((job.runAt.getTime() - job.updatedAt.getTime()) / 3_600_000);
      await app.jobs.update(id, { runAt: new Date() });
    }
    await waitForStatus(app.jobs, id, 'waiting');
    await app.jobs.cancel(id);
    return hours;
  }

  it('grows linearly', async () => {
    expect((await delays(Linear, 3)).map(Math.round)).toEqual([1, 2, 3]);
  });

  it('grows exponentially up to its cap', async () => {
    expect((await delays(Exponential, 4)).map(Math.round)).toEqual([1, 3, 5, 5]);
  });

  it('is cut by chance within its jitter', async () => {
    for (const hours of await delays(Jittery, 4)) {
      expect(hours).toBeGreaterThanOrEqual(0.49);
      expect(hours).toBeLessThanOrEqual(1.01);
    }
  });

  it('is waited for: no hot loop after a failure', async () => {
    script = [fail];
    const job = await app.run(Plain, undefined, { maxRetries: 2, retryDelay: 200 });
    const starts = (await app.jobs.runs(job.id)).map((run) => (run.startedAt as Date).getTime());
    expect(starts).toHaveLength(3);
    expect((starts[1] as number) - (starts[0] as number)).toBeGreaterThanOrEqual(190);
    expect((starts[2] as number) - (starts[1] as number)).toBeGreaterThanOrEqual(190);
  });
});

describe('what a handler may throw to steer', () => {
  it('UnrecoverableJobError fails at once, whatever the budget', async () => {
    script = [
      () => {
        throw new UnrecoverableJobError('never again');
      },
    ];
    const job = await app.run(Stubborn);
    expect(job).toMatchObject({ status: 'failed', retries: 0, revision: 1 });
    expect(job.error).toMatch(/never again/);
  });

  it('RetryLater comes back after its delay and costs no retry', async () => {
    script = [
      () => {
        throw new RetryLater(150);
      },
      () => {
        throw new RetryLater('100ms', 'the other side is busy');
      },
      () => 'fine',
    ];
    const job = await app.run(Plain);
    expect(job).toMatchObject({
      status: 'completed',
      result: 'fine',
      retries: 0,
      revision: 3,
      error: null,
    });
    const runs = await app.jobs.runs(job.id);
    expect(runs.map((run) => run.outcome)).toEqual(['released', 'released', 'completed']);
    const starts = runs.map((run) => (run.startedAt as Date).getTime());
    expect((starts[1] as number) - (starts[0] as number)).toBeGreaterThanOrEqual(140);
  });

  it('RetryLater with nonsense is a failure that says so', async () => {
    script = [
      () => {
        throw new RetryLater('soonish');
      },
    ];
    const job = await app.run(Plain);
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(/soonish/);
  });
});

describe('a later attempt', () => {
  it('sees the error and the result that the earlier one left', async () => {
    script = [
      async (ctx) => {
        await ctx.setResult({ part: 1 });
        fail();
      },
      (ctx) => ({ error: ctx.job.error, result: ctx.job.result, attempt: ctx.attempt }),
    ];
    const { result } = await app.run(Plain, undefined, { maxRetries: 1, retryDelay: 0 });
    expect(result).toMatchObject({
      error: expect.stringMatching(/broke/) as string,
      result: { part: 1 },
      attempt: 2,
    });
  });

  it('sees none after an explicit retry', async () => {
    script = [fail, (ctx) => ({ error: ctx.job.error })];
    const first = await app.run(Plain);
    await app.jobs.retry(first.id);
    expect((await waitForEnd(app.jobs, first.id)).result).toEqual({ error: null });
  });
});

describe('an UnrecoverableJobError of the application, with a name of its own', () => {
  it('is not retried either', async () => {
    class Bad extends UnrecoverableJobError {
      override readonly name = 'Bad';
    }
    script = [
      () => {
        throw new Bad('as it is');
      },
    ];
    const job = await app.run(Plain, undefined, { maxRetries: 2, retryDelay: 0 });
    expect(job).toMatchObject({ status: 'failed', retries: 0, revision: 1 });
    expect(job.error).toMatch(/Bad: as it is/);
  });
});

describe('shouldRetry', () => {
  it('is asked about a failure within a budget that was raised while the job ran', async () => {
    const { id } = await app.jobs.enqueue(Judged, undefined, { maxRetries: 0, delay: '1h' });
    script = [
      async () => {
        await app.jobs.update(id, { maxRetries: 2 });
        fail();
      },
    ];
    answer = false;
    await app.jobs.update(id, { runAt: new Date() });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'failed', retries: 0 });
    expect(asked[1]).toBe(id);
  });

  it('is asked with the error and the job; false means failed', async () => {
    const thrown = { code: 'E_BAD' };
    script = [
      () => {
        throw thrown;
      },
    ];
    answer = false;
    const job = await app.run(Judged);
    expect(job).toMatchObject({ status: 'failed', retries: 0, revision: 1 });
    expect(asked).toEqual([thrown, job.id]);
    expect(paramsAsked).toEqual([new JudgedParams()]);
    expect(paramsAsked[0]).toBeInstanceOf(JudgedParams);
  });

  it('true leaves it to the budget', async () => {
    script = [fail];
    answer = Promise.resolve(true);
    expect(await app.run(Judged, undefined, { maxRetries: 2 })).toMatchObject({
      status: 'failed',
      retries: 2,
    });
    expect(asked.length / 2).toBeLessThanOrEqual(3);
  });

  it('that throws keeps the error that it was asked about', async () => {
    script = [fail];
    answer = () => {
      throw new Error('no opinion');
    };
    const job = await app.run(Judged);
    expect(job).toMatchObject({ status: 'failed', retries: 0 });
    expect(job.error).toMatch(/broke[\s\S]*shouldRetry threw: Error: no opinion/);
  });

  it('that throws does not end the worker; the job fails or follows its budget', async () => {
    script = [fail];
    answer = () => {
      throw new Error('no opinion');
    };
    expect((await app.run(Judged, undefined, { maxRetries: 1 })).status).toBe('failed');
    answer = true;
    script = [() => 'alive'];
    expect((await app.run(Judged)).result).toBe('alive');
  });

  it('is not asked about UnrecoverableJobError and RetryLater', async () => {
    script = [
      () => {
        throw new RetryLater(0);
      },
      () => {
        throw new UnrecoverableJobError('no');
      },
    ];
    await app.run(Judged);
    expect(asked).toEqual([]);
  });
});

describe('an explicit retry', () => {
  it('is a new run of the same job: budget and outcome reset, state and history kept', async () => {
    script = [
      async (ctx) => {
        await ctx.checkpoint({ page: 7 });
        ctx.progress(0.5, 'half');
        fail();
      },
      (ctx) => ({ state: ctx.state, attempt: ctx.attempt, progress: ctx.job.progress }),
    ];
    const failed = await app.run(Plain, { keep: 1 }, { tags: ['t'], meta: { m: 1 } });
    expect(failed).toMatchObject({ status: 'failed', progress: 0.5, revision: 1 });

    const again = await app.jobs.retry(failed.id);
    expect(again).toMatchObject({
      id: failed.id,
      status: 'waiting',
      retries: 0,
      lost: 0,
      progress: 0,
      error: null,
      result: null,
      finishedAt: null,
      cancelRequestedAt: null,
      state: { page: 7 },
      revision: 1,
      params: { keep: 1 },
      tags: ['t'],
      meta: { m: 1 },
    });

    const job = await waitForEnd(app.jobs, failed.id);
    expect(job).toMatchObject({
      status: 'completed',
      revision: 2,
      result: { state: { page: 7 }, attempt: 2, progress: 0 },
    });
    expect(await outcomes(failed.id)).toEqual(['failed', 'completed']);
    expect((await app.jobs.list({ q: failed.id })).total).toBe(1);
  });

  it('gives the full budget again', async () => {
    script = [fail];
    const first = await app.run(Stubborn, undefined, { maxRetries: 1 });
    expect(first).toMatchObject({ retries: 1, revision: 2 });
    await app.jobs.retry(first.id);
    const second = await waitForEnd(app.jobs, first.id);
    expect(second).toMatchObject({ status: 'failed', retries: 1, revision: 4 });
    expect(await outcomes(first.id)).toHaveLength(4);
  });

  it('runs a canceled job', async () => {
    script = [() => 'ran'];
    const { id } = await app.jobs.enqueue(Plain, undefined, { delay: '1h' });
    await app.jobs.cancel(id, { reason: 'mistake' });
    await app.jobs.retry(id);
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'ran',
      revision: 1,
    });
  });
});
