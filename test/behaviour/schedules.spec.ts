import { IsInt } from 'class-validator';
import { describe, expect, it } from 'vitest';
import {
  JobType,
  QueuesService,
  SchedulesService,
  type InitializingJob,
  type Job,
  type JobContext,
  type JobHandler,
  type OnJobInit,
  type Schedule,
  type ScheduleInput,
  type UniqueOptions,
} from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { countRows, jobsOf, setNextRun, slotsOf } from '../support/schedules.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const HOUR = 3_600_000;
const gate = handlerGate();

@JobType({ name: 'quick', maxRetries: 2 })
class Quick implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'picky' })
class Picky implements JobHandler<{ ok?: boolean }>, OnJobInit<{ ok?: boolean }> {
  onJobInit(job: InitializingJob<{ ok?: boolean }>): void {
    if (job.params.ok !== true) {
      throw new Error('not today');
    }
  }

  execute(): void {}
}

class Size {
  @IsInt()
  size = 1;
}

@JobType({ name: 'sized', params: Size })
class Sized implements JobHandler<Size> {
  execute(): void {}
}

interface Scheduled extends BootedJobs {
  readonly schedules: SchedulesService;
}

async function boot(over: Parameters<typeof bootJobs>[0] = {}): Promise<Scheduled> {
  const app = await bootJobs({ types: [Quick, Held, Picky], ...over });
  return Object.assign(app, { schedules: app.get(SchedulesService) });
}

/** A schedule that is not due by itself within the test. */
const hourly = (over: Partial<ScheduleInput> = {}): ScheduleInput => ({
  name: 'hourly',
  type: Held,
  every: HOUR,
  ...over,
});

/** Lets time pass so that the schedule is due just now. */
async function makeDue(app: Scheduled, { id, name }: Schedule, agoMs = 1): Promise<void> {
  const before = (await slotsOf(app, id)).length;
  await setNextRun(app, id, Date.now() - agoMs);
  await until(async () => (await slotsOf(app, id)).length > before, `a slot of ${name}`);
}

async function statuses(app: Scheduled, name = 'hourly'): Promise<string[]> {
  return (await jobsOf(app, app.schedules, name)).map((job) => job.status);
}

describe('a schedule', () => {
  it('makes one periodic job each second, which says what made it', async () => {
    const app = await boot();
    const made = await app.schedules.upsert({
      name: 'each second',
      type: Quick,
      params: { a: 1 },
      cron: '* * * * * *',
      overlap: 'allow',
      options: { priority: 3, tags: ['clock'], maxRetries: 0, channel: '', meta: { m: 1 } },
    });
    expect(made).toMatchObject({ outcome: 'created', timeZone: 'UTC', paused: false });
    const slots = await until(async () => {
      const found = await slotsOf(app, made.id);
      return found.length >= 3 && found;
    }, 'three slots');
    await app.schedules.pause('each second');
    slots.forEach(({ slot }, at) => {
      expect(slot % 1000).toBe(0);
      expect(slot).toBe((slots[0]?.slot ?? 0) + at * 1000);
    });
    const jobs = await jobsOf(app, app.schedules, 'each second');
    expect(jobs[0]).toMatchObject({
      kind: 'periodic',
      type: 'default:quick',
      scheduleId: made.id,
      params: { a: 1 },
      priority: 3,
      tags: ['clock'],
      maxRetries: 0,
      meta: { m: 1 },
    });
    expect(jobs.map(({ id }) => id)).toEqual(
      (await slotsOf(app, made.id)).map((each) => each.jobId),
    );
    const last = jobs.at(-1) as Job;
    expect(await app.schedules.get('each second')).toMatchObject({
      lastJobId: last.id,
      nextRunAt: null,
      paused: true,
    });
    expect(await waitForEnd(app.jobs, last.id)).toMatchObject({
      status: 'completed',
      result: { a: 1 },
    });
  });

  it('keeps a fixed rate from its start on, both ends included', async () => {
    const app = await boot();
    const startAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 250);
    const endAt = new Date(startAt.getTime() + 2000);
    const { id } = await app.schedules.upsert({
      name: 'rate',
      type: Quick,
      every: '1s',
      startAt,
      endAt,
      overlap: 'allow',
    });
    await until(async () => (await slotsOf(app, id)).length === 3, 'three slots');
    expect((await slotsOf(app, id)).map(({ slot }) => slot - startAt.getTime())).toEqual([
      0, 1000, 2000,
    ]);
    expect(await app.schedules.get('rate')).toMatchObject({ nextRunAt: null });
  });

  it('is due so long after the last run ended, whatever it took and however it ended', async () => {
    const app = await boot();
    const { id } = await app.schedules.upsert({ name: 'after', type: Held, after: '1s' });
    const first = await until(async () => (await jobsOf(app, app.schedules, 'after'))[0], 'a job');
    const entry = await gate.entry(first.id);
    expect(await app.schedules.get('after')).toMatchObject({ nextRunAt: null });
    entry.fail(new Error('broke'));
    const ended = await waitForEnd(app.jobs, first.id);
    const second = await until(
      async () => (await jobsOf(app, app.schedules, 'after'))[1],
      'a second job',
    );
    const slot = (await slotsOf(app, id))[1]?.slot ?? 0;
    expect(slot - (ended.finishedAt?.getTime() ?? 0)).toBe(1000);
    expect(second.scheduledAt.getTime()).toBeGreaterThanOrEqual(slot);
    // A job that is deleted before it ran has ended, too.
    await gate.entry(second.id);
    await app.jobs.cancel(second.id);
    await waitForEnd(app.jobs, second.id);
    await until(async () => (await jobsOf(app, app.schedules, 'after')).length > 2, 'a third job');
  });
});

