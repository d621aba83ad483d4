import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler, type OnJobResume } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { isFile } from '../support/databases.js';
import { deferred, handlerGate } from '../support/gate.js';
import { RollBack } from '../support/notes.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();
const resuming = deferred();

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler, OnJobResume {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
  onJobResume(): Promise<void> {
    return resuming.promise;
  }
}

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

/** Waits inside a transaction of its own, and behind it. */
@JobType({ name: 'transacting' })
class Transacting implements JobHandler {
  async execute(ctx: JobContext): Promise<unknown> {
    await ctx
      .transaction(() => gate.hold(ctx))
      .catch((error: unknown) => {
        if (!(error instanceof RollBack)) {
          throw error;
        }
      });
    return gate.hold(ctx);
  }
}

/** The only one that some workers take. */
@JobType({ name: 'decoy' })
class Decoy implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

const types = [Held, Quick, Transacting];

/** A worker that renews so seldom that a lease taken from it stays taken. */
const slow = {
  lease: { duration: '10m', sweep: '5m' },
  grace: { shutdown: '50ms', signal: '50ms' },
};
/** One that looks for lost leases all the time. */
const sweeping = { lease: { duration: '1s', sweep: '200ms', maxLost: 1 }, queues: { default: 20 } };

/** The lease of a run is over by the database's clock, as if its process had died long ago. */
async function expireLease(app: BootedJobs, id: string): Promise<void> {
  // By its number: on MariaDB a search for the id would wait for every row that somebody has locked.
  const [row] = await app.sql<{ seq: string }>(`SELECT seq FROM jobs WHERE job_id = '${id}'`);
  await app.sql(
    `UPDATE jobs SET lease_until_ms = 1 WHERE seq = ${row?.seq} AND lease_until_ms IS NOT NULL`,
  );
}

