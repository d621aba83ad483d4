import { describe, expect, it } from 'vitest';
import {
  JobType,
  type DependsOn,
  type Job,
  type JobContext,
  type JobHandler,
  type JobStatus,
  type OnFailure,
  type OnJobResume,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs, type HostOptions } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'held', suspendable: true })
class Held implements JobHandler, OnJobResume {
  async execute(ctx: JobContext): Promise<void> {
    if ((await gate.hold(ctx)) === 'skip') {
      ctx.skip('nothing to do');
    }
  }
  onJobResume(): void {
    throw new Error('cannot go on');
  }
}

@JobType({ group: 'compute', name: 'stalling', stallAfter: '100ms' })
class Stalling implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

/** When the handlers of jobs were called. */
const begun = new Map<string, number>();

@JobType({ name: 'step' })
class Step implements JobHandler {
  execute(ctx: JobContext): void {
    begun.set(ctx.job.id, performance.now());
  }
}

const types = [Held, Stalling, Step];

function boot(): Promise<BootedJobs> {
  const options = { queues: { compute: 5 }, lease: { sweep: '200ms', maxLost: 0 } };
  return bootJobs({ types, options });
}

/** A way in which the job that is waited for comes to its end, and what becomes of the one that waits. */
interface Ending {
  readonly how: string;
  readonly type?: typeof Stalling;
  readonly options?: HostOptions;
  readonly end: (app: BootedJobs, id: string) => Promise<unknown>;
  readonly parent: JobStatus;
  readonly child: JobStatus;
  /** What the error of the one that waits tells of it. */
  readonly why?: RegExp;
}

const ENDINGS: readonly Ending[] = [
  {
    how: 'is lost once too often',
    async end(app, id) {
      await gate.entry(id);
      // The lease is over by the database's clock; by its number, since others may have rows locked.
      const [row] = await app.sql<{ seq: string }>(`SELECT seq FROM jobs WHERE job_id = '${id}'`);
      await app.sql(`UPDATE jobs SET lease_until_ms = 1 WHERE seq = ${row?.seq}`);
    },
    parent: 'failed',
    child: 'failed',
    why: /ended as failed: worker lost/,
  },
  {
    how: 'is interrupted once too often',
    async end(app, id) {
      await gate.entry(id);
      await app.workers.interruptRuns({ olderThan: 0 });
    },
    parent: 'failed',
    child: 'failed',
    why: /ended as failed: interrupted/,
  },
  {
    how: 'stalls',
    type: Stalling,
    end: () => Promise.resolve(),
    parent: 'failed',
    child: 'failed',
    why: /ended as failed: Error: The run showed no progress/,
  },
  {
    how: 'cannot be resumed',
    options: { delay: '1h' },
    async end(app, id) {
      await app.jobs.suspend(id);
      expect(await codeOf(app.jobs.resume(id))).toBe('resume_failed');
    },
    parent: 'failed',
    child: 'failed',
    why: /ended as failed: .*cannot go on/,
  },
  {
    how: 'skips itself in its handler',
    end: async (_, id) => (await gate.entry(id)).release('skip'),
    parent: 'skipped',
    child: 'completed',
  },
];

describe('a job that waits for one that ends', () => {
  it.each(ENDINGS)('and $how learns of it', async ({ type = Held, ...ending }) => {
    const app = await boot();
    const parent = await app.jobs.enqueue(type, {}, ending.options);
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    expect(child.waitingFor).toBe('dependencies');
    await ending.end(app, parent.id);
    const ended = await waitForEnd(app.jobs, child.id);
    expect(ended).toMatchObject({ status: ending.child });
    if (ending.why !== undefined) {
      expect(ended.error).toMatch(ending.why);
    }
    expect((await app.jobs.get(parent.id)).status).toBe(ending.parent);
  });

  it('begins within 50 ms of the end of the last one', async () => {
    const app = await boot();
    const delays: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const first = await app.jobs.enqueue(Held);
      const last = await app.jobs.enqueue(Held);
      const child = await app.jobs.enqueue(Step, {}, { dependsOn: [first.id, last.id] });
      (await gate.entry(first.id)).release();
      await waitForEnd(app.jobs, first.id);
      const { release } = await gate.entry(last.id);
      // Its end is stored later than this.
      const ended = performance.now();
      release();
      await waitForEnd(app.jobs, child.id);
      delays.push((begun.get(child.id) ?? Infinity) - ended);
    }
    expect(Math.min(...delays)).toBeLessThan(50);
  });
});

