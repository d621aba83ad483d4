import { describe, expect, it, vi } from 'vitest';
import type { Engine } from '../../lib/engine/engine.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import {
  JobType,
  type Job,
  type JobContext,
  type JobFlow,
  type JobHandler,
  type OnJobInit,
  type OnJobStateUpdate,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { driverUnderTest } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'gated' })
class Gated implements JobHandler {
  async execute(ctx: JobContext<{ result?: unknown; fails?: boolean }>): Promise<unknown> {
    await gate.hold(ctx as JobContext);
    if (ctx.params.fails === true) {
      throw new Error('it broke');
    }
    return ctx.params.result;
  }
}

@JobType({ group: 'default', name: 'step' })
class Step implements JobHandler {
  execute(ctx: JobContext<{ fails?: boolean }>): string {
    if (ctx.params.fails === true) {
      throw new Error('step broke');
    }
    return 'done';
  }
}

@JobType({ group: 'default', name: 'patient', suspendable: true })
class Patient extends Step {}

@JobType({ group: 'default', name: 'introduced' })
class Introduced implements JobHandler, OnJobInit {
  onJobInit(): void {}

  execute(): void {}
}

const told: string[] = [];

@JobType({ group: 'default', name: 'told' })
class Told implements JobHandler, OnJobStateUpdate {
  execute(): void {}

  onJobStateUpdate({ id, status }: Job): void {
    told.push(`${id} ${status}`);
  }
}

/** The sessions that wait for what others have locked, on PostgreSQL. */
const LOCKED_OUT = `SELECT 1 FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock'`;

function boot(): Promise<BootedJobs> {
  return bootJobs({ types: [Gated, Step], options: { queues: { compute: 5 } } });
}