describe('overlap', () => {
  it('skip: there is never more than one', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly());
    await makeDue(app, schedule);
    const [job] = await jobsOf(app, app.schedules, 'hourly');
    const { release } = await gate.entry(job?.id ?? '');
    await makeDue(app, schedule);
    expect((await slotsOf(app, schedule.id)).map(({ jobId }) => jobId)).toEqual([job?.id, null]);
    release();
    await waitForEnd(app.jobs, job?.id ?? '');
    await makeDue(app, schedule);
    expect(await statuses(app)).toHaveLength(2);
  });

  it('queue: one waits until the one before has ended', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ overlap: 'queue' }));
    for (let slot = 0; slot < 3; slot += 1) {
      await makeDue(app, schedule);
    }
    const [first, second, ...more] = await jobsOf(app, app.schedules, 'hourly');
    expect(more).toEqual([]);
    expect(second).toMatchObject({ status: 'waiting', waitingFor: 'dependencies' });
    const { fail } = await gate.entry(first?.id ?? '');
    fail(new Error('broke'));
    await gate.entry(second?.id ?? '');
    expect(await app.jobs.get(second?.id ?? '')).toMatchObject({ status: 'running' });
  });

  it('queue: of several slots that are due at once the second one waits for the first', async () => {
    const app = await boot();
    const startAt = new Date(Date.now() - 10 * HOUR - 60_000);
    const schedule = await app.schedules.upsert(
      hourly({ overlap: 'queue', misfire: 'all', startAt }),
    );
    const next = schedule.nextRunAt?.getTime() ?? 0;
    await setNextRun(app, schedule.id, next - 4 * HOUR);
    await until(
      async () => (await app.schedules.get('hourly')).nextRunAt?.getTime() === next,
      'the slot that is not due',
    );
    const [first, second, ...more] = await jobsOf(app, app.schedules, 'hourly');
    expect(more).toEqual([]);
    const { release } = await gate.entry(first?.id ?? '');
    expect(await app.jobs.get(second?.id ?? '')).toMatchObject({
      status: 'waiting',
      dependsOn: [{ id: first?.id, onFailure: 'run' }],
    });
    release();
    await gate.entry(second?.id ?? '');
  });

  it('allow: slots do not care', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ overlap: 'allow' }));
    for (let slot = 0; slot < 3; slot += 1) {
      await makeDue(app, schedule);
    }
    const jobs = await jobsOf(app, app.schedules, 'hourly');
    await Promise.all(jobs.map(({ id }) => gate.entry(id)));
    expect(jobs).toHaveLength(3);
  });

  it('cancel: the older one is canceled', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ overlap: 'cancel' }));
    await makeDue(app, schedule);
    const [first] = await jobsOf(app, app.schedules, 'hourly');
    await gate.entry(first?.id ?? '');
    await makeDue(app, schedule);
    const ended = await waitForEnd(app.jobs, first?.id ?? '');
    expect(ended).toMatchObject({ status: 'canceled' });
    expect(ended.details).toContain('hourly');
    const [, second] = await jobsOf(app, app.schedules, 'hourly');
    await gate.entry(second?.id ?? '');
  });

  it('counts a job that was retried after its end again', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly());
    await makeDue(app, schedule);
    const [job] = await jobsOf(app, app.schedules, 'hourly');
    (await gate.entry(job?.id ?? '')).fail(new Error('broke'));
    await waitForEnd(app.jobs, job?.id ?? '');
    await app.jobs.retry(job?.id ?? '');
    await makeDue(app, schedule);
    expect(await statuses(app)).toHaveLength(1);
  });
});

