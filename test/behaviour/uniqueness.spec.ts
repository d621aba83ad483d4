import { IsInt } from 'class-validator';
import { describe, expect, it } from 'vitest';
import {
  JobType,
  type EnqueuedJob,
  type JobContext,
  type JobHandler,
  type UniqueOptions,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { bootWithNotes, RollBack, rolledBack } from '../support/notes.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

class CountParams {
  @IsInt()
  n = 1;
}

@JobType({ name: 'count', params: CountParams })
class Count implements JobHandler<CountParams> {
  execute(ctx: JobContext<CountParams>): number {
    return ctx.params.n;
  }
}

@JobType({ name: 'other' })
class Other implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'again' })
class Again implements JobHandler {
  execute(): never {
    throw new Error('Not yet.');
  }
}

@JobType({ name: 'single', unique: { key: 'single', onConflict: 'return' } })
class Single implements JobHandler {
  execute(): void {}
}

const types = [Count, Other, Held, Single];

/** Nothing runs, so that what waits goes on waiting. */
function idle(database = createDatabase()): Promise<BootedJobs> {
  return bootJobs({ types, options: { role: 'producer' }, database });
}

async function count(app: BootedJobs): Promise<number> {
  return (await app.jobs.list()).total;
}

describe('a unique job', () => {
  it('is the only one of its type and params, defaults included', async () => {
    const app = await idle();
    const first = await app.jobs.enqueue(Count, {}, { unique: true });
    expect(first.outcome).toBe('created');
    const refused = await refusal(app.jobs.enqueue(Count, { n: 1 }, { unique: true }));
    expect(refused).toMatchObject({
      code: 'duplicate_job',
      status: 409,
      members: { job_id: first.id },
    });
    expect(refused.message).toContain(first.id);
    for (const another of [
      app.jobs.enqueue(Count, { n: 2 }, { unique: true }),
      app.jobs.enqueue(Other, { n: 1 }, { unique: true }),
      app.jobs.enqueue(Count, { n: 1 }, { unique: true, tenantId: 'other' }),
      app.jobs.enqueue(Count, { n: 1 }),
    ]) {
      expect((await another).outcome).toBe('created');
    }
    expect(await count(app)).toBe(5);
  });

  it('compares params as canonical JSON', async () => {
    const app = await idle();
    await app.jobs.enqueue(Other, { a: 1, b: { c: 2, d: 3 } }, { unique: true });
    expect(
      await codeOf(app.jobs.enqueue(Other, { b: { d: 3, c: 2 }, a: 1 }, { unique: true })),
    ).toBe('duplicate_job');
  });

  it('with a key is the only one with it in its tenant, whatever the type', async () => {
    const app = await idle();
    const keys = ['key', 'KEY', 'key ', ' key', 'kéy', 'ke\u0301y', '💥', 'k'.repeat(255)];
    for (const key of keys) {
      expect((await app.jobs.enqueue(Other, {}, { unique: { key } })).outcome).toBe('created');
    }
    for (const key of keys) {
      const again = app.jobs.enqueue(Count, { n: 9 }, { unique: { key } });
      expect(await codeOf(again)).toBe('duplicate_job');
    }
    const options = { unique: { key: 'key' }, tenantId: 'other' };
    expect((await app.jobs.enqueue(Other, {}, options)).outcome).toBe('created');
  });

  it('is given back instead with onConflict return', async () => {
    const app = await idle();
    const first = await app.jobs.enqueue(Count, { n: 3 }, { unique: { key: 'k' }, priority: 1 });
    const unique = { key: 'k', onConflict: 'return' } as const;
    const again = await app.jobs.enqueue(Count, { n: 4 }, { unique, priority: 2 });
    expect(again).toMatchObject({
      outcome: 'existing',
      id: first.id,
      params: { n: 3 },
      priority: 1,
    });
    expect(await count(app)).toBe(1);
  });

  it('gets new params and times with onConflict replace, as long as it waits', async () => {
    const app = await bootJobs({ types });
    const unique = { key: 'k', onConflict: 'replace' } as const;
    const first = await app.jobs.enqueue(Held, { n: 1 }, { unique, delay: '1h' });
    const runAt = new Date(Date.now() + 7_200_000);
    const expiresAt = new Date(Date.now() + 9_200_000);
    const second = await app.jobs.enqueue(
      Held,
      { n: 2 },
      { unique, runAt, expiresAt, priority: 5, maxRetries: 7 },
    );
    expect(second).toMatchObject({
      outcome: 'replaced',
      id: first.id,
      params: { n: 2 },
      runAt,
      expiresAt,
      priority: 5,
      maxRetries: 7,
      kind: 'scheduled',
      waitingFor: 'time',
    });
    expect(await app.jobs.get(first.id)).toMatchObject({ params: { n: 2 }, runAt });
    const third = await app.jobs.enqueue(Held, { n: 3 }, { unique });
    expect(third).toMatchObject({ outcome: 'replaced', id: first.id, kind: 'generic' });
    // It is due now, and somebody was woken.
    const { ctx, release } = await gate.entry(first.id);
    expect(ctx.params).toEqual({ n: 3 });
    const refused = await refusal(app.jobs.enqueue(Held, { n: 4 }, { unique }));
    expect(refused).toMatchObject({ code: 'duplicate_job', members: { job_id: first.id } });
    expect(refused.message).toContain('is running; only a job that waits for its first run');
    release();
    expect((await waitForEnd(app.jobs, first.id)).params).toEqual({ n: 3 });
    expect(await count(app)).toBe(1);
  });

  it('that is not replaced says why', async () => {
    const app = await bootJobs({ types: [Count, Other, Again] });
    const unique = { key: 'k', onConflict: 'replace', within: '1h' } as const;
    const why = async (): Promise<string> => {
      const refused = await refusal(app.jobs.enqueue(Again, { n: 2 }, { unique }));
      expect(refused).toMatchObject({ code: 'duplicate_job', members: { job_id: id } });
      return refused.message;
    };
    const { id } = await app.jobs.enqueue(Again, {}, { unique, retryDelay: '1h', maxRetries: 1 });
    await until(async () => (await app.jobs.get(id)).waitingFor === 'retry');
    expect(await why()).toContain('waits for another run; only a job that waits for its first run');
    const other = await refusal(app.jobs.enqueue(Count, { n: 1 }, { unique }));
    expect(other.message).toContain('is of type default:again; only a job of the same type');
    await app.jobs.cancel(id);
    expect(await why()).toContain('is canceled, and has its key for a time (within)');
    const both = await refusal(
      app.jobs.enqueueMany([
        { type: Other, unique: { key: 'both' } },
        { type: Count, unique: { key: 'both', onConflict: 'replace' } },
      ]),
    );
    expect(both.message).toMatch(/Two jobs of this call .* first is of type default:other/);
  });

  it('is so by its type, and an enqueue may say more', async () => {
    const app = await idle();
    const first = await app.jobs.enqueue(Single, { a: 1 });
    expect(await app.jobs.enqueue(Single, { a: 2 })).toMatchObject({
      outcome: 'existing',
      id: first.id,
    });
    expect(await codeOf(app.jobs.enqueue(Single, {}, { unique: { onConflict: 'reject' } }))).toBe(
      'duplicate_job',
    );
    const other = await app.jobs.enqueue(Single, {}, { unique: { key: 'another' } });
    expect(other.outcome).toBe('created');
    expect(await app.jobs.enqueue(Single, {}, { unique: { key: 'another' } })).toMatchObject({
      outcome: 'existing',
      id: other.id,
    });
  });

  it('is replayed by its idempotency key before anybody looks at its unique key', async () => {
    const app = await idle();
    const options = { idempotencyKey: 'i', unique: true } as const;
    const first = await app.jobs.enqueue(Count, { n: 1 }, options);
    expect(await app.jobs.enqueue(Count, { n: 1 }, options)).toMatchObject({
      outcome: 'replayed',
      id: first.id,
    });
    const all = await Promise.all(
      Array.from({ length: 20 }, () =>
        app.jobs.enqueue(Count, { n: 2 }, { idempotencyKey: 'j', unique: true }),
      ),
    );
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    expect(all.filter(({ outcome }) => outcome === 'replayed')).toHaveLength(19);
  });

  it('tells in a call of many what became of each', async () => {
    const app = await idle();
    const first = await app.jobs.enqueue(Count, { n: 1 }, { unique: { key: 'there' } });
    const item = (n: number, unique: UniqueOptions) => ({ type: Count, params: { n }, unique });
    const outcomes = await app.jobs.enqueueMany(
      [
        item(2, { key: 'there', onConflict: 'return' }),
        item(3, { key: 'there', onConflict: 'replace' }),
        item(4, { key: 'there' }),
        item(5, { key: 'new' }),
        item(6, { key: 'new' }),
        item(7, { key: 'new', onConflict: 'return' }),
        item(8, { key: 'new', onConflict: 'replace' }),
      ],
      { onConflict: 'ignore' },
    );
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      'existing',
      'replaced',
      'rejected',
      'created',
      'rejected',
      'existing',
      'replaced',
    ]);
    const made = outcomes[3]?.job?.id;
    expect(outcomes.map(({ job }) => job?.id)).toEqual([
      first.id,
      first.id,
      undefined,
      made,
      undefined,
      made,
      made,
    ]);
    expect(outcomes[2]?.error).toMatchObject({ members: { job_id: first.id, index: 2 } });
    expect(outcomes[4]?.error).toMatchObject({ members: { job_id: made, index: 4 } });
    expect(await app.jobs.get(first.id)).toMatchObject({ params: { n: 3 } });
    expect(await app.jobs.get(made ?? '')).toMatchObject({ params: { n: 8 } });
  });

  it.each<[string, string[]]>([
    ['another job’s', ['new', 'there']],
    ['that of another one of the call', ['new', 'new']],
  ])('whose key is %s keeps a call of many from storing anything', async (_, keys) => {
    const app = await idle();
    await app.jobs.enqueue(Count, { n: 1 }, { unique: { key: 'there' } });
    const items = keys.map((key, n) => ({ type: Count, params: { n }, unique: { key } }));
    const refused = await refusal(app.jobs.enqueueMany(items));
    expect(refused).toMatchObject({ code: 'duplicate_job', members: { index: 1 } });
    expect(await count(app)).toBe(1);
    // Nor is the key of the first one taken.
    const [first] = items;
    expect((await app.jobs.enqueueMany(first === undefined ? [] : [first]))[0]?.outcome).toBe(
      'created',
    );
  });

  it('takes its key with the caller’s transaction, or not at all', async () => {
    const app = await bootWithNotes({ types, options: { role: 'producer' } });
    const unique = { key: 'k' };
    await rolledBack(
      app.dataSource.transaction(async (manager) => {
        await app.jobs.enqueue(Count, { n: 1 }, { unique, manager });
        throw new RollBack();
      }),
    );
    const id = await app.dataSource.transaction(async (manager) => {
      const job = await app.jobs.enqueue(Count, { n: 2 }, { unique, manager });
      expect(job.outcome).toBe('created');
      const again = app.jobs.enqueue(Count, { n: 3 }, { unique, manager });
      expect((await refusal(again)).members).toEqual({ job_id: job.id });
      const replace = { ...unique, onConflict: 'replace' } as const;
      expect(await app.jobs.enqueue(Count, { n: 4 }, { unique: replace, manager })).toMatchObject({
        outcome: 'replaced',
        id: job.id,
      });
      return job.id;
    });
    expect((await refusal(app.jobs.enqueue(Count, {}, { unique }))).members).toEqual({
      job_id: id,
    });
    expect(await app.jobs.get(id)).toMatchObject({ params: { n: 4 } });
    expect(await count(app)).toBe(1);
  });

  it('waits for a transaction that has its key, and is refused when that commits', async () => {
    const app = await bootWithNotes({ types, options: { role: 'producer' } });
    const unique = { key: 'k' };
    let racing: Promise<string> = Promise.resolve('');
    await app.dataSource.transaction(async (manager) => {
      await app.jobs.enqueue(Count, { n: 1 }, { unique, manager });
      racing = codeOf(app.jobs.enqueue(Count, { n: 2 }, { unique }));
      // Another statement, so that the other one comes to its lock.
      await manager.query('SELECT 1');
    });
    expect(await racing).toBe('duplicate_job');
    expect(await count(app)).toBe(1);
  });
});