describe('a lease', () => {
  it('is renewed: a run longer than its lease is not taken away', async () => {
    const app = await bootJobs({ types, options: sweeping });
    const { id } = await app.jobs.enqueue(Held);
    const { release, ctx } = await gate.entry(id);
    const started = Date.now();
    await until(() => Date.now() > started + 2500, 'two and a half leases');
    expect(ctx.signal.aborted).toBe(false);
    release('long');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'long',
      lost: 0,
      revision: 1,
    });
  });

  it('that is lost gives the job to another worker, counted in lost and not as a retry', async () => {
    const first = await bootJobs({ types, options: slow });
    const { id } = await first.jobs.enqueue(Held);
    const stale = await gate.entry(id);
    const second = await bootJobs({ types, options: sweeping, database: first.database });
    await expireLease(first, id);

    const fresh = await gate.entry(id, 2);
    expect(fresh.ctx.attempt).toBe(2);
    expect(await second.jobs.get(id)).toMatchObject({
      status: 'running',
      lost: 1,
      retries: 0,
      revision: 2,
    });

    // The late worker can write nothing any more, and is told so.
    expect(await codeOf(stale.ctx.checkpoint('late'))).toBe('lease_lost');
    expect(stale.ctx.signal.reason).toMatchObject({ code: 'lease_lost' });
    expect(await codeOf(stale.ctx.setResult('late'))).toBe('lease_lost');
    expect(await codeOf(stale.ctx.enqueue(Quick))).toBe('lease_lost');
    expect((await second.jobs.list({ upstreamJobId: id })).total).toBe(0);
    stale.ctx.log.info('late line');
    stale.release('late result');
    expect((await first.run(Quick)).result).toBe('quick');
    expect(await second.jobs.get(id)).toMatchObject({
      status: 'running',
      state: null,
      result: null,
    });

    fresh.release('fresh result');
    expect(await waitForEnd(second.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'fresh result',
      lost: 1,
    });
    expect((await second.jobs.runs(id)).map((run) => run.outcome)).toEqual(['lost', 'completed']);
  });

  it('cannot be finished with by its late worker: a return and a throw change nothing', async () => {
    const first = await bootJobs({ types, options: { ...slow, queues: { default: 20 } } });
    const ids: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      ids.push((await first.jobs.enqueue(Held)).id);
    }
    const stale = await Promise.all(ids.map((id) => gate.entry(id)));
    const second = await bootJobs({ types, options: sweeping, database: first.database });
    for (const id of ids) {
      await expireLease(first, id);
    }
    const fresh = await Promise.all(ids.map((id) => gate.entry(id, 2)));
    stale[0]?.release('late');
    stale[1]?.fail(new Error('late'));
    stale[2]?.fail(null);
    expect((await first.run(Quick)).result).toBe('quick');
    for (const [n, id] of ids.entries()) {
      expect(await second.jobs.get(id)).toMatchObject({
        status: 'running',
        revision: 2,
        error: null,
      });
      fresh[n]?.release(n);
      expect(await waitForEnd(second.jobs, id)).toMatchObject({ status: 'completed', result: n });
    }
  });

  it('lost once too often makes the job failed with "worker lost"', async () => {
    const first = await bootJobs({ types, options: slow });
    const { id } = await first.jobs.enqueue(Held);
    await gate.entry(id);
    await first.sql(`UPDATE jobs SET lost = 1 WHERE job_id = '${id}'`);
    const second = await bootJobs({
      types,
      options: { ...sweeping, role: 'both' },
      database: first.database,
    });
    await expireLease(first, id);
    const job = await waitForEnd(second.jobs, id);
    expect(job).toMatchObject({ status: 'failed', retries: 0 });
    expect(job.error).toMatch(/worker lost/i);
    expect((await second.jobs.runs(id)).at(-1)).toMatchObject({ outcome: 'lost' });
  });

  it.each([
    ['canceling', 'canceled'],
    ['suspending', 'suspended'],
  ] as const)('lost while %s makes the job %s', async (during, after) => {
    const first = await bootJobs({
      types,
      options: { ...slow, grace: { shutdown: '50ms', signal: '1h' } },
    });
    const { id } = await first.jobs.enqueue(Held);
    await gate.entry(id);
    await (during === 'canceling' ? first.jobs.cancel(id) : first.jobs.suspend(id));
    expect((await first.jobs.get(id)).status).toBe(during);
    const second = await bootJobs({ types, options: sweeping, database: first.database });
    await expireLease(first, id);
    expect(await waitForStatus(second.jobs, id, after)).toMatchObject({ status: after });
  });

  it('of a job that is resuming is a lease too: its process died, so it is suspended again', async () => {
    const first = await bootJobs({ types, options: slow });
    const { id } = await first.jobs.enqueue(Held, undefined, { delay: '1h', state: 'kept' });
    await first.jobs.suspend(id);
    const resume = codeOf(first.jobs.resume(id));
    await waitForStatus(first.jobs, id, 'resuming');
    const second = await bootJobs({ types, options: sweeping, database: first.database });
    await expireLease(first, id);
    expect(await waitForStatus(second.jobs, id, 'suspended')).toMatchObject({ state: 'kept' });
    resuming.resolve();
    // The late callback must not resume what was put back.
    expect(await resume).not.toBe('ok');
    expect((await second.jobs.get(id)).status).toBe('suspended');
  });
});

