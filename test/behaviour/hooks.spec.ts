import { IsInt } from 'class-validator';
import { afterEach, describe, expect, it } from 'vitest';
import {
  JobType,
  type InitializingJob,
  type Job,
  type JobContext,
  type JobHandler,
  type OnJobInit,
  type OnJobResume,
  type OnJobStateUpdate,
  type OnJobSuspend,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

class HookedParams {
  @IsInt()
  n = 1;
}

type Hook = 'init' | 'suspend' | 'resume' | 'update';
const throwing = new Set<Hook>();
let calls: string[] = [];
let updates: Job[] = [];
let onInit: ((job: InitializingJob<HookedParams>) => void) | undefined;
const gate = handlerGate<HookedParams>();

function called(hook: Hook, job: Job<HookedParams>): void {
  calls.push(`${hook}:${job.status}:${job.params instanceof HookedParams}`);
  if (throwing.has(hook)) {
    throw new Error(`${hook} says no`);
  }
}

@JobType({ name: 'hooked', params: HookedParams, suspendable: true })
class Hooked
  implements
    JobHandler<HookedParams>,
    OnJobInit<HookedParams>,
    OnJobSuspend<HookedParams>,
    OnJobResume<HookedParams>
{
  async onJobInit(job: InitializingJob<HookedParams>): Promise<void> {
    await Promise.resolve();
    called('init', job);
    onInit?.(job);
  }
  onJobSuspend(job: Job<HookedParams>): void {
    called('suspend', job);
  }
  onJobResume(job: Job<HookedParams>): void {
    called('resume', job);
  }
  execute(ctx: JobContext<HookedParams>): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'watched', params: HookedParams })
class Watched implements JobHandler<HookedParams>, OnJobStateUpdate<HookedParams> {
  async execute(ctx: JobContext<HookedParams>): Promise<string> {
    ctx.progress(0.5, 'half');
    await ctx.setResult('partial');
    return 'whole';
  }
  onJobStateUpdate(job: Job<HookedParams>): void {
    updates.push(job);
    called('update', job);
  }
}

@JobType({ name: 'rigid' })
class Rigid implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx as JobContext<HookedParams>);
  }
}

const types = [Hooked, Watched, Rigid];

afterEach(() => {
  throwing.clear();
  calls = [];
  updates = [];
  onInit = undefined;
});

describe('onJobInit', () => {
  it('sees the job initializing, with its params as an instance, before it is stored', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    let storedThen = -1;
    onInit = (job) => {
      storedThen = 0;
      expect(job.id).toMatch(/^[0-9a-f-]{36}$/);
      expect(job.revision).toBe(0);
    };
    await app.jobs.enqueue(Hooked);
    expect(calls).toEqual(['init:initializing:true']);
    expect(storedThen).toBe(0);
  });

  it('that throws refuses the job: init_failed, nothing stored', async () => {
    const app = await bootJobs({ types });
    throwing.add('init');
    const error = await refusal(app.jobs.enqueue(Hooked));
    expect(error).toMatchObject({ code: 'init_failed', status: 400 });
    expect(error.message).toMatch(/init says no/);
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('that throws refuses a whole enqueueMany', async () => {
    const app = await bootJobs({ types });
    onInit = (job) => {
      if (job.params.n === 2) {
        throw new Error('not two');
      }
    };
    const error = await refusal(
      app.jobs.enqueueMany([1, 2, 3].map((n) => ({ type: Hooked, params: { n } }))),
    );
    expect(error.code).toBe('init_failed');
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('sets the retry policy and the timeout of this job alone', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    onInit = (job) => job.setRetryPolicy({ maxRetries: 9, retryDelay: '2s', timeout: '3s' });
    const special = await app.jobs.enqueue(Hooked);
    onInit = undefined;
    const plain = await app.jobs.enqueue(Hooked);
    expect(await app.jobs.get(special.id)).toMatchObject({
      maxRetries: 9,
      retryDelay: 2000,
      timeout: 3000,
    });
    expect(plain).toMatchObject({ maxRetries: 0, retryDelay: 10_000, timeout: 0 });
  });

  it('may not set nonsense', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    onInit = (job) => job.setRetryPolicy({ maxRetries: -1 });
    expect(await codeOf(app.jobs.enqueue(Hooked))).toMatch(/init_failed|invalid_request/);
    expect((await app.jobs.list()).total).toBe(0);
  });
});

describe('onJobSuspend', () => {
  it('runs inside the suspend of a running job', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Hooked);
    await gate.entry(id);
    await app.jobs.suspend(id);
    expect(calls).toContain('suspend:running:true');
    await waitForStatus(app.jobs, id, 'suspended');
  });

  it('that throws refuses the suspend and changes nothing', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Hooked);
    const { ctx } = await gate.entry(id);
    const before = await app.jobs.get(id);
    throwing.add('suspend');
    const error = await refusal(app.jobs.suspend(id));
    expect(error).toMatchObject({ code: 'suspend_failed', status: 409 });
    expect(error.message).toMatch(/suspend says no/);
    expect(await app.jobs.get(id)).toEqual(before);
    expect(ctx.signal.aborted).toBe(false);
  });

  it('that throws refuses the suspend of a waiting job as well', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const { id } = await app.jobs.enqueue(Hooked);
    throwing.add('suspend');
    expect(await codeOf(app.jobs.suspend(id))).toBe('suspend_failed');
    expect((await app.jobs.get(id)).status).toBe('waiting');
  });

  it('is not asked about a type that is not suspendable', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Rigid);
    await gate.entry(id);
    expect(await codeOf(app.jobs.suspend(id))).toBe('not_suspendable');
    expect((await app.jobs.get(id)).status).toBe('running');
  });
});

