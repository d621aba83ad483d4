import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import type { SqliteStore } from '../../lib/store/typeorm/sqlite-store.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'quick', maxRetries: 1, retryDelay: 150 })
class Quick implements JobHandler {
  execute(ctx: JobContext): string {
    if (ctx.params === 'fails once' && ctx.attempt === 1) {
      throw new Error('once');
    }
    return 'quick';
  }
}

/** The time that nobody has tampered with. */
const trueNow = (): number => performance.timeOrigin + performance.now();

const HOUR = 3_600_000;

afterEach(() => {
  vi.useRealTimers();
});

describe.each([
  ['an hour ahead', HOUR],
  ['an hour behind', -HOUR],
  ['a year ahead', 365 * 24 * HOUR],
])('with the clock of the process %s', (_, shift) => {
  beforeEach(() => {
    // Only what the process believes: the database goes by a clock of its own.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + shift });
  });

  it('times, delays, retries and leases go by the clock of the database', async () => {
    const app = await bootJobs({
      types: [Held, Quick],
      options: { lease: { duration: '1s', sweep: '200ms' }, queues: { default: 10 } },
    });
    const held = await app.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(held.id);
    expect(Math.abs(held.scheduledAt.getTime() - trueNow())).toBeLessThan(5000);

    const delayed = await app.jobs.enqueue(Quick, undefined, { delay: 300 });
    expect(delayed).toMatchObject({ kind: 'scheduled', waitingFor: 'time' });
    const asked = performance.now();
    const ended = await waitForEnd(app.jobs, delayed.id);
    expect(ended).toMatchObject({ status: 'completed', result: 'quick' });
    expect(performance.now() - asked).toBeGreaterThan(200);
    expect(Math.abs((ended.finishedAt as Date).getTime() - trueNow())).toBeLessThan(5000);

    expect(await app.run(Quick, 'fails once')).toMatchObject({ status: 'completed', retries: 1 });

    // The lease has been over by the process's clock, and renewed by the database's.
    const begun = performance.now();
    await until(() => performance.now() > begun + 1300, 'more than a lease');
    expect(ctx.signal.aborted).toBe(false);
    expect(await app.jobs.get(held.id)).toMatchObject({ status: 'running', lost: 0, revision: 1 });
    release('done');
    expect((await waitForEnd(app.jobs, held.id)).result).toBe('done');
  });
});

describe('with the clock of the database set back by 50 s', () => {
  it('jobs that start now may start whenever they are claimed, and are no earlier than those before', async () => {
    const app = await bootJobs({
      types: [Held, Quick],
      options: { role: 'producer', queues: { default: 1 } },
    });
    const before = await app.jobs.enqueue(Quick);
    const { clock } = app.get<{ store: SqliteStore }>(JOBS_ENGINE).store;
    clock.shiftMs = -50_000;
    const after = await app.jobs.enqueue(Quick);
    expect(after.scheduledAt.getTime()).toBeGreaterThanOrEqual(before.scheduledAt.getTime());
    expect(after.runAt.getTime()).toBeLessThan(before.runAt.getTime() - 40_000);
    expect(await app.jobs.get(after.id)).toMatchObject({ status: 'waiting', waitingFor: 'worker' });
    await app.jobs.update(after.id, { priority: 1 });
    expect(await app.jobs.get(after.id)).toMatchObject({ status: 'waiting', waitingFor: 'worker' });
  });
});