describe('a lease of a job whose row somebody keeps locked', () => {
  /** A worker that renews every third of a second, and looks for no lost leases after its first look. */
  const renewing = { ...sweeping, lease: { duration: '1s', sweep: '10m', maxLost: 1 } };

  async function leaseOf(app: BootedJobs, id: string): Promise<number> {
    const [row] = await app.sql<{ lease: string | number }>(
      `SELECT lease_until_ms AS lease FROM jobs WHERE job_id = '${id}'`,
    );
    return Number(row?.lease);
  }

  /** An application that looks for lost leases all the time, and `sweep`: has it look at all there are. */
  async function reaping(
    beside: BootedJobs,
  ): Promise<{ readonly other: BootedJobs; readonly sweep: () => Promise<void> }> {
    const other = await bootJobs({
      types: [Decoy],
      options: { ...slow, lease: { duration: '10m', sweep: '200ms', maxLost: 1000 } },
      database: beside.database,
    });
    const { id } = await other.jobs.enqueue(Decoy);
    let runs = 1;
    await gate.entry(id);
    const sweep = async (): Promise<void> => {
      // The sweep that takes it back the first time may have begun before it was asked for.
      for (const end = runs + 2; runs < end;) {
        await expireLease(other, id);
        await gate.entry(id, (runs += 1));
      }
    };
    return { other, sweep };
  }

  it('outlasts its own transaction, however long that is', async () => {
    const app = await bootJobs({ types, options: renewing });
    const { other, sweep } = await reaping(app);
    const { id } = await app.jobs.enqueue(Transacting);
    const inside = await gate.entry(id);
    await until(async () => (await leaseOf(app, id)) < Date.now() - 100, 'the end of the lease');
    if (!isFile) {
      // On SQLite nobody else writes meanwhile.
      await sweep();
    }
    inside.release();
    const behind = await gate.entry(id, 2);
    await sweep();
    behind.release('kept');
    expect(await waitForEnd(other.jobs, id)).toMatchObject({
      status: 'completed',
      result: 'kept',
      lost: 0,
      revision: 1,
    });
  });

  it('outlasts a long transaction of its own also when that is rolled back', async () => {
    const app = await bootJobs({ types, options: renewing });
    const { id } = await app.jobs.enqueue(Transacting);
    const inside = await gate.entry(id);
    await until(async () => (await leaseOf(app, id)) < Date.now() - 100, 'the end of the lease');
    const rolledBackAt = Date.now();
    inside.fail(new RollBack());
    const behind = await gate.entry(id, 2);
    expect(await leaseOf(app, id)).toBeGreaterThan(rolledBackAt);
    behind.release('kept');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', lost: 0 });
  });

  it('is extended by a check-in, and by a transaction, when half of it is over', async () => {
    const app = await bootJobs({ types, options: slow });
    const { id } = await app.jobs.enqueue(Held);
    const { ctx } = await gate.entry(id);
    const extended = async (deed: () => Promise<unknown>): Promise<boolean> => {
      const soon = Date.now() + 60_000;
      await app.sql(`UPDATE jobs SET lease_until_ms = ${soon} WHERE job_id = '${id}'`);
      await deed();
      return (await leaseOf(app, id)) > soon;
    };
    expect(await extended(() => ctx.checkIn('far'))).toBe(true);
    expect(await extended(() => ctx.transaction(async () => Promise.resolve()))).toBe(true);
    const later = Date.now() + 590_000;
    await app.sql(`UPDATE jobs SET lease_until_ms = ${later} WHERE job_id = '${id}'`);
    await ctx.checkIn('farther');
    await ctx.transaction(async () => Promise.resolve());
    expect(await leaseOf(app, id)).toBe(later);
  });

  if (!isFile) {
    it('is not lost while a transaction of the application has it, nor then', async () => {
      const app = await bootJobs({ types, options: renewing });
      const { other, sweep } = await reaping(app);
      const { id } = await app.jobs.enqueue(Held);
      const { ctx, release } = await gate.entry(id);
      await other.dataSource.transaction(async (manager) => {
        await other.jobs.enqueue(Decoy, undefined, { dependsOn: [id], manager });
        await until(
          () => other.log.texts('warn').some((text) => text.includes('could not be extended')),
          'the warning',
        );
        await until(async () => (await leaseOf(app, id)) < Date.now(), 'the end of the lease');
        await sweep();
      });
      await until(async () => (await leaseOf(app, id)) > Date.now(), 'a longer lease');
      await sweep();
      expect(ctx.signal.aborted).toBe(false);
      release('kept');
      expect(await waitForEnd(app.jobs, id)).toMatchObject({
        status: 'completed',
        result: 'kept',
        lost: 0,
        revision: 1,
      });
    });

    it('is extended by waiting in line, where one transaction after the other locks it', async () => {
      const app = await bootJobs({ types, options: renewing });
      const { id } = await app.jobs.enqueue(Held);
      const { release } = await gate.entry(id);
      let isOver = false;
      const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10));
      /** The next one is in line for the row before the one before lets it go. */
      const lockAgainAndAgain = async (): Promise<void> => {
        while (!isOver) {
          await app.dataSource
            .transaction(async (manager) => {
              await app.jobs.enqueue(Quick, undefined, { dependsOn: [id], manager });
              await pause();
              throw new RollBack();
            })
            .catch((error: unknown) => expect(error).toBeInstanceOf(RollBack));
        }
      };
      const locking = [1, 2, 3].map(lockAgainAndAgain);
      try {
        let last = await leaseOf(app, id);
        for (let extended = 0; extended < 4; extended += 1) {
          last = await until(async () => {
            const now = await leaseOf(app, id);
            return now > last + 200 && now;
          }, 'a longer lease');
        }
      } finally {
        isOver = true;
        await Promise.all(locking);
      }
      release('kept');
      expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', lost: 0 });
    });
  }
});