describe('a job that depends on others', () => {
  it('waits until all of them are final, and runs then', async () => {
    const app = await boot();
    const first = await app.jobs.enqueue(Gated);
    const second = await app.jobs.enqueue(Gated);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [first.id, second.id] });
    expect(child).toMatchObject({ status: 'waiting', waitingFor: 'dependencies' });
    expect(child.dependsOn).toEqual([
      { id: first.id, onFailure: 'fail' },
      { id: second.id, onFailure: 'fail' },
    ]);
    (await gate.entry(first.id)).release();
    await waitForEnd(app.jobs, first.id);
    expect(await app.jobs.get(child.id)).toMatchObject({ waitingFor: 'dependencies' });
    (await gate.entry(second.id)).release();
    expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
  });

  it('runs at once when all of them have completed already', async () => {
    const app = await boot();
    const parent = await app.run(Step);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    expect(child.waitingFor).toBe('worker');
    expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
  });

  it('fails, is canceled or runs when one of them fails, as it says', async () => {
    const app = await boot();
    const parent = await app.jobs.enqueue(Gated, { fails: true });
    const [fails, canceled, runs] = await Promise.all(
      (['fail', 'cancel', 'run'] as const).map((onFailure) =>
        app.jobs.enqueue(Step, {}, { dependsOn: [{ id: parent.id, onFailure }] }),
      ),
    );
    const after = await app.jobs.enqueue(Step, {}, { dependsOn: [fails?.id ?? ''] });
    (await gate.entry(parent.id)).release();
    const failed = await waitForEnd(app.jobs, fails?.id ?? '');
    expect(failed).toMatchObject({ status: 'failed', revision: 0 });
    expect(failed.error).toContain(parent.id);
    expect(failed.error).toContain('it broke');
    expect(await waitForEnd(app.jobs, canceled?.id ?? '')).toMatchObject({ status: 'canceled' });
    expect(await waitForEnd(app.jobs, runs?.id ?? '')).toMatchObject({ status: 'completed' });
    expect(await waitForEnd(app.jobs, after.id)).toMatchObject({ status: 'failed' });
  });

  it('fails at once when one has failed already', async () => {
    const app = await boot();
    const parent = await app.run(Step, { fails: true });
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    expect(child).toMatchObject({ status: 'failed', outcome: 'created' });
    expect(child.error).toContain('step broke');
  });

  it('that fails at once tells its hook of its place in line, and of its end once', async () => {
    const app = await bootJobs({ types: [Step, Told] });
    const parent = await app.run(Step, { fails: true });
    const child = await app.jobs.enqueue(Told, null, { dependsOn: [parent.id] });
    expect(child).toMatchObject({ status: 'failed', outcome: 'created' });
    await until(() => told.at(-1) === `${child.id} failed`, 'the hook to be told of the end');
    // Whoever ends later is told of later.
    const later = await app.run(Told);
    await until(() => told.at(-1) === `${later.id} completed`, 'the hook to be told of the other');
    expect(told.filter((each) => each.startsWith(child.id))).toEqual([
      `${child.id} waiting`,
      `${child.id} failed`,
    ]);
  });

  it('is refused when a job is unknown, or of another tenant', async () => {
    const app = await boot();
    const unknown = '00000000-0000-7000-8000-000000000000';
    const refused = await refusal(app.jobs.enqueue(Step, {}, { dependsOn: [unknown] }));
    expect(refused).toMatchObject({ code: 'unknown_dependency', status: 400 });
    expect(refused.message).toContain(unknown);
    const theirs = await app.jobs.enqueue(Step, {}, { tenantId: 'other' });
    expect(
      await refusal(app.jobs.enqueue(Step, {}, { dependsOn: [theirs.id], tenantId: 'mine' })),
    ).toMatchObject({ code: 'unknown_dependency' });
    expect((await app.jobs.list({ type: ['default:step'] })).total).toBe(1);
  });

  it.each([
    ['a NUL in it', 'a\0b'],
    ['another separator', 'a\u0001b'],
    ['no text at all', ''],
  ])('is refused for an id with %s, which no job has', async (_what, id) => {
    const app = await boot();
    const { id: parent } = await app.jobs.enqueue(Step, {}, { delay: '1h' });
    const [refused, stored] = await Promise.all([
      refusal(app.jobs.enqueue(Step, {}, { dependsOn: [parent, id] })),
      app.jobs.enqueue(Step, {}, { dependsOn: [parent] }),
    ]);
    expect(refused).toMatchObject({ code: 'unknown_dependency', status: 400 });
    expect(stored.waitingFor).toBe('dependencies');
  });

  it('is refused for an id that differs from a job’s in its variant alone', async () => {
    const app = await boot();
    const { id } = await app.jobs.enqueue(Step, {}, { delay: '1h' });
    const variant = (Number.parseInt(id[19] ?? '', 16) & 3).toString(16);
    const other = id.slice(0, 19) + variant + id.slice(20);
    expect(await refusal(app.jobs.enqueue(Step, {}, { dependsOn: [other] }))).toMatchObject({
      code: 'unknown_dependency',
    });
  });

  it('says what it depends on, whatever else it has and whoever looks at it while it is stored', async () => {
    const app = await bootJobs({ types: [Step, Introduced], options: { role: 'producer' } });
    const { id } = await app.jobs.enqueue(Step, {}, { delay: '1h' });
    const dependsOn = [id];
    const unique = { key: 'one', onConflict: 'return' } as const;
    const jobs = await Promise.all([
      app.jobs.enqueue(Step, {}, { dependsOn, idempotencyKey: 'k' }),
      app.jobs.enqueue(Introduced, {}, { dependsOn }),
      app.jobs.enqueue(Step, {}, { dependsOn, unique }),
      app.jobs.enqueue(Step, {}, { dependsOn, unique }),
      app.jobs.enqueue(Step, {}, { dependsOn, delay: '1h', tags: ['t'] }),
    ]);
    const flow = await app.jobs.enqueueFlow({
      first: { type: Step, unique: { key: 'two', onConflict: 'return' } },
      last: { type: Introduced, dependsOn: ['first'], idempotencyKey: 'l' },
    });
    for (const job of jobs) {
      expect(job.dependsOn).toEqual([{ id, onFailure: 'fail' }]);
      expect((await app.jobs.get(job.id)).dependsOn).toEqual(job.dependsOn);
    }
    const last = await app.jobs.get(flow['last']?.id ?? '');
    expect(last.dependsOn).toEqual([{ id: flow['first']?.id, onFailure: 'fail' }]);
  });

  it('is stored though others of the same moment are refused, or wait for what has ended', async () => {
    const app = await boot();
    const ended = await app.run(Step);
    const [first, second] = await Promise.all([app.jobs.enqueue(Gated), app.jobs.enqueue(Gated)]);
    const theirs = await app.jobs.enqueue(Gated, {}, { tenantId: 'other' });
    // The time of one job and the rest of another.
    const mixed = `${first.id.slice(0, 19)}${second.id.slice(19)}`;
    const enqueue = (...ids: readonly string[]): Promise<Job> =>
      app.jobs.enqueue(Step, {}, { dependsOn: ids });
    const bad = [theirs.id, mixed].map((id) => refusal(enqueue(first.id, id)));
    const good = await Promise.all([
      ...Array.from({ length: 10 }, () => enqueue(first.id)),
      ...Array.from({ length: 10 }, () => enqueue(ended.id, second.id)),
    ]);
    for (const refused of await Promise.all(bad)) {
      expect(refused).toMatchObject({ code: 'unknown_dependency' });
    }
    expect(good.map((job) => job.waitingFor)).toEqual(good.map(() => 'dependencies'));
    const { dependents } = await app.jobs.dependencies(first.id);
    expect(dependents).toHaveLength(10);
    expect((await app.jobs.dependencies(theirs.id)).dependents).toEqual([]);
    for (const { id } of [first, second]) {
      (await gate.entry(id)).release();
    }
    for (const { id } of good) {
      expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed' });
    }
    (await gate.entry(theirs.id)).release();
  });

  it.each(['cancel', 'skip', 'fail'] as const)(
    'is told when an operator ends one that waits by %s',
    async (operation) => {
      const app = await boot();
      await app.queues.pause('compute');
      const parent = await app.jobs.enqueue(Gated);
      const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
      await app.jobs[operation](parent.id);
      const expected = operation === 'skip' ? 'completed' : 'failed';
      expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: expected });
    },
  );

  it('fails once it is resumed when one of them failed while it was suspended', async () => {
    const app = await bootJobs({ types: [Gated, Patient] });
    const parent = await app.jobs.enqueue(Gated, { fails: true });
    const child = await app.jobs.enqueue(Patient, {}, { dependsOn: [parent.id] });
    expect(await app.jobs.suspend(child.id)).toMatchObject({ status: 'suspended' });
    (await gate.entry(parent.id)).release();
    await waitForStatus(app.jobs, parent.id, 'failed');
    expect(await app.jobs.get(child.id)).toMatchObject({ status: 'suspended' });
    await app.jobs.resume(child.id);
    const failed = await waitForEnd(app.jobs, child.id);
    expect(failed).toMatchObject({ status: 'failed', revision: 0 });
    expect(failed.error).toContain(`${parent.id} (compute:gated) ended as failed: Error: it broke`);
  });

  it('runs once it is resumed when all of them completed while it was suspended', async () => {
    const app = await bootJobs({ types: [Gated, Patient] });
    const parent = await app.jobs.enqueue(Gated);
    const child = await app.jobs.enqueue(Patient, {}, { dependsOn: [parent.id] });
    expect(await app.jobs.suspend(child.id)).toMatchObject({ status: 'suspended' });
    (await gate.entry(parent.id)).release();
    await waitForStatus(app.jobs, parent.id, 'completed');
    expect(await app.jobs.get(child.id)).toMatchObject({ status: 'suspended' });
    expect((await app.jobs.resume(child.id)).waitingFor).not.toBe('dependencies');
    expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
  });

  it('waits for one that is retried only once', async () => {
    const app = await boot();
    const parent = await app.jobs.enqueue(Gated, { fails: true });
    const child = await app.jobs.enqueue(
      Step,
      {},
      { dependsOn: [{ id: parent.id, onFailure: 'run' }] },
    );
    (await gate.entry(parent.id)).release();
    await waitForEnd(app.jobs, child.id);
    await app.jobs.retry(parent.id);
    (await gate.entry(parent.id, 2)).release();
    await waitForEnd(app.jobs, parent.id);
    expect(await app.jobs.get(child.id)).toMatchObject({ status: 'completed', revision: 1 });
  });

  it.each(['fail', 'run'] as const)(
    'waits again for one that is retried before it has started, and is judged by how that ends then (%s)',
    async (onFailure) => {
      const app = await boot();
      const [first, second] = await Promise.all([app.jobs.enqueue(Gated), app.jobs.enqueue(Gated)]);
      const dependsOn = [first, second].map(({ id }) => ({ id, onFailure }));
      const child = await app.jobs.enqueue(Step, {}, { dependsOn });
      (await gate.entry(first.id)).fail(new Error('it broke'));
      await waitForStatus(app.jobs, first.id, 'failed');
      await app.jobs.retry(first.id);
      const again = await gate.entry(first.id, 2);
      (await gate.entry(second.id)).release();
      await waitForEnd(app.jobs, second.id);
      expect(await app.jobs.get(child.id)).toMatchObject({
        status: 'waiting',
        waitingFor: 'dependencies',
      });
      again.release();
      expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
    },
  );

  it('fails when one that was retried fails again, and when another one has failed meanwhile', async () => {
    const app = await boot();
    const jobs = await Promise.all([1, 2, 3].map(() => app.jobs.enqueue(Gated)));
    const [one, two, three] = jobs.map(({ id }) => id) as [string, string, string];
    const again = await app.jobs.enqueue(Step, {}, { dependsOn: [one, three] });
    const other = await app.jobs.enqueue(Step, {}, { dependsOn: [one, two, three] });
    for (const id of [one, two]) {
      (await gate.entry(id)).fail(new Error('it broke'));
      await waitForStatus(app.jobs, id, 'failed');
    }
    await app.jobs.retry(one);
    (await gate.entry(one, 2)).fail(new Error('it broke again'));
    await waitForStatus(app.jobs, one, 'failed');
    await app.jobs.retry(two);
    (await gate.entry(two, 2)).release();
    await waitForStatus(app.jobs, two, 'completed');
    (await gate.entry(three)).release();
    for (const { id } of [again, other]) {
      const failed = await waitForEnd(app.jobs, id);
      expect(failed).toMatchObject({ status: 'failed', revision: 0 });
      expect(failed.error).toContain(
        `${one} (compute:gated) ended as failed: Error: it broke again`,
      );
      expect(failed.error).not.toContain(two);
      const { causes } = await app.jobs.dependencies(id);
      expect(causes.map((cause) => cause.id)).toEqual([one]);
    }
  });

  it('waits again for one that is retried while it is suspended itself', async () => {
    const app = await bootJobs({ types: [Gated, Patient] });
    const parent = await app.jobs.enqueue(Gated);
    const child = await app.jobs.enqueue(Patient, {}, { dependsOn: [parent.id] });
    await app.jobs.suspend(child.id);
    (await gate.entry(parent.id)).fail(new Error('it broke'));
    await waitForStatus(app.jobs, parent.id, 'failed');
    await app.jobs.retry(parent.id);
    const again = await gate.entry(parent.id, 2);
    expect(await app.jobs.resume(child.id)).toMatchObject({
      status: 'waiting',
      waitingFor: 'dependencies',
    });
    again.release();
    expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
  });

  it('waits again in line for a worker, and not when it has started', async () => {
    const app = await boot();
    const run = (id: string): object => ({ dependsOn: [{ id, onFailure: 'run' }] });
    const parent = await app.jobs.enqueue(Gated);
    const started = await app.jobs.enqueue(Gated, {}, run(parent.id));
    await app.queues.pause('default');
    const inLine = await app.jobs.enqueue(Step, {}, run(parent.id));
    (await gate.entry(parent.id)).fail(new Error('it broke'));
    const { release } = await gate.entry(started.id);
    expect(await app.jobs.get(inLine.id)).toMatchObject({ waitingFor: 'paused' });
    await app.jobs.retry(parent.id);
    expect(await app.jobs.get(inLine.id)).toMatchObject({ waitingFor: 'dependencies' });
    await app.queues.resume('default');
    const again = await gate.entry(parent.id, 2);
    release();
    expect(await waitForEnd(app.jobs, started.id)).toMatchObject({ status: 'completed' });
    expect(await app.jobs.get(inLine.id)).toMatchObject({ waitingFor: 'dependencies' });
    again.release();
    expect(await waitForEnd(app.jobs, inLine.id)).toMatchObject({ status: 'completed' });
  });

  it('that has been ended and is retried itself is not judged by an end that was undone meanwhile', async () => {
    const app = await boot();
    const [first, second] = await Promise.all([app.jobs.enqueue(Gated), app.jobs.enqueue(Gated)]);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [first.id, second.id] });
    (await gate.entry(first.id)).fail(new Error('it broke'));
    await waitForStatus(app.jobs, first.id, 'failed');
    await app.jobs.cancel(child.id);
    await app.jobs.retry(first.id);
    (await gate.entry(first.id, 2)).release();
    await waitForEnd(app.jobs, first.id);
    expect(await app.jobs.retry(child.id)).toMatchObject({ waitingFor: 'dependencies' });
    (await gate.entry(second.id)).release();
    expect(await waitForEnd(app.jobs, child.id)).toMatchObject({ status: 'completed' });
  });
});

