import { lastValueFrom, tap, toArray, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobEvent, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import type { TestDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus, within } from '../support/waiting.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const gate = handlerGate();

@JobType({ name: 'held', suspendable: true, maxRetries: 0 })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

interface Milestone {
  readonly count: number;
  readonly padding?: number;
}

@JobType({ name: 'milestones' })
class Milestones implements JobHandler<Milestone> {
  async execute(ctx: JobContext<Milestone>): Promise<void> {
    for (let at = 1; at <= ctx.params.count; at += 1) {
      await ctx.checkIn(`milestone ${at}${'.'.repeat(ctx.params.padding ?? 0)}`);
    }
  }
}

@JobType({ name: 'twice', maxRetries: 1, retryDelay: 0 })
class Twice implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    await ctx.checkIn(`attempt ${ctx.attempt}`);
    if (ctx.attempt === 1) {
      throw new Error('Not yet.');
    }
  }
}

function boot(database?: TestDatabase, options: object = {}): Promise<BootedJobs> {
  return bootJobs({
    types: [Held, Milestones, Twice],
    options,
    ...(database === undefined ? {} : { database }),
  });
}

/** All that is told but progress. */
function told(events$: Observable<JobEvent>): Promise<JobEvent[]> {
  return within(lastValueFrom(events$.pipe(toArray())), 'the stream', 30_000).then((events) =>
    events.filter(({ type }) => type !== 'progress'),
  );
}

/** The same, once the stream has told where the job stands: what happens from here on is told one by one. */
async function listening(
  events$: Observable<JobEvent>,
): Promise<{ readonly events: Promise<JobEvent[]> }> {
  const heard: JobEvent[] = [];
  const events = told(events$.pipe(tap((event) => heard.push(event))));
  await until(() => heard.length, 'the state of the job to be told');
  return { events };
}

/** How an event reads in a line. */
function line({ sequence, type, status, message, actor }: JobEvent): string {
  return [sequence, type, status, message, actor].filter((each) => each !== undefined).join(' ');
}

describe('ctx.checkIn', () => {
  it('is stored with the job and in its stream, each with a sequence of its own', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    const { events } = await listening(jobs.watch(id));
    await ctx.checkIn('packed');
    expect(await jobs.get(id)).toMatchObject({ checkIn: 'packed', sequence: 3, status: 'running' });
    await ctx.checkIn('sent');
    release();
    const job = await waitForEnd(jobs, id);
    expect(job).toMatchObject({ checkIn: 'sent', status: 'completed', sequence: 5 });
    expect(job.checkInAt).toBeInstanceOf(Date);
    expect((await events).slice(-3).map(line)).toEqual([
      '3 check_in running packed',
      '4 check_in running sent',
      '5 status completed',
    ]);
  });

  it.each(['', '   ', 7, undefined, null])('refuses %s', async (message) => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx } = await gate.entry(id);
    expect(await codeOf(ctx.checkIn(message as string))).toBe('invalid_request');
    expect(await jobs.get(id)).toMatchObject({ checkIn: null, sequence: 2 });
  });

  it('keeps what no database stores alike as U+FFFD, as progress and lines do', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    await ctx.checkIn('a\0b\ud800c');
    ctx.progress(0.5, 'a\0b\ud800c');
    ctx.log.info('a\0b\ud800c');
    release();
    const kept = 'a\ufffdb\ufffdc';
    const job = await waitForEnd(jobs, id);
    expect(job).toMatchObject({ checkIn: kept, progressDetails: kept });
    expect((await jobs.logs(id)).lines).toMatchObject([{ message: kept }]);
  });

  it('refuses a message that is too large', async () => {
    const { jobs } = await boot(undefined, { limits: { logLine: 10 } });
    const { id } = await jobs.enqueue(Held);
    const { ctx } = await gate.entry(id);
    expect(await codeOf(ctx.checkIn('12345678901'))).toBe('too_large');
    await ctx.checkIn('1234567890');
  });

  it('of a run that is over is refused, and changes nothing', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    release();
    await waitForEnd(jobs, id);
    expect(await codeOf(ctx.checkIn('too late'))).toBe('lease_lost');
    expect((await jobs.get(id)).checkIn).toBeNull();
  });

  it('joins a transaction of the handler: a roll-back takes it along', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    const failed = ctx.transaction(async () => {
      await ctx.checkIn('not to be');
      throw new Error('rolled back');
    });
    await expect(failed).rejects.toThrow('rolled back');
    expect((await jobs.get(id)).checkIn).toBeNull();
    await ctx.transaction(async () => {
      await ctx.checkIn('for good');
    });
    release();
    const job = await waitForEnd(jobs, id);
    expect(job).toMatchObject({ checkIn: 'for good', status: 'completed' });
  });
});