describe('the status hook of a schedule', () => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

  it('is told what becomes of each of its jobs, at a slot and run by hand', async () => {
    const receiver = await Receiver.open();
    const app = await boot({ options: { webhooks: { ...LOOPBACK, secret } } });
    const options = { statusHook: receiver.url };
    const schedule = await app.schedules.upsert(hourly({ type: Quick, overlap: 'allow', options }));
    expect(await app.schedules.get('hourly')).toMatchObject({ options });
    await makeDue(app, schedule);
    const [slot] = await jobsOf(app, app.schedules, 'hourly');
    const byHand = await app.schedules.runNow('hourly');
    for (const { id } of [slot as Job, byHand]) {
      expect(await app.jobs.get(id)).toMatchObject({ statusHook: receiver.url });
      await receiver.told(id, 'job.completed');
      expect(receiver.of(id).map(({ event }) => event.type)).toEqual([
        'job.waiting',
        'job.running',
        'job.completed',
      ]);
      expect(receiver.of(id)[0]?.event.data.job).toMatchObject({ schedule_id: schedule.id });
    }
  });

  it.each([
    ['ftp://example.com/', /https/],
    ['https://127.0.0.1/', /private/],
    ['nonsense', /URL/],
    [7, /URL/],
  ])('%s is refused as at an enqueue, and nothing is stored', async (statusHook, says) => {
    const app = await boot({ options: { webhooks: { secret } } });
    const options = { statusHook } as ScheduleInput['options'];
    const refused = { code: 'invalid_request', message: expect.stringMatching(says) as string };
    await expect(app.schedules.upsert(hourly({ options }))).rejects.toMatchObject(refused);
    await expect(app.jobs.enqueue(Quick, {}, options)).rejects.toMatchObject(refused);
    expect(await countRows(app)).toBe(0);
  });

  it('that the process at a slot does not tell keeps no job from being made', async () => {
    const options = { statusHook: 'https://example.com/' };
    const before = await boot({ options: { webhooks: { secret } } });
    const schedule = await before.schedules.upsert(hourly({ type: Quick, options }));
    await before.close();
    const app = await boot({ database: before.database });
    await makeDue(app, schedule);
    expect(await jobsOf(app, app.schedules, 'hourly')).toMatchObject([options]);
  });

  it('of a tenant is at a host that this tenant may name', async () => {
    const [ann, bob] = ['0000000a', '0000000b'].map((end) => `00000000-0000-0000-0000-0000${end}`);
    const allowHosts = (tenantId: string): string[] => [
      tenantId === ann ? 'ann.example.com' : 'other.example.com',
    ];
    const app = await boot({ options: { webhooks: { secret, allowHosts } } });
    const schedule = hourly({ options: { statusHook: 'https://ann.example.com/' } });
    await app.schedules.upsert(schedule, { tenantId: ann });
    await expect(app.schedules.upsert(schedule, { tenantId: bob })).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('allowHosts') as string,
    });
  });
});

describe('unique jobs of a schedule', () => {
  const unique = (onConflict: UniqueOptions['onConflict']): ScheduleInput =>
    hourly({ type: Quick, overlap: 'allow', options: { unique: { key: 'one', onConflict } } });

  it('replace: the job that still waits gets what the schedule says now', async () => {
    const app = await boot();
    await app.get(QueuesService).pause('default');
    const schedule = await app.schedules.upsert({ ...unique('replace'), params: { v: 1 } });
    await makeDue(app, schedule);
    const [job] = await jobsOf(app, app.schedules, 'hourly');
    await app.schedules.upsert({ ...unique('replace'), params: { v: 2 } });
    await makeDue(app, schedule);
    expect(await jobsOf(app, app.schedules, 'hourly')).toMatchObject([
      { id: job?.id, params: { v: 2 }, status: 'waiting' },
    ]);
    expect((await slotsOf(app, schedule.id)).map(({ jobId }) => jobId)).toEqual([job?.id, null]);
    await app.schedules.upsert({ ...unique('replace'), params: { v: 3 } });
    expect(await app.schedules.runNow('hourly')).toMatchObject({
      outcome: 'replaced',
      id: job?.id,
      params: { v: 3 },
    });
    await app.get(QueuesService).resume('default');
    expect(await waitForEnd(app.jobs, job?.id ?? '')).toMatchObject({ result: { v: 3 } });
  });

  it('return and reject: the slot makes no job, and the next one may', async () => {
    const app = await boot();
    await app.get(QueuesService).pause('default');
    const other = await app.jobs.enqueue(Quick, {}, { unique: { key: 'one' } });
    const schedule = await app.schedules.upsert(unique('return'));
    await makeDue(app, schedule);
    expect(await app.schedules.runNow('hourly')).toMatchObject({
      outcome: 'existing',
      id: other.id,
    });
    await app.schedules.upsert(unique('reject'));
    await makeDue(app, schedule);
    await expect(app.schedules.runNow('hourly')).rejects.toMatchObject({
      code: 'duplicate_job',
      members: { job_id: other.id },
    });
    expect(await statuses(app)).toEqual([]);
    await app.jobs.cancel(other.id);
    await makeDue(app, schedule);
    expect(await statuses(app)).toHaveLength(1);
  });
});

