import { describe, expect, it } from 'vitest';
import {
  JobType,
  type Job,
  type JobContext,
  type JobHandler,
  type UniqueOptions,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'deaf', suspendable: true })
class Deaf implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'seldom', unique: { key: 'of the type', within: '2h' } })
class Seldom implements JobHandler {
  execute(): void {}
}

const types = [Held, Deaf, Seldom];

function boot(options: object = {}, database?: BootedJobs['database']): Promise<BootedJobs> {
  return bootJobs({
    types,
    options: { queues: { default: 20 }, ...options },
    ...(database === undefined ? {} : { database }),
  });
}

const KEY = { key: 'k' };

function claim(app: BootedJobs, unique: UniqueOptions = {}, options: object = {}): Promise<Job> {
  return app.jobs.enqueue(Held, {}, { ...options, unique: { ...KEY, ...unique } });
}

/** Who holds the key; undefined when it is free. Somebody who takes it for that is deleted again. */
async function holder(app: BootedJobs): Promise<string | undefined> {
  const asked = app.jobs.enqueue(Held, {}, { unique: KEY, delay: '1h' });
  const code = await codeOf(asked);
  if (code === 'duplicate_job') {
    return (await refusal(asked)).members?.['job_id'] as string;
  }
  expect(code).toBe('ok');
  await app.jobs.delete((await asked).id);
  return undefined;
}

describe('a unique key until final', () => {
  it('is held while its job waits and runs, and free when that has completed', async () => {
    const app = await boot();
    const { id } = await claim(app);
    const { release } = await gate.entry(id);
    expect(await holder(app)).toBe(id);
    release();
    await waitForEnd(app.jobs, id);
    expect(await holder(app)).toBeUndefined();
  });

  it('is held between two attempts, and free when the last has failed', async () => {
    const app = await boot();
    const { id } = await claim(app, {}, { maxRetries: 1, retryDelay: '1h' });
    (await gate.entry(id)).fail(new Error('first'));
    await until(async () => (await app.jobs.get(id)).waitingFor === 'retry', 'the retry to wait');
    expect(await holder(app)).toBe(id);
    await app.jobs.update(id, { runAt: new Date() });
    (await gate.entry(id, 2)).fail(new Error('second'));
    expect((await waitForEnd(app.jobs, id)).status).toBe('failed');
    expect(await holder(app)).toBeUndefined();
  });

  it('is held through suspension and resume', async () => {
    const app = await boot();
    const { id } = await claim(app);
    await gate.entry(id);
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    expect(await holder(app)).toBe(id);
    await app.jobs.resume(id);
    const { release } = await gate.entry(id, 2);
    expect(await holder(app)).toBe(id);
    release();
    await waitForEnd(app.jobs, id);
    expect(await holder(app)).toBeUndefined();
  });

  it('is held while its job is being canceled, and free once it is', async () => {
    const app = await boot({ grace: { shutdown: '50ms', signal: '30s' } });
    const { id } = await app.jobs.enqueue(Deaf, {}, { unique: KEY });
    const { release } = await gate.entry(id);
    expect((await app.jobs.cancel(id)).status).toBe('canceling');
    expect(await holder(app)).toBe(id);
    release();
    expect((await waitForEnd(app.jobs, id)).status).toBe('canceled');
    expect(await holder(app)).toBeUndefined();
  });

  it.each(['cancel', 'skip', 'fail', 'delete'] as const)(
    'is free after the %s of a job that waits',
    async (operation) => {
      const app = await boot();
      const { id } = await claim(app, { within: 0 }, { delay: '1h' });
      expect(await holder(app)).toBe(id);
      await app.jobs[operation](id);
      expect(await holder(app)).toBeUndefined();
    },
  );

  it('is free when its suspended job is deleted', async () => {
    const app = await boot();
    const { id } = await claim(app);
    await gate.entry(id);
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.delete(id);
    expect(await holder(app)).toBeUndefined();
    const rows = await app.sql<{ n: number | string }>('SELECT COUNT(*) AS n FROM job_uniques');
    expect(Number(rows[0]?.n)).toBe(0);
  });

  it('is free when its job has expired', async () => {
    const app = await boot({ lease: { duration: '1s', sweep: '200ms' } });
    await app.queues.pause('default');
    const { id } = await claim(app, {}, { expiresAt: new Date(Date.now() + 400) });
    expect(await holder(app)).toBe(id);
    expect((await waitForEnd(app.jobs, id)).status).toBe('skipped');
    expect(await holder(app)).toBeUndefined();
  });

  it('is held when its worker is lost, and free when it is lost once too often', async () => {
    const slow = { lease: { duration: '10m', sweep: '5m' } };
    const sweeping = { lease: { duration: '1s', sweep: '200ms', maxLost: 1 } };
    const app = await boot(slow);
    const { id } = await claim(app);
    await gate.entry(id);
    const second = await boot(sweeping, app.database);
    const expire = `UPDATE jobs SET lease_until_ms = 1 WHERE job_id = '${id}' AND lease_until_ms IS NOT NULL`;
    await app.sql(expire);
    await gate.entry(id, 2);
    expect(await holder(second)).toBe(id);
    await until(async () => {
      await app.sql(expire);
      return (await second.jobs.get(id)).status === 'failed';
    }, 'the job to be given up');
    expect(await holder(second)).toBeUndefined();
  });
});