describe('what an operator does', () => {
  it('is an event with who did it and why', async () => {
    const { jobs, queues } = await boot();
    await queues.pause('default');
    const { id } = await jobs.enqueue(Held);
    const { events } = await listening(jobs.watch(id, { after: 0 }));
    const by = (reason: string) => ({ actor: 'ada', reason });
    await jobs.suspend(id, by('later'));
    await jobs.resume(id, by('now'));
    await jobs.update(id, { priority: 5 }, by('urgent'));
    await jobs.cancel(id, by('no more'));
    const lines = (await events).map(line);
    expect(lines).toEqual([
      '1 status waiting',
      '2 status suspended later ada',
      '3 status resuming now ada',
      '4 status waiting now ada',
      '5 status waiting urgent ada',
      '6 status canceled no more ada',
    ]);
    expect((await told(jobs.watch(id, { after: 1 }))).map(line)).toEqual([
      '2 status suspended later ada',
      '3 status resuming now ada',
      '4 status waiting now ada',
      '5 status waiting urgent ada',
      '6 status canceled no more ada',
    ]);
  });

  it('also counts for retry, skip, fail, unlock and delete', async () => {
    const { jobs, queues } = await boot();
    const other = await jobs.enqueue(Held);
    await gate.entry(other.id);
    const locked = await jobs.enqueue(Held);
    const { ctx } = await gate.entry(locked.id);
    const lock = ctx.lockOn(other.id).catch(() => undefined);
    await waitForStatus(jobs, locked.id, 'locked');
    await jobs.unlock(locked.id, { actor: 'ada', reason: 'go on' });
    await lock;
    const before = await jobs.get(locked.id);
    await jobs.cancel(locked.id);
    await waitForEnd(jobs, locked.id);
    const unlocked = await told(jobs.watch(locked.id, { after: 2 }));
    expect(unlocked.map(line)).toContainEqual(expect.stringMatching(/go on ada$/));
    expect(before.status).toBe('running');

    await queues.pause('default');
    const skipped = await jobs.enqueue(Held);
    await jobs.skip(skipped.id, { actor: 'ada', reason: 'not needed' });
    expect((await told(jobs.watch(skipped.id, { after: 1 }))).map(line)).toEqual([
      '2 status skipped not needed ada',
    ]);
    const failed = await jobs.enqueue(Held);
    await jobs.fail(failed.id, { actor: 'ada', reason: 'broken' });
    await jobs.retry(failed.id, { actor: 'bob', reason: 'mended' });
    const { events } = await listening(jobs.watch(failed.id, { after: 2 }));
    await jobs.delete(failed.id, { actor: 'ada', reason: 'a mistake' });
    expect((await events).map(line)).toEqual([
      '3 status waiting mended bob',
      '4 status waiting a mistake ada',
    ]);
    expect(await codeOf(jobs.get(failed.id))).toBe('not_found');
  });

  it('is not told with the reason of what was done before', async () => {
    const { jobs, queues } = await boot();
    await queues.pause('default');
    const { id } = await jobs.enqueue(Held);
    await jobs.fail(id, { actor: 'ada', reason: 'broken' });
    await jobs.retry(id, { actor: 'ada', reason: 'again' });
    expect(await jobs.cancel(id, { actor: 'bob' })).toMatchObject({ details: null });
    expect((await told(jobs.watch(id, { after: 2 }))).map(line)).toEqual([
      '3 status waiting again ada',
      expect.stringMatching(/^4 status canceled +bob$/),
    ]);
  });

  it('of a run that begins is not told with the error of the one before', async () => {
    const { jobs, queues } = await boot();
    await queues.pause('default');
    const { id } = await jobs.enqueue(Twice);
    const { events } = await listening(jobs.watch(id));
    await queues.resume('default');
    await waitForEnd(jobs, id);
    for (const all of [await events, await told(jobs.watch(id, { after: 0 }))]) {
      const running = all.filter(({ type, status }) => type === 'status' && status === 'running');
      expect(running.at(-1)?.sequence).toBeGreaterThan(3);
      expect(running.map(({ message }) => message)).toEqual(running.map(() => undefined));
    }
  });

  it('writes nothing where nobody says who or why', async () => {
    const app = await boot();
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    await app.jobs.cancel(id);
    await waitForEnd(app.jobs, id);
    expect(await app.sql('SELECT * FROM job_events')).toEqual([]);
  });

  it('on a running job of another node does not hide its end', async () => {
    const here = await boot();
    const there = await boot(here.database, { role: 'producer' });
    const { id } = await here.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    const streams = [
      await listening(here.jobs.watch(id, { after: 0 })),
      await listening(there.jobs.watch(id, { after: 0 })),
    ];
    await there.jobs.update(id, { priority: 3 }, { actor: 'ada', reason: 'urgent' });
    release();
    expect((await waitForEnd(here.jobs, id)).status).toBe('completed');
    for (const { events } of streams) {
      const lines = (await events).map(line);
      expect(lines.slice(-2)).toEqual(['3 status running urgent ada', '4 status completed']);
    }
  });
});

