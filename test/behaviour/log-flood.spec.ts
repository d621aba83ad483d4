import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd } from '../support/waiting.js';
import { lockForWriting } from '../support/write-lock.js';

let body: (ctx: JobContext) => unknown = () => undefined;
const gate = handlerGate();

@JobType({ name: 'flood' })
class Flood implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx);
  }
}

@JobType({ group: 'compute', name: 'brief' })
class Brief implements JobHandler {
  execute(ctx: JobContext): unknown {
    return gate.hold(ctx);
  }
}

const types = [Flood, Brief];
/** As large as a line may be. */
const WIDE = 'x'.repeat(16_000);

afterEach(() => {
  body = () => undefined;
});

function logMany(ctx: JobContext, count: number, text = 'line'): void {
  for (let n = 0; n < count; n += 1) {
    ctx.log.info(`${text} ${n}`);
  }
}

async function count(app: BootedJobs, where = '1 = 1'): Promise<number> {
  const [row] = await app.sql<{ n: number }>(`SELECT count(*) AS n FROM job_logs WHERE ${where}`);
  return Number(row?.n);
}

/** The messages as they are stored, in order. */
async function stored(app: BootedJobs): Promise<string[]> {
  const rows = await app.sql<{ message: string }>(`SELECT message FROM job_logs ORDER BY seq`);
  return rows.map((row) => row.message);
}

describe('the log of a job that has ended', () => {
  it.each<[string, (ctx: JobContext) => unknown]>([
    ['completed', (ctx) => logMany(ctx, 3000)],
    [
      'completed',
      async (ctx) => {
        await turn();
        logMany(ctx, 3000);
      },
    ],
    [
      'failed',
      (ctx) => {
        logMany(ctx, 3000);
        throw new Error('after many lines');
      },
    ],
    [
      'skipped',
      (ctx) => {
        logMany(ctx, 3000);
        ctx.skip('after many lines');
      },
    ],
    [
      'completed',
      async (ctx) => {
        logMany(ctx, 1500);
        await ctx.transaction(
          async () => {
            for (let n = 1500; n < 3000; n += 1) {
              ctx.log.info(`line ${n}`);
            }
            return Promise.resolve();
          },
          { complete: true },
        );
      },
    ],
    [
      'completed',
      async (ctx) => {
        await ctx.transaction(
          async () => {
            await turn();
            logMany(ctx, 3000);
          },
          { complete: true },
        );
      },
    ],
  ])('is there, complete and in order, when it is seen as %s', async (status, handler) => {
    const app = await bootJobs({ types });
    body = handler;
    const job = await app.run(Flood);
    expect(await stored(app)).toEqual(Array.from({ length: 3000 }, (_, n) => `line ${n}`));
    expect(job.status).toBe(status);
  });

  it('has what was logged on and on beside a transaction, which begins all the same', async () => {
    const app = await bootJobs({ types, options: { limits: { logLines: 10_000_000 } } });
    let logged = 0;
    body = async (ctx) => {
      let hasBegun = false;
      const logOn = (): void => {
        if (!hasBegun) {
          ctx.log.info(`line ${logged}`);
          logged += 1;
          setImmediate(logOn);
        }
      };
      logOn();
      await ctx.transaction(async () => {
        await turn();
        hasBegun = true;
      });
    };
    expect((await app.run(Flood)).status).toBe('completed');
    expect(await stored(app)).toEqual(Array.from({ length: logged }, (_, n) => `line ${n}`));
  });

  it('has what was logged in a transaction that was rolled back', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      ctx.log.info('before');
      await ctx
        .transaction(
          () => {
            ctx.log.info('inside');
            return Promise.reject(new Error('no'));
          },
          { complete: true },
        )
        .catch(() => undefined);
      ctx.log.info('after');
    };
    await app.run(Flood);
    expect(await stored(app)).toEqual(['before', 'inside', 'after']);
  });
});