describe('a restart', () => {
  it('touches nothing that waits, delayed, suspended or due', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const due = await app.jobs.enqueue(Quick, undefined, { channel: 'nobody' });
    const delayed = await app.jobs.enqueue(Quick, undefined, { delay: '1h' });
    const suspended = await app.jobs.enqueue(Held);
    await app.jobs.suspend(suspended.id);
    const before = await Promise.all([due, delayed, suspended].map(({ id }) => app.jobs.get(id)));
    await app.close();

    const again = await bootJobs({ types, options: sweeping, database: app.database });
    expect((await again.run(Quick)).result).toBe('quick');
    expect(
      await Promise.all([due, delayed, suspended].map(({ id }) => again.jobs.get(id))),
    ).toEqual(before);
  });

  it('touches nothing that runs on another node', async () => {
    const first = await bootJobs({ types, options: slow });
    const { id } = await first.jobs.enqueue(Held);
    const { release } = await gate.entry(id);
    for (let n = 0; n < 3; n += 1) {
      const other = await bootJobs({ types, options: sweeping, database: first.database });
      expect((await other.run(Quick)).result).toBe('quick');
      await other.close();
    }
    expect(await first.jobs.get(id)).toMatchObject({ status: 'running', lost: 0, revision: 1 });
    release('undisturbed');
    expect((await waitForEnd(first.jobs, id)).result).toBe('undisturbed');
  });
});

describe('a cancel', () => {
  it('reaches a handler of another application on the database', async () => {
    const worker = await bootJobs({ types });
    const other = await bootJobs({
      types,
      options: { role: 'producer' },
      database: worker.database,
    });
    const { id } = await other.jobs.enqueue(Held);
    const { ctx, release } = await gate.entry(id);
    const asked = performance.now();
    await other.jobs.cancel(id, { reason: 'from afar' });
    await until(() => ctx.signal.aborted, 'the signal');
    // The contract says within a second on another node; the rest is for a busy machine.
    expect(performance.now() - asked).toBeLessThan(2000);
    expect(ctx.signal.reason).toMatchObject({ code: 'canceled' });
    release();
    expect(await waitForEnd(other.jobs, id)).toMatchObject({
      status: 'canceled',
      details: 'from afar',
    });
  });

  it('of a suspend reaches it too', async () => {
    const worker = await bootJobs({ types });
    const other = await bootJobs({
      types,
      options: { role: 'producer' },
      database: worker.database,
    });
    const { id } = await other.jobs.enqueue(Held);
    const { ctx, fail } = await gate.entry(id);
    await other.jobs.suspend(id);
    await until(() => ctx.signal.aborted, 'the signal');
    expect(ctx.signal.reason).toMatchObject({ code: 'suspended' });
    fail(ctx.signal.reason);
    await waitForStatus(other.jobs, id, 'suspended');
  });
});
