import { Inject, Injectable } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  CatalogService,
  InjectQueueWorker,
  JobType,
  QueueWorker,
  type JobContext,
  type JobHandler,
  type JobsService,
} from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'narrow', name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

let calls: string[] = [];

@JobType({ group: 'narrow', name: 'quick' })
class Quick implements JobHandler {
  execute(ctx: JobContext): void {
    calls.push(ctx.job.id);
  }
}

@JobType({ group: 'wide', name: 'elsewhere' })
class Elsewhere implements JobHandler {
  execute(): void {}
}

@Injectable()
class Panel {
  constructor(
    @InjectQueueWorker('narrow') readonly narrow: QueueWorker,
    @InjectQueueWorker('wide') readonly wide: QueueWorker,
  ) {}
}

const types = [Held, Quick, Elsewhere];
const options = {
  queues: { narrow: 3, wide: { capacity: 7 } },
  groups: [
    { name: 'narrow', queue: 'narrow' },
    { name: 'wide', queue: 'wide' },
  ],
};

async function enqueueMany(
  jobs: JobsService,
  type: typeof Held | typeof Quick,
  count: number,
): Promise<string[]> {
  const outcomes = await jobs.enqueueMany(Array.from({ length: count }, () => ({ type })));
  return outcomes.map((each) => each.job?.id ?? '');
}

describe('the capacity of a queue', () => {
  it('is how many handlers one process runs at once', async () => {
    const app = await bootJobs({ types, options });
    await enqueueMany(app.jobs, Held, 10);
    await until(() => gate.entries.length === 3, 'three handlers');
    // Whatever else the worker might start, it has had the time by the end of another queue's job.
    expect((await app.run(Elsewhere)).status).toBe('completed');
    expect(gate.entries).toHaveLength(3);
    expect((await app.queues.get('narrow')).running).toBeGreaterThanOrEqual(3);

    gate.entries[1]?.release();
    await until(() => gate.entries.length === 4, 'the fourth handler');
    expect((await app.run(Elsewhere)).status).toBe('completed');
    expect(gate.entries).toHaveLength(4);
  });

  it('is shown, with what waits and runs', async () => {
    const app = await bootJobs({ types, options });
    const ids = await enqueueMany(app.jobs, Held, 4);
    await gate.entry(ids[2] as string);
    const queue = await app.queues.get('narrow');
    expect(queue).toMatchObject({ name: 'narrow', capacity: 3, paused: false });
    expect(queue.waiting + queue.running).toBe(4);
    const names = (await app.queues.list()).map((each) => each.name);
    expect(names.sort()).toEqual([
      'compute',
      'default',
      'download',
      'maintenance',
      'narrow',
      'wide',
    ]);
    expect(await codeOf(app.queues.get('nowhere'))).toBe('not_found');
  });

  it('is that of the built-in queues unless the options say otherwise', async () => {
    const app = await bootJobs({
      types,
      options: { ...options, queues: { ...options.queues, compute: 4 } },
    });
    const capacities = Object.fromEntries(
      (await app.queues.list()).map((each) => [each.name, each.capacity]),
    );
    expect(capacities).toEqual({
      compute: 4,
      maintenance: 5,
      download: 10,
      default: 10,
      narrow: 3,
      wide: 7,
    });
  });
});

describe('a queue that is registered by call', () => {
  it('takes the place of the built-in one, in what is shown and in what runs', async () => {
    @Injectable()
    class Registers {
      constructor(@Inject(CatalogService) readonly catalog: CatalogService) {}
      onModuleInit(): void {
        this.catalog.registerQueue('narrow', 2);
        this.catalog.registerQueue('compute', 7);
      }
    }
    const app = await bootJobs({ types, options, providers: [Registers, Panel] });
    expect((await app.queues.get('compute')).capacity).toBe(7);
    expect((await app.queues.get('narrow')).capacity).toBe(2);
    expect(app.get(Panel).narrow.capacity).toBe(2);
    const ids = await enqueueMany(app.jobs, Held, 3);
    await gate.entry(ids[0] as string);
    await gate.entry(ids[1] as string);
    expect((await app.jobs.list({ status: 'running' })).total).toBe(2);
    gate.open();
    await Promise.all(ids.map((id) => waitForEnd(app.jobs, id)));
  });
});