describe('a unique key until started', () => {
  const started = { until: 'started' } as const;

  it('is held until the first claim, not taken again by a retry', async () => {
    const app = await boot();
    await app.queues.pause('default');
    const first = await claim(app, started, { maxRetries: 1, retryDelay: '1h' });
    expect(await holder(app)).toBe(first.id);
    await app.queues.resume('default');
    (await gate.entry(first.id)).fail(new Error('first'));
    await until(
      async () => (await app.jobs.get(first.id)).waitingFor === 'retry',
      'the retry to wait',
    );
    expect(await holder(app)).toBeUndefined();
    const second = await claim(app, started, { delay: '1h' });
    expect(await holder(app)).toBe(second.id);
    await app.jobs.update(first.id, { runAt: new Date() });
    (await gate.entry(first.id, 2)).release();
    expect((await waitForEnd(app.jobs, first.id)).status).toBe('completed');
    expect(await holder(app)).toBe(second.id);
  });

  it('is held by a job that was suspended before it started, and free when that is canceled', async () => {
    const app = await boot();
    const { id } = await claim(app, started, { delay: '1h' });
    await app.jobs.suspend(id);
    expect(await holder(app)).toBe(id);
    await app.jobs.cancel(id);
    expect(await holder(app)).toBeUndefined();
    // Nor does an operator's retry take it again.
    await app.queues.pause('default');
    await app.jobs.retry(id);
    expect(await holder(app)).toBeUndefined();
  });
});

describe('a unique key with within', () => {
  const later = { within: '1h' } as const;
  const pass = (app: BootedJobs): Promise<unknown> =>
    app.sql('UPDATE job_uniques SET within_until_ms = 1');

  /** How long after its enqueue each key is held at least. */
  async function heldFor(app: BootedJobs): Promise<Record<string, number>> {
    const rows = await app.sql<{ name: string; ms: unknown }>(
      `SELECT held.unique_key AS name, held.within_until_ms - job.scheduled_at_ms AS ms
       FROM job_uniques held JOIN jobs job ON job.job_id = held.job_id`,
    );
    return Object.fromEntries(rows.map(({ name, ms }) => [name, Number(ms)]));
  }

  it('is held for that long from the enqueue on, to the millisecond, and no longer after a retry', async () => {
    const app = await boot();
    await app.jobs.enqueue(Seldom);
    const { id } = await claim(app, { within: 90_500 });
    await app.jobs.enqueueMany([
      { type: Held, unique: { key: 'one of many', within: '1h' }, delay: '1h' },
      { type: Held, unique: { key: 'another', until: 'started', within: 1 }, delay: '1h' },
    ]);
    const asked = { 'of the type': 7_200_000, k: 90_500, 'one of many': 3_600_000, another: 1 };
    expect(await heldFor(app)).toEqual(asked);
    (await gate.entry(id)).fail(new Error('it broke'));
    await waitForEnd(app.jobs, id);
    await app.jobs.retry(id);
    expect(await heldFor(app)).toEqual(asked);
  });

  it('is free by itself when that time is over, and not before', async () => {
    const app = await boot();
    const first = await claim(app, { within: '300ms' });
    (await gate.entry(first.id)).release();
    const second = await until(async () => {
      const asked = claim(app, {}, { delay: '1h' });
      return (await codeOf(asked)) === 'ok' && asked;
    }, 'the key to be free');
    const afterMs = second.scheduledAt.getTime() - first.scheduledAt.getTime();
    expect(afterMs).toBeGreaterThanOrEqual(300);
    expect(await holder(app)).toBe(second.id);
  });

  it('until started is held after the start until that time is over', async () => {
    const app = await boot();
    const { id } = await claim(app, { until: 'started', within: '1h' });
    const { release } = await gate.entry(id);
    expect(await holder(app)).toBe(id);
    await pass(app);
    expect(await holder(app)).toBeUndefined();
    release();
    await waitForEnd(app.jobs, id);
  });

  it('until started is held after that time until its job has started', async () => {
    const app = await boot();
    await app.queues.pause('default');
    const { id } = await claim(app, { until: 'started', within: '1h' });
    await pass(app);
    expect(await holder(app)).toBe(id);
    await app.queues.resume('default');
    const { release } = await gate.entry(id);
    expect(await holder(app)).toBeUndefined();
    release();
    await waitForEnd(app.jobs, id);
  });

  it('is held after the end of its job until that time is over', async () => {
    const app = await boot();
    const { id } = await claim(app, later);
    (await gate.entry(id)).release('done');
    await waitForEnd(app.jobs, id);
    expect(await holder(app)).toBe(id);
    const unique = { ...KEY, onConflict: 'return' } as const;
    expect(await app.jobs.enqueue(Held, {}, { unique })).toMatchObject({
      outcome: 'existing',
      id,
      status: 'completed',
      result: 'done',
    });
    await pass(app);
    expect(await holder(app)).toBeUndefined();
  });

  it('is held after that time as long as its job has not ended', async () => {
    const app = await boot();
    const { id } = await claim(app, later);
    const { release } = await gate.entry(id);
    await pass(app);
    expect(await holder(app)).toBe(id);
    release();
    await waitForEnd(app.jobs, id);
    expect(await holder(app)).toBeUndefined();
  });

  it('keeps its job from retention, and not from a deletion, which frees it', async () => {
    const app = await boot({ retention: false });
    const kept = await claim(app, later);
    const other = await app.jobs.enqueue(Held, {}, { unique: { key: 'other' } });
    for (const { id } of [kept, other]) {
      (await gate.entry(id)).release();
      await waitForEnd(app.jobs, id);
    }
    await app.sql(`UPDATE jobs SET finished_at_ms = finished_at_ms - ${30 * 86_400_000}`);
    await boot({}, app.database);
    await until(
      async () => (await codeOf(app.jobs.get(other.id))) === 'not_found',
      'retention to come by',
    );
    expect(await holder(app)).toBe(kept.id);
    await app.jobs.delete(kept.id);
    expect(await holder(app)).toBeUndefined();
    const rows = await app.sql('SELECT unique_key FROM job_uniques');
    expect(rows).toEqual([]);
  });
});