describe('a stream from any point', () => {
  it('goes on behind an end that was undone, until the job has ended for good', async () => {
    const { jobs, queues } = await boot();
    await queues.pause('default');
    const { id } = await jobs.enqueue(Held);
    await jobs.fail(id, { actor: 'ada', reason: 'broken' });
    await jobs.retry(id, { actor: 'bob', reason: 'mended' });
    const { events } = await listening(jobs.watch(id, { after: 1 }));
    await queues.resume('default');
    (await gate.entry(id)).release();
    expect((await events).map(line)).toEqual([
      '2 status failed broken ada',
      '3 status waiting mended bob',
      '4 status running mended',
      '5 status completed mended',
    ]);
    expect((await told(jobs.watch(id, { after: 1 }))).map(line)).toEqual([
      '2 status failed broken ada',
      '3 status waiting mended bob',
      '5 status completed mended',
    ]);
  });

  it('is told no faster than its reader is ready, and read a page at a time', async () => {
    const app = await boot();
    const { jobs } = app;
    const { id } = await jobs.enqueue(Milestones, { count: 300, padding: 10_000 });
    await waitForEnd(jobs, id);
    const heard: number[] = [];
    let goOn = (): void => undefined;
    const pause = new Promise<void>((resolve) => (goOn = resolve));
    let isPaused = true;
    const whenReady = () => (isPaused && heard.length === 10 ? pause : undefined);
    const watched$ = jobs.watch(id, { after: 2, whenReady });
    const ended = told(watched$.pipe(tap(({ sequence }) => heard.push(sequence))));
    await until(() => heard.length === 10, 'what the reader takes');
    // What it has not come to yet is in the database only: at most 1 MB was read.
    await app.sql('DELETE FROM job_events WHERE sequence > 200');
    expect(heard).toHaveLength(10);
    isPaused = false;
    goOn();
    await ended;
    expect(heard).toEqual([...Array.from({ length: 198 }, (_, at) => at + 3), 303]);
  });

  it('loses no check-in of a reader that was not ready while they came', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    let goOn = (): void => undefined;
    let pause: Promise<void> | undefined = new Promise((resolve) => (goOn = resolve));
    const events = told(jobs.watch(id, { after: 2, whenReady: () => pause }));
    for (let at = 1; at <= 300; at += 1) {
      await ctx.checkIn(`${at}`);
      ctx.progress(at / 300);
    }
    release();
    await waitForEnd(jobs, id);
    pause = undefined;
    goOn();
    expect((await events).map(({ message }) => message ?? 'ended')).toEqual([
      ...Array.from({ length: 300 }, (_, at) => `${at + 1}`),
      'ended',
    ]);
  });

  it('ends with what its reader throws, and refuses a reader that is no function', async () => {
    const { jobs } = await boot();
    const { id } = await jobs.enqueue(Held, undefined, { delay: '1h' });
    const broken = jobs.watch(id, { whenReady: () => Promise.reject(new Error('gone')) });
    await expect(told(broken)).rejects.toThrow('gone');
    expect(await codeOf(told(jobs.watch(id, { whenReady: 7 as never })))).toBe('invalid_request');
  });

  it('has what came since, nothing lost, doubled or turned round, here and on another node', async () => {
    const here = await boot();
    const there = await boot(here.database, { role: 'producer' });
    const { id } = await here.jobs.enqueue(Milestones, { count: 20 });
    await waitForEnd(here.jobs, id);
    const whole = (await told(here.jobs.watch(id, { after: 0 }))).filter(
      ({ type }) => type === 'check_in',
    );
    expect(whole.map(({ message }) => message)).toEqual(
      Array.from({ length: 20 }, (_, at) => `milestone ${at + 1}`),
    );
    for (const node of [here, there]) {
      for (const after of [1, 2, 7, 21, 22]) {
        const events = await told(node.jobs.watch(id, { after }));
        const sequences = events.map(({ sequence }) => sequence);
        expect(sequences).toEqual(Array.from({ length: 23 - after }, (_, at) => after + 1 + at));
        expect(events.at(-1)).toMatchObject({ type: 'status', status: 'completed' });
      }
    }
  });

  it('tells check-ins while they come, on every node, whole and in order', async () => {
    const here = await boot();
    const there = await boot(here.database, { role: 'producer' });
    const { id } = await here.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    const streams = [await listening(here.jobs.watch(id)), await listening(there.jobs.watch(id))];
    for (let at = 1; at <= 50; at += 1) {
      await ctx.checkIn(`${at}`);
      if (at % 10 === 0) {
        await there.jobs.update(id, { priority: at }, { actor: 'ada', reason: `update ${at}` });
      }
    }
    release();
    for (const stream of streams) {
      const events = await stream.events;
      const sequences = events.map(({ sequence }) => sequence);
      expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => a - b));
      const messages = events.flatMap(({ type, message }) => (type === 'check_in' ? message : []));
      expect(messages).toEqual(Array.from({ length: 50 }, (_, at) => `${at + 1}`));
      expect(events.filter(({ actor }) => actor === 'ada')).toHaveLength(5);
      expect(events.at(-1)?.status).toBe('completed');
    }
  });
});

it('of many large jobs are written and sent a few at a time, each with its job', async () => {
  const receiver = await Receiver.open();
  const { jobs } = await boot(undefined, {
    webhooks: { ...LOOPBACK, secret: SECRET },
  });
  const options = { statusHook: receiver.url, delay: '1h' } as const;
  const outcomes = await jobs.enqueueMany(
    Array.from({ length: 100 }, (_, at) => ({
      type: Held,
      params: { at, text: '"'.repeat(100_000) },
      ...options,
    })),
  );
  await until(() => receiver.hooks.length >= outcomes.length, 'all of them', 30_000);
  const told = receiver.hooks.map(({ event }) => event.data.job['params'] as { at: number });
  expect(told.map(({ at }) => at).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 100 }, (_, at) => at),
  );
}, 60_000);

it('names what is wrong with an option of an operation', async () => {
  const { jobs } = await boot();
  const { id } = await jobs.enqueue(Held);
  const error = await refusal(jobs.unlock(id, { actor: 7 as never }));
  expect(error.code).toBe('invalid_request');
});