describe('claiming ahead', () => {
  it('takes at most 500 beyond what runs, and starts them one by one', async () => {
    calls = [];
    const app = await bootJobs({
      types,
      options: { ...options, queues: { ...options.queues, narrow: 1 } },
    });
    // A queue of quick runs is what makes the worker claim ahead.
    await Promise.all(
      (await enqueueMany(app.jobs, Quick, 60)).map((id) => waitForEnd(app.jobs, id)),
    );
    await app.queues.pause('narrow');
    const [held] = await enqueueMany(app.jobs, Held, 1);
    const rest = await enqueueMany(app.jobs, Quick, 900);
    await app.queues.resume('narrow');
    await gate.entry(held as string);
    calls = [];

    const claimed = (await app.jobs.list({ status: 'running', limit: 1 })).total;
    expect(claimed).toBeLessThanOrEqual(501);
    const sample = await app.jobs.list({ status: 'running', type: 'narrow:quick', limit: 1000 });
    expect(sample.jobs.every((job) => job.startedAt === null)).toBe(true);
    expect(calls).toEqual([]);
    expect((await app.queues.get('narrow')).waiting).toBeGreaterThanOrEqual(900 - 500);

    // A buffered job can be canceled, and is never started once it is.
    const buffered = sample.jobs[0]?.id ?? (rest.at(-1) as string);
    await app.jobs.cancel(buffered);
    gate.entries[0]?.release();
    const all = await Promise.all(rest.map((id) => waitForEnd(app.jobs, id)));
    expect(all.filter((job) => job.status === 'canceled').map((job) => job.id)).toEqual([buffered]);
    expect(calls).not.toContain(buffered);
    expect(new Set(calls).size).toBe(calls.length);
    expect(calls).toHaveLength(899);
  });

  it('gives back at shutdown what it has not started, at no cost', async () => {
    calls = [];
    const app = await bootJobs({
      types,
      options: {
        ...options,
        queues: { ...options.queues, narrow: 1 },
        grace: { shutdown: '100ms', signal: '100ms' },
      },
    });
    await Promise.all(
      (await enqueueMany(app.jobs, Quick, 60)).map((id) => waitForEnd(app.jobs, id)),
    );
    await app.queues.pause('narrow');
    const [held] = await enqueueMany(app.jobs, Held, 1);
    const rest = await enqueueMany(app.jobs, Quick, 200);
    await app.queues.resume('narrow');
    await gate.entry(held as string);
    calls = [];
    await app.close();
    expect(calls).toEqual([]);

    const after = await bootJobs({
      types,
      database: app.database,
      options: { ...options, role: 'producer' },
    });
    const { jobs } = await after.jobs.list({
      type: 'narrow:quick',
      status: 'waiting',
      limit: 1000,
    });
    expect(jobs).toHaveLength(rest.length);
    expect(jobs.every((job) => job.retries === 0 && job.lost === 0 && job.startedAt === null)).toBe(
      true,
    );
  });
});