describe('more lines than the database takes', () => {
  it('are all stored when they come from many short jobs: later ones start later', async () => {
    const app = await bootJobs({ types, options: { queues: { default: 50 } } });
    body = (ctx) => logMany(ctx, 100, WIDE);
    const outcomes = await app.jobs.enqueueMany(
      Array.from({ length: 50 }, () => ({ type: Flood })),
    );
    for (const { job } of outcomes) {
      await waitForEnd(app.jobs, job?.id ?? '');
    }
    expect(await count(app)).toBe(5000);
    expect(app.log.texts('warn')).toEqual([]);
  });

  it('keep no job from others that was being claimed when they came', async () => {
    const app = await bootJobs({ types, options: { queues: { compute: 1 } } });
    body = async (ctx) => {
      await gate.hold(ctx);
      logMany(ctx, 1000, WIDE);
    };
    const [flood, first, second] = [
      await app.jobs.enqueue(Flood),
      await app.jobs.enqueue(Brief),
      await app.jobs.enqueue(Brief),
    ];
    const [flooding, busy] = [await gate.entry(flood.id), await gate.entry(first.id)];
    const unlock = await lockForWriting(app.dataSource);
    // Its slot is free, and the second is claimed as soon as the lock is.
    busy.release();
    await turn();
    flooding.release();
    await turn();
    await unlock();
    (await gate.entry(second.id)).release();
    // Claimed, given back, claimed and completed: four changes since it was enqueued.
    expect(await waitForEnd(app.jobs, second.id)).toMatchObject({ revision: 1, sequence: 5 });
    await waitForEnd(app.jobs, flood.id);
    expect(await count(app)).toBe(1000);
  });

  it('are left out, counted, with a line that says so and one warning, when one job logs them at once', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      logMany(ctx, 5000, WIDE);
      await ctx.setResult('a write that waits for room');
      ctx.log.info('room again');
    };
    const { id } = await app.run(Flood);
    const { lines } = await app.jobs.logs(id, { tail: 2 });
    const [, left] = /^(\d+) lines were left out here/.exec(lines[0]?.message ?? '') ?? [];
    expect(lines.map((line) => line.level)).toEqual(['warn', 'info']);
    expect(lines[1]?.message).toBe('room again');
    expect(Number(left)).toBeGreaterThan(0);
    expect((await count(app)) - 2 + Number(left)).toBe(5000);
    expect(app.log.texts('warn').filter((text) => text.includes(id))).toHaveLength(1);
    expect(app.log.texts('error')).toEqual([]);
  });

  it('are written before the application has closed, without a word', async () => {
    const app = await bootJobs({ types, options: { grace: { shutdown: '10s', signal: '1s' } } });
    let entered: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (entered = resolve));
    body = (ctx) => {
      logMany(ctx, 2000);
      entered();
    };
    await app.jobs.enqueueMany(Array.from({ length: 40 }, () => ({ type: Flood })));
    await first;
    await app.close();
    expect([...app.log.texts('warn'), ...app.log.texts('error')]).toEqual([]);

    const again = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    const ended = await again.sql(`SELECT job_id FROM jobs WHERE status = 'completed'`);
    expect(ended.length).toBeGreaterThan(0);
    expect(await count(again)).toBe(2000 * ended.length);
  });

  it('cost one warning when the application must close before they are written', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      logMany(ctx, 2000);
      await gate.hold(ctx);
      logMany(ctx, 2000);
    };
    const { id } = await app.jobs.enqueue(Flood);
    const { release } = await gate.entry(id);
    await until(async () => (await count(app)) === 2000, 'the first lines');
    const unlock = await lockForWriting(app.dataSource);
    release();
    const closed = app.close();
    await until(
      () => app.log.texts('warn').some((text) => text.includes('1000 log lines')),
      'the lines to be given up',
      11_000,
    );
    await unlock();
    await closed;
    expect(app.log.texts('error')).toEqual([]);

    const again = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    expect((await again.jobs.get(id)).status).toBe('completed');
    const { lines } = await again.jobs.logs(id, { tail: 1 });
    // The other thousand were on their way already.
    expect(await count(again)).toBe(3001);
    expect(lines[0]?.message).toMatch(/^1000 lines were left out/);
  });
});

describe('lines of a job that is deleted', () => {
  it('are not stored any more', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      await gate.hold(ctx);
      ctx.log.info('too late');
    };
    const { id } = await app.jobs.enqueue(Flood);
    const { release } = await gate.entry(id);
    await app.sql(`DELETE FROM jobs WHERE job_id = '${id}'`);
    release();
    body = (ctx) => ctx.log.info('of another job');
    await app.run(Flood);
    expect(await stored(app)).toEqual(['of another job']);
  });

  it('are deleted with it, however many, and also by the next process', async () => {
    const app = await bootJobs({ types });
    const ids = [(await app.run(Flood)).id, (await app.run(Flood)).id, (await app.run(Flood)).id];
    await app.sql(`INSERT INTO job_logs (job_id, run_id, at_ms, level, message)
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
      SELECT job_id, run_id, 1, 2, 'a line of the usual length, more or less, as they come'
      FROM n CROSS JOIN (SELECT i FROM n WHERE i <= 200) AS more CROSS JOIN jobs`);
    await app.jobs.delete(ids[0] ?? '');
    await until(async () => (await count(app)) === 120_000, 'its lines to go');

    await app.jobs.delete(ids[1] ?? '');
    await app.close();
    const again = await bootJobs({ types, database: app.database });
    await until(async () => (await count(again)) === 60_000, 'the rest of them to go');
    expect(await count(again, `job_id = '${ids[2]}'`)).toBe(60_000);
    // A server on a busy machine takes seconds to be given so many.
  }, 30_000);
});
