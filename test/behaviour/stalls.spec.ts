import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { refusal } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

const gate = handlerGate();
let asked: unknown[] = [];

@JobType({ name: 'hangs', stallAfter: '150ms', maxRetries: 1, retryDelay: 1 })
class Hangs implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> | string {
    return ctx.attempt === 1 ? gate.hold(ctx) : 'done';
  }
}

@JobType({ name: 'repeats', stallAfter: '150ms' })
class Repeats implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    while (!ctx.signal.aborted) {
      ctx.progress(0.5, 'still here');
      await pause(10);
    }
  }
}

@JobType({ name: 'choosy', stallAfter: '50ms', maxRetries: 5 })
class Choosy implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
  shouldRetry(error: unknown): boolean {
    asked.push(error);
    return false;
  }
}

@JobType({ name: 'slow', stallAfter: '500ms' })
class Slow implements JobHandler {
  async execute(ctx: JobContext): Promise<number> {
    const start = performance.now();
    let beats = 0;
    while (performance.now() - start < 1500) {
      ctx.progress({ completed: (beats += 1), total: 1e6 });
      await pause(5);
    }
    return beats;
  }
}

@JobType({ name: 'unwatched' })
class Unwatched implements JobHandler {
  async execute(): Promise<string> {
    await pause(700);
    return 'done';
  }
}

@JobType({ name: 'locks', stallAfter: '150ms' })
class Locks implements JobHandler<{ on: string }> {
  async execute(ctx: JobContext<{ on: string }>): Promise<unknown> {
    return (await ctx.lockOn(ctx.params.on)).result;
  }
}

const types = [Hangs, Repeats, Choosy, Slow, Unwatched, Locks];

describe('stallAfter', () => {
  it('takes a run that shows no progress from its handler, as a failed attempt', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Hangs);
    const { ctx } = await gate.entry(id);
    const { signal } = ctx;
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'completed', retries: 1, lost: 0, revision: 2 });
    const [run] = await app.jobs.runs(id);
    expect(run).toMatchObject({ outcome: 'interrupted', revision: 1 });
    expect(run?.error).toMatch(/no progress for 150 ms/);
    expect(signal.reason).toMatchObject({ code: 'lease_lost' });
  });

  it('does not take for progress what says the same again', async () => {
    const app = await bootJobs({ types });
    const job = await app.run(Repeats);
    expect(job).toMatchObject({ status: 'failed', progress: 0.5, retries: 0 });
    expect(job.error).toBe('Error: The run showed no progress for 150 ms.');
    expect(await app.jobs.runs(job.id)).toMatchObject([{ outcome: 'interrupted' }]);
  });

  it('asks shouldRetry, like every failure', async () => {
    asked = [];
    const app = await bootJobs({ types });
    expect(await app.run(Choosy)).toMatchObject({ status: 'failed', retries: 0, revision: 1 });
    expect(asked).toMatchObject([{ message: 'The run showed no progress for 50 ms.' }]);
  });

  it('leaves alone who reports progress, whatever the whole takes', async () => {
    const app = await bootJobs({ types });
    expect(await app.run(Slow)).toMatchObject({ status: 'completed', revision: 1 });
  });

  it('concerns only types that set it: a slow step whose worker beats is not taken for dead', async () => {
    const app = await bootJobs({ types, options: { lease: { duration: '1s', sweep: '200ms' } } });
    expect(await app.run(Unwatched)).toMatchObject({ status: 'completed', revision: 1, lost: 0 });
  });

  it('does not count while the job is locked on another one', async () => {
    const app = await bootJobs({ types });
    const other = await app.jobs.enqueue(Unwatched);
    expect(await app.run(Locks, { on: other.id })).toMatchObject({
      status: 'completed',
      result: 'done',
    });
  });

  it('must be a duration', async () => {
    @JobType({ name: 'wrong', stallAfter: 'soon' })
    class Wrong implements JobHandler {
      execute(): void {}
    }
    const refused = await refusal(bootJobs({ types: [Wrong] }));
    expect(refused).toMatchObject({ code: 'invalid_options' });
    expect(refused.message).toMatch(/@JobType of Wrong: stallAfter/);
  });
});