@JobType({ group: 'default', name: 'sum' })
class Sum implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.dependencies.map(({ id, type, status, result, error }) => ({
      id,
      type,
      status,
      result,
      error,
    }));
  }
}

describe('the handler of such a job', () => {
  it('reads how those that it waited for have ended, in the order in which they were named', async () => {
    const app = await bootJobs({ types: [Step, Sum] });
    const done = await app.jobs.enqueue(Step);
    const broken = await app.jobs.enqueue(Step, { fails: true });
    const dependsOn = [{ id: broken.id, onFailure: 'run' as const }, done.id];
    const { result } = await app.run(Sum, {}, { dependsOn });
    expect(result).toEqual([
      {
        id: broken.id,
        type: 'default:step',
        status: 'failed',
        result: null,
        error: expect.stringContaining('step broke') as string,
      },
      { id: done.id, type: 'default:step', status: 'completed', result: 'done', error: null },
    ]);
  });
});

describe('a flow', () => {
  it('is stored as a whole, and runs in its order', async () => {
    const app = await bootJobs({ types: [Step, Sum] });
    const flow = await app.jobs.enqueueFlow({
      // Named before those that it waits for.
      last: { type: Sum, dependsOn: ['left', 'right'] },
      first: { type: Step },
      left: { type: Step, dependsOn: ['first'] },
      right: { type: Step, dependsOn: [{ id: 'first', onFailure: 'run' }] },
    });
    expect(flow.first).toMatchObject({ waitingFor: 'worker', outcome: 'created' });
    expect(flow.last.dependsOn.map(({ id }) => id)).toEqual([flow.left.id, flow.right.id]);
    const last = await waitForEnd(app.jobs, flow.last.id);
    expect(last.result).toMatchObject([{ result: 'done' }, { result: 'done' }]);
  });

  it('is refused as a whole for a circle, an unknown job or bad params of one', async () => {
    const app = await bootJobs({ types: [Step] });
    const circle = await refusal(
      app.jobs.enqueueFlow({
        a: { type: Step, dependsOn: ['c'] },
        b: { type: Step, dependsOn: ['a'] },
        c: { type: Step, dependsOn: ['b'] },
        other: { type: Step },
      }),
    );
    expect(circle).toMatchObject({ code: 'invalid_request', status: 400 });
    expect(circle.message).toMatch(/a → c → b → a/);
    const itself = await refusal(
      app.jobs.enqueueFlow({ a: { type: Step, dependsOn: ['a'] }, b: { type: Step } }),
    );
    expect(itself.message).toMatch(/a → a/);
    const unknown = await refusal(
      app.jobs.enqueueFlow({ a: { type: Step }, b: { type: Step, dependsOn: ['a', 'nobody'] } }),
    );
    expect(unknown).toMatchObject({ code: 'unknown_dependency', members: { key: 'b' } });
    const untyped = await refusal(
      app.jobs.enqueueFlow({ a: { type: Step }, b: { type: 'default:none', dependsOn: ['a'] } }),
    );
    expect(untyped).toMatchObject({ code: 'unknown_type', members: { key: 'b' } });
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('names the job of it that is refused by its key', async () => {
    const app = await bootJobs({ types: [Step], options: { role: 'producer' } });
    const unique = { key: 'taken' };
    const { id } = await app.jobs.enqueue(Step, {}, { unique, idempotencyKey: 'once' });
    const key = '$&.b';
    const cases = [
      { more: { dependsOn: ['jobs.12'] }, error: { code: 'unknown_dependency' } },
      { more: { unique }, error: { code: 'duplicate_job', members: { key, job_id: id } } },
      {
        more: { params: { other: 1 }, idempotencyKey: 'once' },
        error: { code: 'idempotency_conflict', members: { key, job_id: id } },
      },
      { more: { type: 'default:none' }, error: { code: 'unknown_type' } },
      { more: { priority: 'high' }, error: { errors: [{ field: `${key}.priority` }] } },
      { more: { dependsOn: 'a' }, error: { errors: [{ field: `${key}.dependsOn` }] } },
      {
        more: { dependsOn: [{ id: 'a', onFailure: 'wait' }] },
        error: { errors: [{ field: `${key}.dependsOn.0.onFailure` }] },
      },
    ];
    for (const { more, error } of cases) {
      const flow = { a: { type: Step }, [key]: { type: Step, ...more } } as JobFlow;
      const refused = await refusal(app.jobs.enqueueFlow(flow));
      expect(refused).toMatchObject({ members: { key }, ...error });
      expect(refused.message.slice(0, key.length)).toBe(key);
      expect(refused.members).not.toHaveProperty('index');
    }
    const flow = { a: { type: Step }, [key]: { type: Step, dependsOn: ['jobs.12'] } };
    expect((await refusal(app.jobs.enqueueFlow(flow))).message).toContain('no job jobs.12 to');
    expect((await app.jobs.list()).total).toBe(1);
  });

  it('without jobs stores none', async () => {
    const app = await bootJobs({ types: [Step], options: { role: 'producer' } });
    expect(await app.jobs.enqueueFlow({})).toEqual({});
    expect((await app.jobs.list()).total).toBe(0);
  });

  it('waits for a job of it that was there before, under its key, and for one that has ended', async () => {
    const app = await bootJobs({ types: [Step, Sum] });
    const before = await app.run(Step, {}, { idempotencyKey: 'once' });
    const flow = await app.jobs.enqueueFlow({
      once: { type: Step, idempotencyKey: 'once' },
      after: { type: Sum, dependsOn: ['once'] },
    });
    expect(flow.once).toMatchObject({ id: before.id, outcome: 'replayed' });
    expect((await waitForEnd(app.jobs, flow.after.id)).result).toMatchObject([{ id: before.id }]);
  });

  it('of ten thousand jobs is stored in one call and runs to its end', async () => {
    const app = await bootJobs({ types: [Step], options: { queues: { default: 50 } } });
    const width = 100;
    const flow = await app.jobs.enqueueFlow(
      Object.fromEntries(
        Array.from({ length: 10_000 }, (_, at) => [
          `j${at}`,
          {
            type: Step,
            // A hundred chains that meet in the middle.
            dependsOn: at < width ? [] : at === 5000 ? ['j4999', 'j4901'] : [`j${at - width}`],
          },
        ]),
      ),
    );
    // The ends of the chains; that of the first one is where it meets another.
    const ends = ['j4900', ...Array.from({ length: width }, (_, at) => `j${9900 + at}`)];
    await Promise.all(ends.map((key) => app.jobs.wait(flow[key]?.id ?? '', { timeout: '90s' })));
    expect(await app.jobs.list({ status: ['completed'], limit: 1 })).toMatchObject({
      total: 10_000,
      totalIsExact: true,
    });
  }, 120_000);
});

describe('why a job was not run', () => {
  it('is told down to the first that failed, however far away', async () => {
    const app = await bootJobs({ types: [Step] });
    const flow = await app.jobs.enqueueFlow({
      top: { type: Step, params: { fails: true } },
      left: { type: Step, dependsOn: ['top'] },
      right: { type: Step, dependsOn: ['top'] },
      bottom: { type: Step, dependsOn: ['left', 'right'] },
    });
    await waitForEnd(app.jobs, flow.bottom.id);
    const { dependsOn, dependents, causes } = await app.jobs.dependencies(flow.bottom.id);
    expect(dependsOn.map(({ id, status }) => ({ id, status }))).toEqual([
      { id: flow.left.id, status: 'failed' },
      { id: flow.right.id, status: 'failed' },
    ]);
    expect(dependents).toEqual([]);
    const top = { id: flow.top.id, status: 'failed', causes: [] };
    expect(causes).toMatchObject([
      { id: flow.left.id, causes: [top] },
      { id: flow.right.id, causes: [top] },
    ]);
    expect((await app.jobs.dependencies(flow.top.id)).dependents).toMatchObject([
      { id: flow.left.id, status: 'failed', onFailure: 'fail' },
      { id: flow.right.id, status: 'failed', onFailure: 'fail' },
    ]);
  });
});

describe('a job that others wait for', () => {
  it('is not deleted without them', async () => {
    const app = await bootJobs({ types: [Step] });
    const later = { runAt: new Date(Date.now() + 3_600_000) };
    const parent = await app.jobs.enqueue(Step, {}, later);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    const grandchild = await app.jobs.enqueue(Step, {}, { dependsOn: [child.id] });
    const other = await app.jobs.enqueue(Step, {}, later);
    const refused = await refusal(app.jobs.delete(parent.id));
    expect(refused).toMatchObject({
      code: 'has_dependents',
      status: 409,
      members: { job_id: child.id },
    });
    await app.jobs.delete(parent.id, { cascade: true });
    for (const { id } of [parent, child, grandchild]) {
      expect(await refusal(app.jobs.get(id))).toMatchObject({ code: 'not_found' });
    }
    expect((await app.jobs.list()).jobs.map(({ id }) => id)).toEqual([other.id]);
    for (const table of ['job_extras', 'job_dependencies']) {
      expect(await app.sql(`SELECT * FROM ${table}`)).toEqual([]);
    }
  });

  it('is deleted with hundreds of them, one behind the other and side by side, in many transactions', async () => {
    const app = await bootJobs({ types: [Step], options: { role: 'producer' } });
    const items: Record<string, { type: typeof Step; dependsOn: string[] }> = {
      root: { type: Step, dependsOn: [] },
    };
    for (let n = 0; n < 400; n += 1) {
      items[`chain${n}`] = { type: Step, dependsOn: [n === 0 ? 'root' : `chain${n - 1}`] };
    }
    for (let n = 0; n < 100; n += 1) {
      items[`beside${n}`] = { type: Step, dependsOn: ['root', `chain${n % 7}`] };
    }
    const { root } = await app.jobs.enqueueFlow(items);
    const { store } = app.get<Engine>(JOBS_ENGINE);
    let taken = 0;
    const change = store.jobs.change.bind(store.jobs);
    const spy = vi.spyOn(store.jobs, 'change').mockImplementation(async (...args) => {
      const result = await change(...args);
      taken = Math.max(taken, result?.others?.length ?? 0);
      return result;
    });
    await app.jobs.delete(root?.id ?? '', { cascade: true });
    expect(spy.mock.calls.length).toBe(401);
    expect(taken).toBeLessThanOrEqual(100);
    for (const table of ['jobs', 'job_extras', 'job_dependencies']) {
      expect(await app.sql(`SELECT * FROM ${table}`)).toEqual([]);
    }
  }, 60_000);

  it('is not deleted with one that is at work', async () => {
    const app = await bootJobs({ types: [Gated, Step] });
    const parent = await app.run(Step);
    const child = await app.jobs.enqueue(Gated, {}, { dependsOn: [parent.id] });
    await gate.entry(child.id);
    expect(await refusal(app.jobs.delete(parent.id, { cascade: true }))).toMatchObject({
      code: 'job_active',
      status: 423,
    });
    (await gate.entry(child.id)).release();
    await waitForEnd(app.jobs, child.id);
    await app.jobs.delete(parent.id);
  });

  it('outlives its retention until they have ended', async () => {
    const app = await bootJobs({ types: [Gated, Step] });
    /** Retention looks when a process starts, at the oldest first. */
    const retention = async (): Promise<void> => {
      const unneeded = await app.run(Step);
      const looking = await bootJobs({
        types: [Gated, Step],
        database: app.database,
        options: { retention: { completed: '1ms' } },
      });
      await until(
        async () => (await codeOf(app.jobs.get(unneeded.id))) === 'not_found',
        'retention',
      );
      await looking.close();
    };
    const parent = await app.run(Step);
    const child = await app.jobs.enqueue(Gated, {}, { dependsOn: [parent.id] });
    const entry = await gate.entry(child.id);
    await retention();
    expect(entry.ctx.dependencies).toMatchObject([{ id: parent.id, status: 'completed' }]);
    expect(await app.jobs.get(parent.id)).toMatchObject({ status: 'completed' });
    entry.release();
    await waitForEnd(app.jobs, child.id);
    await retention();
    expect(await codeOf(app.jobs.get(parent.id))).toBe('not_found');
  });
});

@JobType({ group: 'compute', name: 'stubborn', suspendable: true, timeout: '50ms' })
class Stubborn implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ group: 'compute', name: 'pausing', suspendable: true })
class Pausing implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

