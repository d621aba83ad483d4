import {
  firstValueFrom,
  lastValueFrom,
  take,
  tap,
  toArray,
  ReplaySubject,
  type Observable,
} from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobEvent, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus, within } from '../support/waiting.js';

const gate = handlerGate();
const UNKNOWN = '01890000-0000-7000-8000-000000000000';

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Held, Quick], lifetime: 'file' });
});

function all(events$: Observable<JobEvent>): Promise<JobEvent[]> {
  return within(lastValueFrom(events$.pipe(toArray())), 'the stream');
}

describe('watch', () => {
  it('replays the present status of a waiting job, then tells every change, then completes', async () => {
    await app.queues.pause('default');
    const { id } = await app.jobs.enqueue(Held);
    // One watcher: of two the second one may be told before the first.
    const told = new ReplaySubject<JobEvent>();
    app.jobs.watch(id).subscribe(told);
    const first = await firstValueFrom(told);
    expect(first).toMatchObject({
      type: 'status',
      jobId: id,
      status: 'waiting',
      runId: null,
      progress: 0,
    });
    expect(first.at).toBeInstanceOf(Date);

    await app.queues.resume('default');
    (await gate.entry(id)).release();
    const events = (await all(told)).filter((event) => event.type === 'status');
    expect(events.map((event) => event.status)).toEqual(['waiting', 'running', 'completed']);
    expect(events.map((event) => event.from)).toEqual([events[0]?.from, 'waiting', 'running']);
    expect(events[1]?.runId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('has sequences that only grow', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const stream = all(app.jobs.watch(id));
    await gate.entry(id);
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.resume(id);
    (await gate.entry(id, 2)).release();
    const events = (await stream).filter((event) => event.type === 'status');
    for (let n = 1; n < events.length; n += 1) {
      expect(events[n]?.sequence).toBeGreaterThan(events[n - 1]?.sequence ?? Infinity);
    }
    expect(events.at(-1)?.status).toBe('completed');
    expect(events.at(-1)?.sequence).toBe((await app.jobs.get(id)).sequence);
  });

  it('gives one event and completes for a job that has ended', async () => {
    const job = await app.run(Quick);
    expect(await all(app.jobs.watch(job.id))).toMatchObject([
      { type: 'status', status: 'completed', progress: 1, sequence: job.sequence },
    ]);
  });

  it('does not end when the job is suspended', async () => {
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    const stream = all(app.jobs.watch(id));
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.cancel(id, { reason: 'over' });
    const events = await stream;
    expect(events.at(-1)?.status).toBe('canceled');
    expect(events.map((event) => event.status)).toContain('suspended');
  });

  it('completes, and does not error, when the job fails', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const stream = all(app.jobs.watch(id));
    (await gate.entry(id)).fail(new Error('broke'));
    expect((await stream).at(-1)).toMatchObject({ status: 'failed' });
  });

  it('tells progress between the changes', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const stream = all(app.jobs.watch(id));
    const { ctx, release } = await gate.entry(id);
    ctx.progress(0.5, 'half');
    await until(async () => (await app.jobs.get(id)).progress === 0.5);
    const running = await app.jobs.get(id);
    release();
    const progress = (await stream).filter((event) => event.type === 'progress');
    expect(progress.at(-1)).toMatchObject({ progress: 0.5, message: 'half', status: 'running' });
    // Progress takes no sequence of its own.
    expect(progress.at(-1)?.sequence).toBe(running.sequence);
  });

  it('does not tell the same twice', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const stream = all(app.jobs.watch(id));
    const { release } = await gate.entry(id);
    for (let n = 0; n < 5; n += 1) {
      await app.jobs.update(id, { tags: [`t${n}`] });
      await app.jobs.resume(id);
    }
    release();
    const keys = (await stream).map((event) =>
      JSON.stringify([event.sequence, event.type, event.status, event.progress]),
    );
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('goes on after the sequence given: nothing the client has is told again', async () => {
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    const now = await app.jobs.get(id);
    const rest = all(app.jobs.watch(id, { after: now.sequence }));
    (await gate.entry(id)).release();
    const events = (await rest).filter((event) => event.type === 'status');
    expect(events.map((event) => event.status)).toEqual(['completed']);

    const ended = await app.jobs.get(id);
    expect(await all(app.jobs.watch(id, { after: ended.sequence }))).toEqual([]);
    expect(
      (await all(app.jobs.watch(id, { after: now.sequence }))).map((event) => event.status),
    ).toEqual(['completed']);
  });

  it('sees what another application on the database does', async () => {
    const far = await bootJobs({
      types: [Held, Quick],
      options: { role: 'producer' },
      database: app.database,
    });
    const { id } = await far.jobs.enqueue(Held);
    const stream = all(far.jobs.watch(id));
    (await gate.entry(id)).release();
    const statuses = (await stream).map((event) => event.status);
    expect(statuses.at(-1)).toBe('completed');
    const order = ['waiting', 'running', 'completed'];
    const positions = statuses.map((status) => order.indexOf(status));
    expect([...positions].sort((a, b) => a - b)).toEqual(positions);
  });

  it('completes when the job is deleted', async () => {
    const { id } = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const told = new ReplaySubject<JobEvent>();
    app.jobs.watch(id).subscribe(told);
    await firstValueFrom(told);
    await app.jobs.delete(id);
    expect((await all(told)).map((event) => event.status)).toEqual(['waiting']);
  });

  it('does nothing until it is subscribed to, and stops when nobody listens', async () => {
    const { id } = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const events$ = app.jobs.watch(id);
    expect((await firstValueFrom(events$.pipe(take(1)))).status).toBe('waiting');
    await app.jobs.cancel(id);
    expect((await all(events$)).map((event) => event.status)).toEqual(['canceled']);
  });

  it.each([
    ['an unknown job', UNKNOWN, 'not_found'],
    ['something that is no id', 'nonsense', 'invalid_request'],
  ])('errors for %s', async (_, id, code) => {
    expect(await codeOf(all(app.jobs.watch(id)))).toBe(code);
  });

  it('errors for a job of another tenant', async () => {
    const { id } = await app.jobs.enqueue(Quick, undefined, { tenantId: 'a', delay: '1h' });
    expect(await codeOf(all(app.jobs.watch(id, { tenantId: 'b' })))).toBe('not_found');
    expect((await firstValueFrom(app.jobs.watch(id, { tenantId: 'a' }))).status).toBe('waiting');
  });
});

describe('wait', () => {
  it('resolves with the job at its end, whichever it is', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const waiting = app.jobs.wait(id);
    (await gate.entry(id)).fail(new Error('broke'));
    expect(await waiting).toMatchObject({ id, status: 'failed' });
    expect(await app.jobs.wait(id)).toMatchObject({ id, status: 'failed' });
  });

  it('rejects with not_finished at its deadline, and the job goes on', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    const error = await refusal(app.jobs.wait(id, { timeout: '50ms' }));
    expect(error.code).toBe('not_finished');
    expect((await app.jobs.get(id)).status).toBe('running');
    release();
    expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
  });

  it('is not ended by a suspension', async () => {
    const { id } = await app.jobs.enqueue(Held);
    await gate.entry(id);
    const waiting = app.jobs.wait(id, { timeout: '8s' });
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.resume(id);
    (await gate.entry(id, 2)).release('after all');
    expect((await waiting).result).toBe('after all');
  });

  it('with 0 answers at once', async () => {
    const { id } = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    expect(await codeOf(app.jobs.wait(id, { timeout: 0 }))).toBe('not_finished');
    const ended = await app.run(Quick);
    expect((await app.jobs.wait(ended.id, { timeout: 0 })).status).toBe('completed');
  });

  it('can be given up by its signal, which does not touch the job', async () => {
    const { id } = await app.jobs.enqueue(Held, undefined, { delay: '1h' });
    const stop = new AbortController();
    const waiting = app.jobs.wait(id, { signal: stop.signal });
    stop.abort(new Error('gone home'));
    await expect(waiting).rejects.toThrow();
    expect((await app.jobs.get(id)).status).toBe('waiting');
    await expect(app.jobs.wait(id, { signal: AbortSignal.abort() })).rejects.toThrow();
  });

  it('longer than a timer can hold does not end at once', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    const waiting = app.jobs.wait(id, { timeout: '60d' });
    expect((await app.run(Quick)).status).toBe('completed');
    release('patient');
    expect((await waiting).result).toBe('patient');
  });

  it.each([
    [UNKNOWN, 'not_found'],
    ['nonsense', 'invalid_request'],
  ])('for %s is refused', async (id, code) => {
    expect(await codeOf(app.jobs.wait(id, { timeout: 0 }))).toBe(code);
  });

  it('ends with the application: wait says not_finished, watch completes', async () => {
    const closing = await bootJobs({ types: [Held, Quick] });
    const { id } = await closing.jobs.enqueue(Held, undefined, { delay: '1h' });
    const waiting = codeOf(closing.jobs.wait(id));
    const seen: string[] = [];
    const stream = all(closing.jobs.watch(id).pipe(tap(({ status }) => seen.push(status))));
    await until(() => seen.length > 0, 'the present state');
    await closing.close();
    expect(await within(waiting, 'the wait')).toBe('not_finished');
    await stream;
    expect(seen).toEqual(['waiting']);
  });

  it('by many costs little: a thousand waiters of one job', async () => {
    const { id } = await app.jobs.enqueue(Held);
    const waiters = Promise.all(Array.from({ length: 1000 }, () => app.jobs.wait(id)));
    (await gate.entry(id)).release('for all');
    expect((await waiters).every((job) => job.result === 'for all')).toBe(true);
  });
});