describe('slots that were missed', () => {
  const missed = async (
    misfire: ScheduleInput['misfire'],
    every: number,
    agoMs: number,
  ): Promise<[made: number, next: number]> => {
    const app = await boot();
    const startMs = Date.now() - 10_000 * every - every / 60;
    const schedule = await app.schedules.upsert({
      // None is due of itself meanwhile.
      ...hourly({ type: Quick, every, overlap: 'allow', startAt: new Date(startMs) }),
      ...(misfire === undefined ? {} : { misfire }),
    });
    const next = schedule.nextRunAt?.getTime() ?? 0;
    await setNextRun(app, schedule.id, next - Math.ceil(agoMs / every) * every);
    await until(async () => {
      const { nextRunAt } = await app.schedules.get('hourly');
      return nextRunAt !== null && nextRunAt.getTime() > Date.now();
    }, 'the next slot');
    const now = await app.schedules.get('hourly');
    return [
      (await jobsOf(app, app.schedules, 'hourly')).length,
      ((now.nextRunAt?.getTime() ?? 0) - next) / every,
    ];
  };

  it.each([
    [undefined, HOUR, 5 * HOUR, 1],
    ['once', HOUR, 5 * HOUR, 1],
    ['skip', HOUR, 5 * HOUR, 0],
    ['all', HOUR, 5 * HOUR, 5],
    ['all', 60_000, 50 * HOUR, 100],
  ] as const)('misfire %s, each %d ms for %d ms: %d jobs', async (misfire, every, ago, jobs) => {
    const [made, next] = await missed(misfire, every, ago);
    expect(made).toBe(jobs);
    // The timetable is where it would be anyhow.
    expect(Math.abs(next - Math.round(next))).toBeLessThan(1e-9);
  });

  it.each([
    ['once', 1],
    ['skip', 0],
    ['all', 8],
  ] as const)('while no process ran, misfire %s makes up for them: %d', async (misfire, jobs) => {
    const database = createDatabase();
    const first = await boot({ database });
    const { id } = await first.schedules.upsert(
      hourly({
        type: Quick,
        every: 1000,
        overlap: 'allow',
        misfire,
        startAt: new Date(Date.now() + HOUR),
      }),
    );
    await first.sql(`UPDATE job_schedules SET start_at_ms = NULL`);
    await first.close();
    const second = await boot({ database, options: { autoStart: false } });
    const startedMs = Math.floor(Date.now() / 1000) * 1000;
    const slots = Array.from({ length: 8 }, (_, at) => startedMs - (8 - at) * 1000 + 1);
    await second.sql(`UPDATE job_schedules SET first_ms = ${slots[0]}, end_at_ms = ${slots[7]}`);
    await second.sql(
      `UPDATE job_schedule_times SET next_run_at_ms = ${slots[0]}, due_at_ms = ${slots[0]}`,
    );
    await second.close();
    const third = await boot({ database });
    await until(
      async () =>
        (await third.sql(`SELECT 1 FROM job_schedule_times WHERE due_at_ms IS NULL`)).length === 1,
      'the schedule to be over',
    );
    expect((await slotsOf(third, id)).map(({ slot }) => slot)).toEqual(slots.slice(8 - jobs));
  });

  const COUNT = 8;

  /** A schedule of each second whose slots were up to now and made no jobs; it is over then. */
  const overdue = async (
    database: TestDatabase,
    misfire: ScheduleInput['misfire'],
  ): Promise<{ readonly producer: Scheduled; readonly id: string; readonly slots: number[] }> => {
    const producer = await boot({ database, options: { role: 'producer' } });
    const { id } = await producer.schedules.upsert(
      hourly({ name: 'overdue', type: Quick, every: 1000, overlap: 'allow', misfire }),
    );
    const lastMs = Date.now() - 500;
    const slots = Array.from({ length: COUNT }, (_, at) => lastMs - (COUNT - 1 - at) * 1000);
    await producer.sql(
      `UPDATE job_schedules SET first_ms = ${slots[0]}, end_at_ms = ${lastMs} WHERE schedule_id = '${id}'`,
    );
    await setNextRun(producer, id, slots[0] ?? 0);
    return { producer, id, slots };
  };

  /** Its slots that have made jobs, once it is over. */
  const madeOf = async (app: Scheduled, id: string): Promise<number[]> => {
    const isOver = async (): Promise<boolean> =>
      (await app.schedules.get('overdue')).nextRunAt === null;
    await until(isOver, 'the schedule to be over');
    return (await slotsOf(app, id)).flatMap(({ slot, jobId }) => (jobId === null ? [] : [slot]));
  };

  it.each([
    ['once', 1],
    ['skip', 0],
    ['all', COUNT],
  ] as const)(
    'while the only worker lay dead, whose last heartbeat is not old, misfire %s makes up for them: %d',
    async (misfire, jobs) => {
      const database = createDatabase();
      const { producer, id, slots } = await overdue(database, misfire);
      await producer.sql(
        `INSERT INTO job_workers (worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms)
         VALUES ('${producer.get<Engine>(JOBS_ENGINE).workerId}', 'h', 1, '0', '["default"]', 1, ${Date.now() - 3000})`,
      );
      const worker = await boot({ database });
      expect(await madeOf(worker, id)).toEqual(slots.slice(COUNT - jobs));
    },
  );

  it('while only workers of other types ran were missed, too', async () => {
    const database = createDatabase();
    const { id, slots } = await overdue(database, 'once');
    const other = await boot({ database, types: [Held] });
    await until(async () => (await other.workers.list()).length === 1, 'the other worker');
    const worker = await boot({ database });
    expect(await madeOf(worker, id)).toEqual(slots.slice(-1));
  });

  it.each([
    ['once', 1],
    ['skip', 0],
  ] as const)(
    'while nobody was there were missed, also where somebody has begun since who is at it: %s',
    async (misfire, jobs) => {
      const database = createDatabase();
      const { producer, id, slots } = await overdue(database, misfire);
      await producer.schedules.upsert(hourly({ name: 'other', type: Quick, overlap: 'allow' }));
      await producer.sql(
        `INSERT INTO job_workers (worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms)
         VALUES ('${producer.get<Engine>(JOBS_ENGINE).workerId}', 'h', 1, '0', '["default"]', ${Date.now()}, ${Date.now()})`,
      );
      const worker = await boot({ database });
      await until(
        async () => {
          await producer.schedules.runNow('other');
          return (await worker.schedules.get('overdue')).nextRunAt === null;
        },
        'the schedule to be over',
        12_000,
      );
      expect(await madeOf(worker, id)).toEqual(slots.slice(COUNT - jobs));
    },
    20_000,
  );

  it.each(['once', 'skip'] as const)(
    'while others made jobs of the type are late, and each makes its job: %s',
    async (misfire) => {
      const database = createDatabase();
      const { producer, id, slots } = await overdue(database, misfire);
      await producer.schedules.upsert(hourly({ name: 'other', type: Quick, overlap: 'allow' }));
      await producer.sql(
        `INSERT INTO job_workers (worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms)
         VALUES ('${producer.get<Engine>(JOBS_ENGINE).workerId}', 'h', 1, '0', '["default"]', 1, ${Date.now()})`,
      );
      const worker = await boot({ database });
      await until(
        async () => {
          // As somebody does who is there and behind.
          await producer.schedules.runNow('other');
          return (await worker.schedules.get('overdue')).nextRunAt === null;
        },
        'the schedule to be over',
        12_000,
      );
      expect(await madeOf(worker, id)).toEqual(slots);
    },
    20_000,
  );
});