describe('onJobResume', () => {
  async function suspendedJob(app: Awaited<ReturnType<typeof bootJobs>>): Promise<string> {
    const { id } = await app.jobs.enqueue(Hooked, undefined, { delay: '1h' });
    await app.jobs.suspend(id, { reason: 'for a while' });
    calls = [];
    return id;
  }

  it('runs before onJobInit, which sees the job as initializing; then the job is in line again', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const id = await suspendedJob(app);
    expect((await app.jobs.resume(id)).status).toBe('waiting');
    expect(calls).toEqual(['resume:resuming:true', 'init:initializing:true']);
  });

  it.each<Hook>(['resume', 'init'])(
    'whose %s throws fails the operation and the job',
    async (hook) => {
      const app = await bootJobs({ types, options: { role: 'producer' } });
      const id = await suspendedJob(app);
      throwing.add(hook);
      const error = await refusal(app.jobs.resume(id));
      expect(error).toMatchObject({ code: 'resume_failed', status: 409 });
      expect(error.message).toMatch(`${hook} says no`);
      const job = await app.jobs.get(id);
      expect(job.status).toBe('failed');
      expect(job.error).toMatch(`${hook} says no`);
      expect(job.details).toBe(`${hook} says no`);
      expect(job.finishedAt).toBeInstanceOf(Date);
    },
  );

  it('needs the type in this process', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const id = await suspendedJob(app);
    const elsewhere = await bootJobs({
      types: [Rigid],
      database: app.database,
      options: { role: 'producer' },
    });
    expect(await codeOf(elsewhere.jobs.resume(id))).toBe('type_not_here');
    const waiting = await app.jobs.enqueue(Hooked, undefined, { delay: '1h' });
    expect(await codeOf(elsewhere.jobs.suspend(waiting.id))).toBe('type_not_here');
    expect(await codeOf(elsewhere.jobs.enqueue('default:hooked'))).toBe('unknown_type');
    // The other operations run no hooks, so they work anywhere.
    expect((await elsewhere.jobs.update(waiting.id, { priority: 3 })).priority).toBe(3);
    expect((await elsewhere.jobs.cancel(waiting.id)).status).toBe('canceled');
    expect((await elsewhere.jobs.retry(waiting.id)).status).toBe('waiting');
    expect((await elsewhere.jobs.skip(waiting.id)).status).toBe('skipped');
  });
});

describe('onJobStateUpdate', () => {
  it('sees each stored status and the result, in order', async () => {
    const app = await bootJobs({ types });
    const { id } = await app.jobs.enqueue(Watched);
    await waitForEnd(app.jobs, id);
    await until(() => updates.some((job) => job.status === 'completed'), 'the last update');
    const statuses = updates.map((job) => job.status);
    expect([...new Set(statuses)]).toEqual(['waiting', 'running', 'completed']);
    expect(updates.at(-1)).toMatchObject({ id, status: 'completed', progress: 1, result: 'whole' });
    expect(updates.some((job) => job.status === 'running' && job.result === 'partial')).toBe(true);
    expect(updates.every((job) => job.params instanceof HookedParams)).toBe(true);
  });

  it('that throws is logged and harms nothing', async () => {
    const app = await bootJobs({ types });
    throwing.add('update');
    const job = await app.run(Watched);
    expect(job).toMatchObject({ status: 'completed', result: 'whole', error: null });
    await until(
      () => app.log.texts().some((text) => text.includes('update says no')),
      'the log line',
    );
  });
});
