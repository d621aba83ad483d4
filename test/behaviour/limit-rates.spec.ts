import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase, isFile } from '../support/databases.js';
import { isLockAwaited } from '../support/locks.js';
import { until, waitForEnd } from '../support/waiting.js';

const PERIOD_MS = 400;

@JobType({ name: 'rated', rate: { max: 5, per: PERIOD_MS } })
class Rated implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'rated.tenant', rate: { max: 2, per: '1h', by: 'tenant' } })
class RatedByTenant implements JobHandler {
  execute(): void {}
}

@JobType({
  name: 'rated.host',
  rate: { max: 3, per: '1h', by: (job) => (job.params as { host: string }).host },
  concurrency: { limit: 2, by: 'tenant' },
})
class RatedByHost implements JobHandler<{ host: string }> {
  execute(ctx: JobContext<{ host: string }>): string {
    return ctx.params.host;
  }
}

const SHORT_MS = 20;

@JobType({ name: 'rated.short', rate: { max: 1, per: SHORT_MS } })
class Short implements JobHandler {
  execute(): void {}
}

/** Keeps all claims within limits waiting, on a server; gives back how to let them go on. */
async function holdLimits(app: BootedJobs): Promise<() => Promise<void>> {
  const runner = app.dataSource.createQueryRunner();
  await runner.startTransaction();
  await runner.query('SELECT * FROM job_limits FOR UPDATE');
  return async () => {
    await runner.commitTransaction();
    await runner.release();
  };
}

async function starts(app: BootedJobs, type: string): Promise<readonly number[]> {
  const rows = await app.sql<{ at: string | number }>(
    `SELECT started_at_ms AS at FROM jobs WHERE type = '${type}' AND status = 'completed' ORDER BY started_at_ms`,
  );
  return rows.map(({ at }) => Number(at));
}

async function settled(app: BootedJobs, type: string, left: number): Promise<void> {
  await until(async () => {
    const { jobs } = await app.jobs.list({ type, limit: 1000 });
    return jobs.filter(({ status }) => status !== 'completed').length === left || undefined;
  }, `${left} jobs to be left`);
}

describe('a rate', () => {
  it(
    'lets no more begin in any period, over all processes, and sleeps in between',
    { timeout: 30_000 },
    async () => {
      const database = createDatabase();
      const apps = [
        await bootJobs({ types: [Rated], database }),
        await bootJobs({ types: [Rated], database }),
      ];
      const app = apps[0] as BootedJobs;
      await app.jobs.enqueueMany(Array.from({ length: 18 }, () => ({ type: Rated })));
      await settled(app, 'default:rated', 0);
      const times = await starts(app, 'default:rated');
      expect(times).toHaveLength(18);
      for (const [at, time] of times.entries()) {
        const sixth = times[at + 5];
        if (sixth !== undefined) {
          expect(sixth - time).toBeGreaterThanOrEqual(PERIOD_MS);
        }
      }
      // No slower than it should be, by the margin that a busy machine takes.
      expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeLessThan(PERIOD_MS * 12);
    },
  );

  // On SQLite a claim begins when nobody else writes.
  if (!isFile) {
    it('holds between processes that both waited for their turn for several periods', async () => {
      const database = createDatabase();
      const apps = [
        await bootJobs({ types: [Short], database }),
        await bootJobs({ types: [Short], database }),
      ] as const;
      const [app] = apps;
      await app.jobs.enqueue(Short);
      await settled(app, 'default:rated.short', 0);
      const release = await holdLimits(app);
      await app.jobs.enqueueMany([{ type: Short }, { type: Short }]);
      await until(() => isLockAwaited(app, 2), 'both to wait for the limits');
      const since = performance.now();
      await until(() => performance.now() - since > 10 * SHORT_MS, 'some periods to pass');
      await release();
      await settled(app, 'default:rated.short', 0);
      const [, second = 0, third = 0] = await starts(app, 'default:rated.short');
      expect(third - second).toBeGreaterThanOrEqual(SHORT_MS);
    });
  }

  it('is remembered over a restart', async () => {
    const database = createDatabase();
    const first = await bootJobs({ types: [RatedByTenant], database });
    await first.jobs.enqueueMany(
      ['a', 'a', 'a', 'b'].map((tenantId) => ({ type: RatedByTenant, tenantId })),
    );
    await settled(first, 'default:rated.tenant', 1);
    await first.close();
    const second = await bootJobs({ types: [RatedByTenant], database });
    const more = await second.jobs.enqueueMany(
      ['a', 'b', 'b', 'c'].map((tenantId) => ({ type: RatedByTenant, tenantId })),
    );
    await waitForEnd(second.jobs, more[3]?.job?.id ?? '');
    await waitForEnd(second.jobs, more[1]?.job?.id ?? '');
    const left = (await second.jobs.list({ status: 'waiting' })).jobs.map((job) => job.tenantId);
    expect(left.sort()).toEqual(['a', 'a', 'b']);
    const rows = await second.sql(
      'SELECT scope, limit_key FROM job_limits ORDER BY scope, limit_key',
    );
    expect(rows).toContainEqual({ scope: 'type:default:rated.tenant', limit_key: 'a' });
  });

  it('and a limit of jobs at work hold together, each by its own key', async () => {
    const app = await bootJobs({ types: [RatedByHost] });
    await app.jobs.enqueueMany(
      Array.from({ length: 12 }, (_, n) => ({
        type: RatedByHost,
        params: { host: n % 2 === 0 ? 'even' : 'odd' },
        tenantId: `t${n % 3}`,
      })),
    );
    await settled(app, 'default:rated.host', 6);
    const { jobs } = await app.jobs.list({ status: 'completed' });
    expect(jobs.map(({ result }) => String(result)).sort()).toEqual([
      ...Array.from({ length: 3 }, () => 'even'),
      ...Array.from({ length: 3 }, () => 'odd'),
    ]);
  });
});