describe('operators', () => {
  it('pause and resume a schedule, whose missed slots are not caught up', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly());
    expect(await app.schedules.pause('hourly')).toMatchObject({ paused: true, nextRunAt: null });
    expect(await app.schedules.pause('hourly')).toMatchObject({ paused: true });
    const resumed = await app.schedules.resume('hourly');
    expect(resumed.paused).toBe(false);
    expect(resumed.nextRunAt).toEqual(schedule.nextRunAt);
    expect(await statuses(app)).toEqual([]);
  });

  it('run a schedule now, which does not shift it; while its job is there, skip refuses', async () => {
    const app = await boot();
    const { id, nextRunAt } = await app.schedules.upsert(hourly({ paused: true }));
    expect(nextRunAt).toBeNull();
    const job = await app.schedules.runNow('hourly');
    expect(job).toMatchObject({ outcome: 'created', kind: 'periodic', scheduleId: id });
    await expect(app.schedules.runNow('hourly')).rejects.toMatchObject({
      code: 'duplicate_job',
      members: { job_id: job.id },
    });
    (await gate.entry(job.id)).release();
    await waitForEnd(app.jobs, job.id);
    const before = await app.schedules.resume('hourly');
    const again = await app.schedules.runNow('hourly');
    await gate.entry(again.id);
    expect(await app.schedules.get('hourly')).toMatchObject({
      nextRunAt: before.nextRunAt,
      lastJobId: again.id,
    });
    expect(await slotsOf(app, id)).toEqual([]);
  });

  it('have it run at least by a time: the sooner wins, then the timetable goes on', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ type: Quick }));
    const regular = schedule.nextRunAt as Date;
    const later = new Date(regular.getTime() + HOUR);
    expect(await app.schedules.runAtLeastBy('hourly', later)).toMatchObject({ nextRunAt: regular });
    const sooner = new Date(Date.now() + 300);
    expect(await app.schedules.runAtLeastBy('hourly', sooner)).toMatchObject({ nextRunAt: sooner });
    const [slot] = await until(async () => {
      const found = await slotsOf(app, schedule.id);
      return found.length > 0 && found;
    }, 'the sooner run');
    expect(slot?.slot).toBe(sooner.getTime());
    expect(await app.schedules.get('hourly')).toMatchObject({ nextRunAt: regular });
    await app.schedules.pause('hourly');
    await expect(app.schedules.runAtLeastBy('hourly', sooner)).rejects.toMatchObject({
      code: 'illegal_transition',
    });
  });

  it('cannot make it due after its end', async () => {
    const app = await boot();
    const endAt = new Date(Date.now() + 2 * HOUR);
    await app.schedules.upsert(hourly({ type: Quick, endAt }));
    const { nextRunAt } = await app.schedules.get('hourly');
    const late = new Date(endAt.getTime() + 1);
    // It is due before then anyhow.
    expect(await app.schedules.runAtLeastBy('hourly', late)).toMatchObject({ nextRunAt });
    // As if it had no slot left.
    const { id } = await app.schedules.get('hourly');
    await setNextRun(app, id, late.getTime() + HOUR);
    await expect(app.schedules.runAtLeastBy('hourly', late)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(endAt.toISOString()) as string,
    });
    expect(await app.schedules.runAtLeastBy('hourly', endAt)).toMatchObject({ nextRunAt: endAt });
  });

  it('see when it is due next', async () => {
    const app = await boot();
    await app.schedules.upsert({
      name: 'spring',
      type: Quick,
      cron: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      startAt: new Date('2027-03-27T12:00Z'),
      endAt: new Date('2027-03-30T12:00Z'),
    });
    expect(await app.schedules.preview('spring', 9)).toEqual([
      new Date('2027-03-28T01:00Z'),
      new Date('2027-03-29T00:30Z'),
      new Date('2027-03-30T00:30Z'),
    ]);
    await app.schedules.pause('spring');
    expect(await app.schedules.preview('spring', 1)).toEqual([new Date('2027-03-28T01:00Z')]);
    await app.schedules.upsert({ name: 'after', type: Quick, after: '1h' });
    expect(await app.schedules.preview('after')).toHaveLength(1);
    await expect(app.schedules.preview('spring', 0)).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(app.schedules.preview('nobody')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('edit it while it is live: it keeps its rhythm unless its times are other ones', async () => {
    const app = await boot();
    const first = await app.schedules.upsert(hourly({ type: Quick, params: { v: 1 } }));
    const second = await app.schedules.upsert(
      hourly({ type: Quick, params: { v: 2 }, overlap: 'allow' }),
    );
    expect(second).toMatchObject({ outcome: 'replaced', id: first.id, nextRunAt: first.nextRunAt });
    await makeDue(app, second);
    expect(await jobsOf(app, app.schedules, 'hourly')).toMatchObject([{ params: { v: 2 } }]);
    await app.schedules.pause('hourly');
    const third = await app.schedules.upsert(hourly({ type: Quick, every: 2 * HOUR }));
    expect(third).toMatchObject({ paused: true, every: 2 * HOUR, nextRunAt: null });
    const fourth = await app.schedules.upsert(
      hourly({ type: Quick, every: 2 * HOUR, paused: false }),
    );
    expect(fourth.nextRunAt?.getTime()).toBeGreaterThan(Date.now() + HOUR);
    expect(await countRows(app)).toBe(2);
  });

  it('edit its end, or leave out a start that is over: what is due and has not come yet still comes', async () => {
    const database = createDatabase();
    const producer = await boot({ database, options: { role: 'producer' } });
    const startAt = new Date(Date.now() - 5 * HOUR - 1000);
    const past = { name: 'past', type: Quick, misfire: 'all', overlap: 'allow' } as const;
    const made = await producer.schedules.upsert({ ...past, every: HOUR, startAt });
    const slots = [0, 1, 2, 3, 4, 5].map((nth) => startAt.getTime() + nth * HOUR);
    await setNextRun(producer, made.id, startAt.getTime());
    expect(made.startAt).toEqual(startAt);
    const endAt = new Date(Date.now() + 2 * HOUR);
    for (const over of [{ startAt, endAt }, { endAt }, {}]) {
      const edited = await producer.schedules.upsert({ ...past, every: HOUR, ...over });
      expect(edited.nextRunAt).toEqual(startAt);
    }
    const worker = await boot({ database });
    await until(
      async () => (await jobsOf(worker, worker.schedules, 'past')).length === slots.length,
      'all that was missed',
    );
    const next = (await worker.schedules.get('past')).nextRunAt?.getTime();
    expect(next).toBe(startAt.getTime() + 6 * HOUR);
  });

  it('edit it to come after a run, also while one is at work, and back', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly());
    await makeDue(app, schedule);
    const [job] = await jobsOf(app, app.schedules, 'hourly');
    const { release } = await gate.entry(job?.id ?? '');
    const after = { name: 'hourly', type: Held, after: HOUR } as const;
    expect(await app.schedules.upsert(after)).toMatchObject({ nextRunAt: null });
    release();
    const ended = await waitForEnd(app.jobs, job?.id ?? '');
    const due = (ended.finishedAt?.getTime() ?? 0) + HOUR;
    expect(await app.schedules.get('hourly')).toMatchObject({ nextRunAt: new Date(due) });
    const back = await app.schedules.upsert(hourly({ startAt: new Date(due + HOUR) }));
    expect(back).toMatchObject({ nextRunAt: new Date(due + HOUR), after: null });
    const idle = await app.schedules.upsert(after);
    expect(idle.nextRunAt?.getTime()).toBeGreaterThan(Date.now() + HOUR - 60_000);
  });

  it('run one now that comes after a run and has not begun: it is not due before it begins', async () => {
    const app = await boot();
    const startAt = new Date(Date.now() + HOUR);
    await app.schedules.upsert({ name: 'later', type: Quick, after: '1s', startAt });
    const job = await app.schedules.runNow('later');
    await waitForEnd(app.jobs, job.id);
    expect(await app.schedules.get('later')).toMatchObject({ nextRunAt: startAt });
  });

  it('make it come after a run that ends at the same moment, and it is not forgotten', async () => {
    const app = await boot();
    for (let round = 0; round < 8; round += 1) {
      const name = `round ${round}`;
      await app.schedules.upsert(hourly({ name }));
      const job = await app.schedules.runNow(name);
      const { release } = await gate.entry(job.id);
      release();
      await app.schedules.upsert({ name, type: Held, after: HOUR });
      await waitForEnd(app.jobs, job.id);
      expect(await app.schedules.get(name)).toMatchObject({ nextRunAt: expect.any(Date) as Date });
    }
  });

  it('delete it with or without what it made and still waits', async () => {
    const app = await boot({ options: { queues: { default: 1 } } });
    const schedule = await app.schedules.upsert(hourly({ overlap: 'allow' }));
    await makeDue(app, schedule);
    const [running] = await jobsOf(app, app.schedules, 'hourly');
    await gate.entry(running?.id ?? '');
    await makeDue(app, schedule);
    const [, waiting] = await jobsOf(app, app.schedules, 'hourly');
    await app.schedules.delete('hourly', { cancelWaiting: true });
    expect(await app.jobs.get(waiting?.id ?? '')).toMatchObject({ status: 'canceled' });
    expect(await app.jobs.get(running?.id ?? '')).toMatchObject({ status: 'running' });
    expect(await countRows(app)).toBe(0);
    await expect(app.schedules.get('hourly')).rejects.toMatchObject({ code: 'not_found' });
    await expect(app.schedules.delete('hourly')).rejects.toMatchObject({ code: 'not_found' });
    (await gate.entry(running?.id ?? '')).release();
    expect(await waitForEnd(app.jobs, running?.id ?? '')).toMatchObject({ status: 'completed' });
  });

  it('see schedules by name, those of their tenant', async () => {
    const app = await boot();
    await app.schedules.upsert(hourly({ name: 'b' }));
    await app.schedules.upsert(hourly({ name: 'a' }));
    await app.schedules.upsert(hourly({ name: 'a', type: Quick }), { tenantId: 't', userId: 'u' });
    expect((await app.schedules.list()).map(({ name }) => name).toSorted()).toEqual([
      'a',
      'a',
      'b',
    ]);
    expect(await app.schedules.list({ tenantId: 't' })).toMatchObject([
      { name: 'a', type: 'default:quick', tenantId: 't', userId: 'u' },
    ]);
    const job = await app.schedules.runNow('a', { tenantId: 't' });
    expect(job).toMatchObject({ tenantId: 't', userId: 'u' });
    await expect(app.schedules.get('b', { tenantId: 't' })).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});

describe('a schedule that cannot be', () => {
  const cases: readonly (readonly [what: string, over: object, says: RegExp, code?: string])[] = [
    ['neither cron nor rate', { every: undefined }, /^cron or every or after .* one of them/],
    ['both', { cron: '* * * * *' }, /only one/],
    ['more often than once a second', { every: 999 }, /^every must be at least one second/],
    ['so soon after a run', { every: undefined, after: 1 }, /^after must be at least one second/],
    ['no duration', { every: 'soon' }, /duration/],
    ['cron that is too long', { every: undefined, cron: `${'1,'.repeat(140)}1 * * * *` }, /256/],
    ['cron that is none', { every: undefined, cron: 'at noon' }, /five fields/],
    ['never due', { every: undefined, cron: '0 0 30 2 *' }, /never be due/],
    ['never that weekday', { every: undefined, cron: '0 0 30 * +1#1' }, /never be due.*leave out/],
    [
      'due at no time between its start and its end',
      {
        every: undefined,
        cron: '0 0 1 2 *',
        startAt: new Date('2090-02-02'),
        endAt: new Date('2091-01-31'),
      },
      /^cron would never be due before its end/,
    ],
    ['over before it begins', { endAt: new Date(Date.now() - 1000) }, /^endAt .*still to come/],
    ['the end before the start', { startAt: new Date(2e12), endAt: new Date(1.9e12) }, /^endAt/],
    ['a start that is no date', { startAt: 'now' }, /^startAt/],
    [
      'unknown zone',
      { every: undefined, cron: '* * * * *', timeZone: 'Mars/Base' },
      /^timeZone is "Mars\/Base".*Europe\/Berlin/,
    ],
    ['a zone without cron', { timeZone: 'UTC' }, /^timeZone .*leave it out/],
    ['unknown overlap', { overlap: 'maybe' }, /skip, queue, allow, cancel/],
    ['unknown misfire', { misfire: 'maybe' }, /once, skip, all/],
    ['unknown option', { options: { runAt: new Date() } }, /runAt/],
    ['misspelt key', { evry: 1 }, /evry/],
    ['bad unique key', { options: { unique: { until: 'never' } } }, /started, final/],
    ['bad job option', { options: { tags: 'x' } }, /^options\.tags/],
    ['bad job hook', { options: { statusHook: 'https://x' } }, /^options\.statusHook/],
    ['no name', { name: '' }, /1 to 255/],
    ['a name that is too long', { name: 'x'.repeat(256) }, /1 to 255/],
    ['paused is no boolean', { paused: 'yes' }, /true or false/],
    ['unknown type', { type: 'default:nobody' }, /Known types/, 'unknown_type'],
    [
      'params that are wrong',
      { type: 'default:sized', params: { size: 'x' } },
      /size/,
      'invalid_params',
    ],
    ['params that are too large', { params: 'x'.repeat(300_000) }, /262144|large/, 'too_large'],
  ];
  for (const [what, over, says, code] of cases)
    it(`${what} is refused, and nothing is stored`, async () => {
      const app = await boot({ types: [Quick, Held, Sized] });
      const refused = app.schedules.upsert({ ...hourly(), ...over } as ScheduleInput);
      await expect(refused).rejects.toMatchObject({
        code: code ?? 'invalid_request',
        message: expect.stringMatching(says) as string,
      });
      expect(await countRows(app)).toBe(0);
    });

  it('because its hook does not return holds up no other one, and is asked once', async () => {
    let asked = 0;
    let answer: () => void = () => undefined;
    @JobType({ name: 'pensive' })
    class Pensive implements JobHandler, OnJobInit {
      onJobInit(): Promise<void> {
        asked += 1;
        return new Promise((resolve) => (answer = resolve));
      }

      execute(): void {}
    }
    const app = await boot({ types: [Quick, Pensive] });
    const pensive = await app.schedules.upsert(hourly({ name: 'pensive', type: Pensive }));
    const other = await app.schedules.upsert(hourly({ type: Quick }));
    await setNextRun(app, pensive.id, Date.now() - 1);
    await until(() => asked > 0, 'the hook');
    for (let slot = 0; slot < 3; slot += 1) {
      await makeDue(app, other);
    }
    expect(await slotsOf(app, pensive.id)).toEqual([]);
    expect(asked).toBe(1);
    answer();
    // Whoever has claimed it last was slow, where the machine is, and claimed it for longer.
    const slotMade = async (): Promise<boolean> => (await slotsOf(app, pensive.id)).length > 0;
    await until(slotMade, 'the slot, at last', 30_000);
    const made = await jobsOf(app, app.schedules, 'pensive');
    expect(made).toHaveLength(1);
    expect(asked).toBe(1);
    // While its job is open, a slot is left out without asking the hook.
    await waitForEnd(app.jobs, made[0]?.id ?? '');
    // And one that never returns does not keep the application from closing.
    await setNextRun(app, pensive.id, Date.now() - 1);
    await until(() => asked > 1, 'the hook again', 30_000);
    await app.close();
  }, 60_000);

  it('in its first job, which its type refuses, goes on with the next slot and says why', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ type: Picky }));
    await makeDue(app, schedule);
    expect(await slotsOf(app, schedule.id)).toMatchObject([{ jobId: null }]);
    expect(app.log.texts('warn').join(' ')).toContain('not today');
    await expect(app.schedules.runNow('hourly')).rejects.toMatchObject({ code: 'init_failed' });
    await app.schedules.upsert(hourly({ type: Picky, params: { ok: true } }));
    await makeDue(app, schedule);
    expect(await jobsOf(app, app.schedules, 'hourly')).toHaveLength(1);
  });
});