type Policies = readonly [OnFailure, OnFailure, OnFailure];

/** What follows from the failure of three jobs for one that waits for them, in their order. */
const PRECEDENCE: readonly (readonly [policies: Policies, becomes: JobStatus])[] = [
  [['fail', 'cancel', 'run'], 'failed'],
  [['run', 'cancel', 'fail'], 'failed'],
  [['cancel', 'fail', 'run'], 'failed'],
  [['cancel', 'run', 'run'], 'canceled'],
  [['run', 'run', 'cancel'], 'canceled'],
  [['run', 'run', 'run'], 'completed'],
];

describe('a job that says of each that it waits for what follows from its failure', () => {
  it.each([
    ['before it is enqueued', 3],
    ['after it was enqueued', 0],
    ['partly before it is enqueued', 1],
  ])('fails rather than is canceled, and is canceled rather than runs: %s', async (_, before) => {
    const app = await boot();
    const parents = await Promise.all([1, 2, 3].map(() => app.jobs.enqueue(Held)));
    const fail = async ({ id }: Job): Promise<void> => {
      (await gate.entry(id)).fail(new Error('it broke'));
      await waitForEnd(app.jobs, id);
    };
    for (const parent of parents.slice(0, before)) {
      await fail(parent);
    }
    const children = await Promise.all(
      PRECEDENCE.map(([policies]) => {
        const dependsOn = parents.map(({ id }, at) => ({
          id,
          onFailure: policies[at] as OnFailure,
        }));
        return app.jobs.enqueue(Step, {}, { dependsOn });
      }),
    );
    for (const parent of parents.slice(before)) {
      expect(await app.jobs.get(children[0]?.id ?? '')).toMatchObject({
        waitingFor: 'dependencies',
      });
      await fail(parent);
    }
    for (const [at, [policies, status]] of PRECEDENCE.entries()) {
      const child = await waitForEnd(app.jobs, children[at]?.id ?? '');
      expect({ policies, status: child.status }).toEqual({ policies, status });
      // It names those on whose account it ended so, or less.
      const named = parents.filter(({ id }) => child.details?.includes(id));
      expect(named).toHaveLength(policies.filter((each) => each !== 'run').length);
      expect(child.error).toBe(status === 'failed' ? child.details : null);
    }
  });

  it('heeds only what it says of those that did not complete', async () => {
    const app = await boot();
    const [good, bad] = [await app.jobs.enqueue(Held), await app.jobs.enqueue(Held)];
    const enqueue = (ofGood: OnFailure, ofBad: OnFailure): Promise<Job> => {
      const dependsOn = [
        { id: good.id, onFailure: ofGood },
        { id: bad.id, onFailure: ofBad },
      ];
      return app.jobs.enqueue(Step, {}, { dependsOn });
    };
    const early = [await enqueue('fail', 'cancel'), await enqueue('fail', 'run')];
    (await gate.entry(good.id)).release();
    (await gate.entry(bad.id)).fail(new Error('it broke'));
    await Promise.all([good, bad].map(({ id }) => waitForEnd(app.jobs, id)));
    const late = [await enqueue('fail', 'cancel'), await enqueue('fail', 'run')];
    for (const [canceled, run] of [early, late]) {
      expect((await waitForEnd(app.jobs, canceled?.id ?? '')).status).toBe('canceled');
      expect((await waitForEnd(app.jobs, run?.id ?? '')).status).toBe('completed');
    }
  });
});