describe('nobody waits for ever', () => {
  it('when the job that is waited for times out', async () => {
    const app = await bootJobs({ types: [Stubborn, Step] });
    const parent = await app.jobs.enqueue(Stubborn);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    expect((await waitForEnd(app.jobs, child.id)).error).toContain('timeout');
  });

  it('when it is canceled while it is suspended', async () => {
    const app = await bootJobs({ types: [Pausing, Step] });
    const parent = await app.jobs.enqueue(Pausing);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    await gate.entry(parent.id);
    await app.jobs.suspend(parent.id);
    await waitForStatus(app.jobs, parent.id, 'suspended');
    expect((await app.jobs.get(child.id)).status).toBe('waiting');
    await app.jobs.cancel(parent.id);
    expect((await waitForEnd(app.jobs, child.id)).error).toContain('canceled');
  });

  it('when it expires before it starts', async () => {
    const app = await bootJobs({ types: [Step] });
    const parent = await app.jobs.enqueue(
      Step,
      {},
      { runAt: new Date(Date.now() + 3_600_000), expiresAt: new Date(Date.now() + 50) },
    );
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    // A skipped one counts as done.
    expect((await waitForEnd(app.jobs, child.id)).status).toBe('completed');
  });

  it('when it expires while another one begins to wait for it', async () => {
    const app = await bootJobs({ types: [Step] });
    const parent = await app.jobs.enqueue(
      Step,
      {},
      { runAt: new Date(Date.now() + 3_600_000), expiresAt: new Date(Date.now() + 500) },
    );
    const child = await app.dataSource.transaction(async (manager) => {
      const made = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id], manager });
      await until(
        async () =>
          driverUnderTest !== 'postgres' ||
          (await app.sql(LOCKED_OUT)).length > 0 ||
          (await app.jobs.get(parent.id)).status === 'skipped',
        'the expiry to wait for its row',
      );
      return made;
    });
    expect((await waitForEnd(app.jobs, child.id)).status).toBe('completed');
  });

  it('when it is skipped or canceled with a whole queue', async () => {
    const app = await bootJobs({ types: [Pausing, Step] });
    await app.queues.pause('compute');
    const parent = await app.jobs.enqueue(Pausing);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    await app.queues.cancelWaiting('compute');
    expect((await waitForEnd(app.jobs, child.id)).status).toBe('failed');
  });

  it('when it ends in a transaction of its own', async () => {
    const app = await bootJobs({ types: [Transacting, Step] });
    const parent = await app.jobs.enqueue(Transacting);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    (await gate.entry(parent.id)).release();
    expect((await waitForEnd(app.jobs, child.id)).status).toBe('completed');
  });

  it('when it ends at the very moment at which others begin to wait for it', async () => {
    const app = await bootJobs({ types: [Step], options: { queues: { default: 20 } } });
    for (let round = 0; round < 10; round += 1) {
      const parent = await app.jobs.enqueue(Step);
      const children = await Promise.all(
        Array.from({ length: 50 }, () => app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] })),
      );
      for (const { id } of children) {
        expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
      }
    }
  });

  it('when a thousand wait for one that fails, and others for them', async () => {
    const app = await bootJobs({ types: [Gated, Step], options: { queues: { compute: 5 } } });
    const parent = await app.jobs.enqueue(Gated, { fails: true });
    const children = await app.jobs.enqueueMany(
      Array.from({ length: 1000 }, () => ({ type: Step, dependsOn: [parent.id] })),
    );
    const last = await app.jobs.enqueue(
      Step,
      {},
      { dependsOn: children.slice(0, 900).map(({ job }) => job?.id ?? '') },
    );
    (await gate.entry(parent.id)).release();
    expect((await app.jobs.wait(last.id, { timeout: '30s' })).status).toBe('failed');
    expect((await app.jobs.list({ status: ['failed'] })).total).toBe(1002);
  }, 60_000);
});

@JobType({ group: 'compute', name: 'transacting' })
class Transacting implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    await gate.hold(ctx);
    await ctx.transaction(async () => Promise.resolve('kept'), { complete: true });
  }
}