describe('50 callers with one unique key make one job', () => {
  const race = (
    apps: readonly BootedJobs[],
    onConflict: NonNullable<UniqueOptions['onConflict']>,
  ): Promise<(EnqueuedJob | string)[]> =>
    Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const unique = { key: 'race', onConflict };
        const app = apps[n % apps.length] as BootedJobs;
        try {
          return (await app.jobs.enqueue(Count, { n }, { unique })) as EnqueuedJob;
        } catch (error) {
          return codeOf(Promise.reject(error as Error));
        }
      }),
    );
  const outcomes = (all: readonly (EnqueuedJob | string)[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const each of all) {
      const name = typeof each === 'string' ? each : each.outcome;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };

  describe.each(['one application', 'two applications on one database'])('of %s', (where) => {
    async function apps(): Promise<readonly BootedJobs[]> {
      const database = createDatabase();
      const first = await idle(database);
      return where === 'one application' ? [first] : [first, await idle(database)];
    }

    it.each([
      ['reject', 'duplicate_job'],
      ['return', 'existing'],
      ['replace', 'replaced'],
    ] as const)('with %s', async (mode, other) => {
      const all = await apps();
      const made = await race(all, mode);
      expect(outcomes(made)).toEqual({ created: 1, [other]: 49 });
      const ids = made.flatMap((each) => (typeof each === 'string' ? [] : [each.id]));
      expect(new Set(ids).size).toBe(1);
      expect(await count(all[0] as BootedJobs)).toBe(1);
    });
  });

  it('of two processes', async () => {
    const database = createDatabase();
    const reader = await idle(database);
    const options = { role: 'producer' } as const;
    const children = [
      await ChildApplication.start({ database, options }),
      await ChildApplication.start({ database, options }),
    ];
    const unique = { key: 'race', onConflict: 'return' };
    const made = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        (children[n % 2] as ChildApplication).call<EnqueuedJob>(
          'jobs',
          'enqueue',
          'default:marked',
          { n },
          { unique },
        ),
      ),
    );
    expect(outcomes(made)).toEqual({ created: 1, existing: 49 });
    expect(await count(reader)).toBe(1);
  }, 45_000);
});