describe('a job that names another one twice', () => {
  const says =
    (...policies: readonly OnFailure[]) =>
    (id: string): DependsOn[] =>
      policies.map((onFailure) => ({ id, onFailure }));
  const NAMED: readonly (readonly [
    dependsOn: (id: string) => readonly DependsOn[],
    counts: OnFailure,
    becomes: JobStatus,
  ])[] = [
    [says('run', 'fail'), 'fail', 'failed'],
    [says('fail', 'run'), 'fail', 'failed'],
    [says('cancel', 'run', 'cancel'), 'cancel', 'canceled'],
    [says('run', 'run'), 'run', 'completed'],
    [(id) => [{ id, onFailure: 'run' }, id], 'fail', 'failed'],
    [
      (id) => [{ id: id.toUpperCase(), onFailure: 'cancel' }, ...says('run')(id)],
      'cancel',
      'canceled',
    ],
    // More than are compared one by one.
    [says(...Array<OnFailure>(10).fill('run'), 'cancel'), 'cancel', 'canceled'],
  ];

  it.each(['before', 'after'])(
    'waits for it once, by what is stricter, when that ended %s it was enqueued',
    async (when) => {
      const app = await boot();
      const parent = await app.jobs.enqueue(Held);
      const fail = async (): Promise<void> => {
        (await gate.entry(parent.id)).fail(new Error('it broke'));
        await waitForEnd(app.jobs, parent.id);
      };
      if (when === 'before') {
        await fail();
      }
      const children = await Promise.all(
        NAMED.map(([dependsOn]) => app.jobs.enqueue(Step, {}, { dependsOn: dependsOn(parent.id) })),
      );
      if (when === 'after') {
        await fail();
      }
      for (const [at, [, onFailure, status]] of NAMED.entries()) {
        const child = await waitForEnd(app.jobs, children[at]?.id ?? '');
        expect(child.dependsOn).toEqual([{ id: parent.id, onFailure }]);
        expect(child.status).toBe(status);
      }
    },
  );

  it('waits for it once in a flow, where it is named by its key', async () => {
    const app = await boot();
    const flow = await app.jobs.enqueueFlow({
      parent: { type: Held },
      child: {
        type: Step,
        dependsOn: [
          { id: 'parent', onFailure: 'run' },
          { id: 'parent', onFailure: 'cancel' },
        ],
      },
    });
    expect(flow.child.dependsOn).toEqual([{ id: flow.parent.id, onFailure: 'cancel' }]);
    (await gate.entry(flow.parent.id)).fail(new Error('it broke'));
    expect((await waitForEnd(app.jobs, flow.child.id)).status).toBe('canceled');
  });

  const KEYS = [
    ['an idempotency key', { idempotencyKey: 'k' }],
    ['a unique key', { unique: { key: 'k', onConflict: 'return', within: '1h' } }],
  ] as const;

  it.each(KEYS)(
    'waits for it once in a flow, where it is named by its id too and was there before by %s',
    async (_, key) => {
      const app = await boot();
      const parent = await app.jobs.enqueue(Held, {}, key);
      const behindBoth = (ofKey: OnFailure, ofId: OnFailure) =>
        app.jobs.enqueueFlow({
          parent: { type: Held, ...key },
          child: {
            type: Step,
            dependsOn: [
              { id: 'parent', onFailure: ofKey },
              { id: parent.id, onFailure: ofId },
            ],
          },
        });
      const flows = [await behindBoth('run', 'cancel'), await behindBoth('cancel', 'run')];
      const { release } = await gate.entry(parent.id);
      const good = await behindBoth('fail', 'run');
      expect(good.parent.id).toBe(parent.id);
      expect(good.child.dependsOn).toEqual([{ id: parent.id, onFailure: 'fail' }]);
      expect(good.child.waitingFor).toBe('dependencies');
      await app.jobs.cancel(parent.id);
      release();
      flows.push(await behindBoth('run', 'cancel'), await behindBoth('cancel', 'run'));
      for (const { child } of flows) {
        expect(child.dependsOn).toEqual([{ id: parent.id, onFailure: 'cancel' }]);
        expect((await waitForEnd(app.jobs, child.id)).status).toBe('canceled');
      }
      expect((await waitForEnd(app.jobs, good.child.id)).status).toBe('failed');
    },
  );

  it.each(KEYS)('waits for it once in a flow, where two of it are one by %s', async (_, key) => {
    const app = await boot();
    const flow = await app.jobs.enqueueFlow({
      one: { type: Held, ...key },
      same: { type: Held, ...key },
      child: { type: Step, dependsOn: [{ id: 'one', onFailure: 'run' }, 'same'] },
      other: { type: Step, dependsOn: ['same'] },
    });
    expect(flow.same.id).toBe(flow.one.id);
    expect(flow.child.dependsOn).toEqual([{ id: flow.one.id, onFailure: 'fail' }]);
    (await gate.entry(flow.one.id)).release();
    expect((await waitForEnd(app.jobs, flow.child.id)).status).toBe('completed');
    expect((await waitForEnd(app.jobs, flow.other.id)).status).toBe('completed');
  });
});