describe('a paused queue', () => {
  it('is claimed from by nobody, survives a restart, and goes on where it was', async () => {
    calls = [];
    const app = await bootJobs({ types, options });
    expect((await app.queues.pause('narrow')).paused).toBe(true);
    const [id] = await enqueueMany(app.jobs, Quick, 1);
    expect((await app.run(Elsewhere)).status).toBe('completed');
    expect(await app.jobs.get(id as string)).toMatchObject({
      status: 'waiting',
      waitingFor: 'paused',
    });
    await app.close();

    const again = await bootJobs({ types, options, database: app.database });
    expect((await again.queues.get('narrow')).paused).toBe(true);
    expect((await again.run(Elsewhere)).status).toBe('completed');
    expect(calls).toEqual([]);
    expect((await again.queues.resume('narrow')).paused).toBe(false);
    expect((await waitForEnd(again.jobs, id as string)).status).toBe('completed');
  });

  it('holds for every process on the database', async () => {
    const one = await bootJobs({ types, options });
    const two = await bootJobs({ types, options, database: one.database });
    await one.queues.pause('narrow');
    const [id] = await enqueueMany(two.jobs, Quick, 1);
    expect((await two.run(Elsewhere)).status).toBe('completed');
    expect((await two.jobs.get(id as string)).status).toBe('waiting');
    await two.queues.resume('narrow');
    await waitForEnd(one.jobs, id as string);
  });

  it('gives back at once, in this process and in others, what is claimed and not started', async () => {
    const narrow = { ...options, queues: { ...options.queues, narrow: 1 } };
    const one = await bootJobs({ types, options: narrow });
    const other = await bootJobs({
      types,
      options: { ...narrow, role: 'producer' },
      database: one.database,
    });
    // A queue of quick runs is what makes the worker claim ahead.
    await Promise.all(
      (await enqueueMany(one.jobs, Quick, 60)).map((id) => waitForEnd(one.jobs, id)),
    );
    for (const app of [one, other]) {
      await one.queues.pause('narrow');
      const [held] = await enqueueMany(one.jobs, Held, 1);
      const rest = await enqueueMany(one.jobs, Quick, 50);
      await one.queues.resume('narrow');
      const { release } = await gate.entry(held as string);
      const claimed = async (): Promise<number> =>
        (await one.jobs.list({ status: 'running', type: 'narrow:quick', limit: 1 })).total;
      expect(await claimed()).toBe(50);
      calls = [];
      await app.queues.pause('narrow');
      await until(async () => (await claimed()) === 0, 'the claims to be given back', 2000);
      expect((await one.jobs.get(rest[0] as string)).waitingFor).toBe('paused');
      release();
      await waitForEnd(one.jobs, held as string);
      expect(calls).toEqual([]);
      await app.queues.resume('narrow');
      const ended = await Promise.all(rest.map((id) => waitForEnd(one.jobs, id)));
      expect(ended.every((job) => job.status === 'completed' && job.revision === 1)).toBe(true);
    }
  });

  it('is what a new job waits for, also in a process that only enqueues', async () => {
    const one = await bootJobs({ types, options });
    const producer = await bootJobs({
      types,
      options: { ...options, role: 'producer' },
      database: one.database,
    });
    await one.queues.pause('narrow');
    await until(
      async () => (await producer.jobs.enqueue(Quick)).waitingFor === 'paused',
      'the producer to hear of it',
      2000,
    );
    await one.queues.resume('narrow');
    await until(
      async () => (await producer.jobs.enqueue(Quick)).waitingFor !== 'paused',
      'the producer to hear of it',
      2000,
    );
  });

  it('lets go on what runs', async () => {
    const app = await bootJobs({ types, options });
    const [id] = await enqueueMany(app.jobs, Held, 1);
    const { release } = await gate.entry(id as string);
    await app.queues.pause('narrow');
    release('done');
    expect((await waitForEnd(app.jobs, id as string)).result).toBe('done');
  });

  it('can have what waits in it canceled', async () => {
    const app = await bootJobs({ types, options });
    await app.queues.pause('narrow');
    const ids = await enqueueMany(app.jobs, Quick, 1200);
    const later = await app.jobs.enqueue(Quick, undefined, { delay: '1h', tenantId: 'acme' });
    expect(await app.queues.cancelWaiting('narrow', { tenantId: 'acme' })).toBe(1);
    expect((await app.jobs.get(later.id)).status).toBe('canceled');
    expect(await app.queues.cancelWaiting('narrow', { reason: 'wrong file' })).toBe(1200);
    expect(await app.jobs.get(ids[0] as string)).toMatchObject({
      status: 'canceled',
      details: 'wrong file',
    });
    expect((await app.jobs.list({ status: 'waiting' })).total).toBe(0);
    expect(await app.queues.cancelWaiting('narrow')).toBe(0);
    expect(await codeOf(app.queues.cancelWaiting('nowhere'))).toBe('not_found');
    expect(await codeOf(app.queues.pause('nowhere'))).toBe('not_found');
  });

  it('has only what waits canceled: a job that was taken meanwhile goes on', async () => {
    const app = await bootJobs({ types, options });
    const [id] = await enqueueMany(app.jobs, Held, 1);
    const { ctx, release } = await gate.entry(id as string);
    const engine = app.get<Engine>(JOBS_ENGINE);
    expect(await engine.operations.cancelWaiting(id as string, {})).toBe(false);
    expect(await app.queues.cancelWaiting('narrow')).toBe(0);
    expect(ctx.signal.aborted).toBe(false);
    release('done');
    expect((await waitForEnd(app.jobs, id as string)).result).toBe('done');
  });
});