describe('a retry of an ended unique job', () => {
  async function failed(app: BootedJobs, unique: UniqueOptions = {}): Promise<string> {
    const { id } = await claim(app, unique);
    (await gate.entry(id)).fail(new Error('it broke'));
    expect((await waitForEnd(app.jobs, id)).status).toBe('failed');
    return id;
  }

  it('takes its key again', async () => {
    const app = await boot();
    const id = await failed(app);
    expect(await holder(app)).toBeUndefined();
    await app.jobs.retry(id);
    const { release } = await gate.entry(id, 2);
    expect(await holder(app)).toBe(id);
    release();
    await waitForEnd(app.jobs, id);
    expect(await holder(app)).toBeUndefined();
  });

  it('is refused when another job has it by now, and changes nothing', async () => {
    const app = await boot();
    const id = await failed(app);
    const before = await app.jobs.get(id);
    const second = await claim(app, {}, { delay: '1h' });
    const refused = await refusal(app.jobs.retry(id));
    expect(refused).toMatchObject({
      code: 'duplicate_job',
      status: 409,
      members: { job_id: second.id },
    });
    expect(await app.jobs.get(id)).toEqual(before);
    await app.jobs.delete(second.id);
    expect((await app.jobs.retry(id)).status).toBe('waiting');
  });

  it('is not refused by its own time', async () => {
    const app = await boot();
    const id = await failed(app, { within: '1h' });
    expect(await holder(app)).toBe(id);
    expect((await app.jobs.retry(id)).status).toBe('waiting');
  });

  it('races with enqueues of the same key, and one of them gets it', async () => {
    const app = await boot();
    for (let round = 0; round < 5; round += 1) {
      const key = `race ${round}`;
      const { id } = await app.jobs.enqueue(Held, {}, { unique: { key } });
      (await gate.entry(id)).fail(new Error('it broke'));
      await waitForEnd(app.jobs, id);
      await app.queues.pause('default');
      const codes = await Promise.all([
        codeOf(app.jobs.enqueue(Held, {}, { unique: { key } })),
        codeOf(app.jobs.retry(id)),
        codeOf(app.jobs.enqueue(Held, {}, { unique: { key } })),
      ]);
      expect(codes.toSorted()).toEqual(['duplicate_job', 'duplicate_job', 'ok']);
      await app.queues.resume('default');
    }
  });
});
