import { describe, expect, it, vi } from 'vitest';
import {
  getQueueWorkerToken,
  JobType,
  SchedulesService,
  type JobContext,
  type JobHandler,
  type QueueWorker,
} from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import { EventScripts } from '../../lib/store/typeorm/event.scripts.js';
import { bootJobs, type Boot, type BootedJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { until, waitForEnd } from '../support/waiting.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const gate = handlerGate();

@JobType({ name: 'echoes' })
class Echoes implements JobHandler<{ n?: number }> {
  execute(ctx: JobContext<{ n?: number }>): object {
    return { n: ctx.params.n };
  }
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

function boot(more: Boot = {}): Promise<BootedJobs> {
  return bootJobs({
    types: [Echoes, Held],
    options: { webhooks: { ...LOOPBACK, secret: SECRET, retry: ['1s'] } },
    ...more,
  });
}

/** What was told of a job, in the order in which it came. */
function toldOf(receiver: Receiver, id: string): readonly string[] {
  return receiver.of(id).map(({ event }) => event.type.replace('job.', ''));
}

describe('the end of a job that somebody hears of', () => {
  it('is stored together with those of others, and told of each with its own result', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    await app.webhooks.create({ url: receiver.url });
    const completed = vi.spyOn(EventScripts.prototype, 'completed');
    const items = Array.from({ length: 200 }, (_, n) => ({ type: Echoes, params: { n } }));
    const created = await app.jobs.enqueueMany(items);
    for (const [n, { job }] of created.entries()) {
      const { event } = await receiver.told(job?.id ?? '', 'job.completed');
      expect(event.data).toMatchObject({ sequence: 3, from: 'running', revision: 1 });
      expect(event.data.job).toMatchObject({ status: 'completed', progress: 1, result: { n } });
      expect(event.data.job['finished_at']).toBeTypeOf('number');
      expect(toldOf(receiver, job?.id ?? '')).toEqual(['waiting', 'running', 'completed']);
    }
    const batches = completed.mock.calls.map(([changed]) => changed.length);
    expect(batches.reduce((sum, each) => sum + each, 0)).toBe(200);
    expect(batches.length).toBeLessThan(100);
    completed.mockRestore();
  });

  it('is a cancel where one came first, and keeps the result', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    const { id } = await app.jobs.enqueue(Held, {}, { statusHook: receiver.url });
    const { release } = await gate.entry(id);
    // As another process would: nobody tells this one.
    const { store } = app.get<Engine>(JOBS_ENGINE);
    await store.jobs.change(id, ({ sequence }) => ({
      set: { status: 'canceling', sequence: sequence + 1 },
    }));
    release('kept');
    const job = await waitForEnd(app.jobs, id);
    expect(job).toMatchObject({ status: 'canceled', result: 'kept' });
    await receiver.told(id, 'job.canceled');
    expect(toldOf(receiver, id)).toEqual(['waiting', 'running', 'canceling', 'canceled']);
  });

  it('lets those go on that wait for it', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    await app.webhooks.create({ url: receiver.url });
    const first = await app.jobs.enqueue(Held);
    const second = await app.jobs.enqueue(Echoes, { n: 2 }, { dependsOn: [first.id] });
    (await gate.entry(first.id)).release();
    expect(await waitForEnd(app.jobs, second.id)).toMatchObject({ result: { n: 2 } });
    await receiver.told(second.id, 'job.completed');
    expect(toldOf(receiver, first.id)).toEqual(['waiting', 'running', 'completed']);
    expect(toldOf(receiver, second.id)).toEqual(['waiting', 'running', 'completed']);
  });

  it('is told where it expires and was enqueued before anybody listened', async () => {
    const receiver = await Receiver.open();
    const app = await boot({
      options: { webhooks: { ...LOOPBACK, secret: SECRET }, lease: { sweep: '200ms' } },
    });
    const expiresAt = new Date(Date.now() + 3000);
    const { id } = await app.jobs.enqueue(Echoes, {}, { delay: '1h', expiresAt });
    await app.webhooks.create({ url: receiver.url });
    const { event } = await receiver.told(id, 'job.skipped');
    expect(event.data).toMatchObject({ sequence: 2, from: 'waiting', message: 'expired' });
    expect(event.data.job).toMatchObject({ status: 'skipped', revision: 0 });
    expect(toldOf(receiver, id)).toEqual(['skipped']);
    expect(await app.jobs.get(id)).toMatchObject({ status: 'skipped', details: 'expired' });
  });

  it('reads and writes no row beside the job where only an endpoint hears of it', async () => {
    const receiver = await Receiver.open();
    const app = await boot();
    await app.webhooks.create({ url: receiver.url });
    const { id } = await app.run(Echoes);
    await receiver.told(id, 'job.completed');
    expect(await app.sql('SELECT * FROM job_extras')).toEqual([]);
  });
});

describe('the end of a job whose commit nobody was told of', () => {
  /** As a store does that has lost the answer: it does the same again, and finds it done. */
  function losesAnswers(app: BootedJobs, method: 'completeHeard' | 'settle'): void {
    const { jobs } = app.get<Engine>(JOBS_ENGINE).store;
    const { completeHeard, settle } = jobs;
    if (method === 'completeHeard') {
      vi.spyOn(jobs, method).mockImplementation(async (completion) => {
        await completeHeard(completion);
        return completeHeard(completion);
      });
    } else {
      vi.spyOn(jobs, method).mockImplementation(async (id, decide) => {
        await settle(id, decide);
        return settle(id, decide);
      });
    }
  }

  it.each([
    ['that somebody hears of', 'completeHeard'],
    ['of a schedule', 'settle'],
  ] as const)('%s is known as its own, and told like any other, once', async (what, method) => {
    const receiver = await Receiver.open();
    const app = await boot();
    losesAnswers(app, method);
    await app.webhooks.create({ url: receiver.url });
    const events: string[] = [];
    const watching = app
      .get<QueueWorker>(getQueueWorkerToken('default'))
      .events$.subscribe(({ type, status }) => {
        if (type === 'status' && status === 'completed') events.push(status);
      });
    closeLater(() => watching.unsubscribe(), 'test');
    const schedules = app.get(SchedulesService);
    await schedules.upsert({ name: 's', type: Echoes, every: '1h', params: { n: 7 } });
    const { id } =
      what === 'of a schedule'
        ? await schedules.runNow('s')
        : await app.jobs.enqueue(Echoes, { n: 7 });
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', result: { n: 7 } });
    await receiver.told(id, 'job.completed');
    expect(toldOf(receiver, id)).toEqual(['waiting', 'running', 'completed']);
    await until(() => events.length > 0, 'the event');
    expect(events).toEqual(['completed']);
    expect(app.log.texts('warn').filter((text) => text.includes('too late'))).toEqual([]);
  });
});

it('a job shows its status hook also when that is told nothing any more', async () => {
  const receiver = await Receiver.open(() => 410);
  const app = await boot();
  const { id } = await app.jobs.enqueue(Held, {}, { statusHook: receiver.url });
  const { ctx, release } = await gate.entry(id);
  await until(() => app.log.texts().some((text) => text.includes('410')), 'the warning');
  expect((await app.jobs.get(id)).statusHook).toBe(receiver.url);
  await ctx.checkIn('half way');
  release();
  expect((await waitForEnd(app.jobs, id)).statusHook).toBe(receiver.url);
  expect(receiver.of(id)).toHaveLength(1);
});