describe('several processes', () => {
  it('on one database make each slot once', async () => {
    const database = createDatabase();
    const apps = [await boot({ database }), await boot({ database }), await boot({ database })];
    const [app] = apps as [Scheduled];
    const names = Array.from({ length: 40 }, (_, at) => `s${at}`);
    const made = await Promise.all(
      names.map((name) =>
        app.schedules.upsert({ name, type: Quick, every: 1000, overlap: 'allow', misfire: 'all' }),
      ),
    );
    await until(async () => (await app.jobs.list({ kind: 'periodic' })).total >= 120, '120 jobs');
    await Promise.all(names.map((name) => app.schedules.pause(name)));
    for (const { id } of made) {
      const slots = await slotsOf(app, id);
      slots.forEach(({ slot, jobId }, at) => {
        expect(slot).toBe((slots[0]?.slot ?? 0) + at * 1000);
        expect(jobId).not.toBeNull();
      });
      const jobs = await app.jobs.list({ scheduleId: id, limit: 1000 });
      expect(jobs.total).toBe(slots.length);
    }
  });

  it('edit the same new schedule at once, and one of them makes it', async () => {
    const database = createDatabase();
    const apps = [await boot({ database }), await boot({ database })];
    const made = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        (apps[at % 2] as Scheduled).schedules.upsert(hourly({ params: { at } })),
      ),
    );
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    expect(made.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
  });

  it('that only enqueue make schedules which workers hear of', async () => {
    const database = createDatabase();
    const worker = await boot({ database });
    const producer = await boot({ database, options: { role: 'producer' } });
    const startAt = new Date(Date.now() + 100);
    await producer.schedules.upsert(hourly({ type: Quick, startAt }));
    const job = await until(
      async () => (await jobsOf(worker, worker.schedules, 'hourly'))[0],
      'a job',
    );
    expect(await waitForStatus(worker.jobs, job.id, 'completed')).toMatchObject({
      kind: 'periodic',
    });
  });

  it('find what another one had taken when it died', async () => {
    const app = await boot();
    const schedule = await app.schedules.upsert(hourly({ type: Quick }));
    const now = Date.now();
    // As a claim leaves it: taken, and due again when the claim is over.
    await app.sql(
      `UPDATE job_schedule_times SET next_run_at_ms = ${now - 5}, due_at_ms = ${now + 400}, revision = revision + 1`,
    );
    await until(async () => (await slotsOf(app, schedule.id)).length === 1, 'the slot');
    expect(await slotsOf(app, schedule.id)).toMatchObject([{ slot: now - 5 }]);
  });
});