describe('a queue worker', () => {
  it('can be paused in this process alone', async () => {
    const one = await bootJobs({ types, options, providers: [Panel] });
    const panel = one.get(Panel);
    expect(panel.narrow).toMatchObject({ name: 'narrow', capacity: 3 });
    expect(panel.wide).toMatchObject({ name: 'wide', capacity: 7 });

    panel.narrow.pause();
    const [id] = await enqueueMany(one.jobs, Quick, 1);
    expect((await one.run(Elsewhere)).status).toBe('completed');
    expect(await one.jobs.get(id as string)).toMatchObject({
      status: 'waiting',
      waitingFor: 'worker',
    });
    expect((await one.queues.get('narrow')).paused).toBe(false);

    panel.narrow.resume();
    await waitForEnd(one.jobs, id as string);
  });

  it('leaves the work to another process while it is paused', async () => {
    const one = await bootJobs({ types, options, providers: [Panel] });
    one.get(Panel).narrow.pause();
    const two = await bootJobs({ types, options, database: one.database });
    expect((await two.run(Quick)).status).toBe('completed');
    const job = await one.run(Quick);
    expect(job.status).toBe('completed');
  });

  it('says how many handlers run', async () => {
    const app = await bootJobs({ types, options, providers: [Panel] });
    const seen: unknown[] = [];
    const subscription = app.get(Panel).narrow.running$.subscribe((value) => seen.push(value));
    const [id] = await enqueueMany(app.jobs, Held, 1);
    const { release } = await gate.entry(id as string);
    await until(() => seen.length > 1 || seen.includes(1), 'a running handler');
    release();
    await waitForEnd(app.jobs, id as string);
    subscription.unsubscribe();
  });
});

describe('a worker', () => {
  it('claims only the types it has', async () => {
    const producer = await bootJobs({ types, options: { ...options, role: 'producer' } });
    const quick = await producer.jobs.enqueue(Quick);
    const held = await producer.jobs.enqueue(Held);
    const worker = await bootJobs({ types: [Quick], options, database: producer.database });
    expect((await waitForEnd(worker.jobs, quick.id)).status).toBe('completed');
    expect(await worker.jobs.get(held.id)).toMatchObject({ status: 'waiting', revision: 0 });
  });

  it('is listed while it lives', async () => {
    const worker = await bootJobs({ types, options });
    await worker.run(Quick);
    const producer = await bootJobs({
      types,
      options: { ...options, role: 'producer' },
      database: worker.database,
    });
    expect(await until(async () => (await producer.workers.list()).length === 1)).toBe(true);
    await worker.close();
    expect(await producer.workers.list()).toEqual([]);
  });
});
