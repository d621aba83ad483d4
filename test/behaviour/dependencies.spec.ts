import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { refusal } from '../support/refusals.js';
import { waitForEnd, waitForStatus } from '../support/waiting.js';

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

  it('is told once it is resumed of what ended while it was suspended', async () => {
    const app = await boot();
    const parent = await app.jobs.enqueue(Gated, { fails: true });
    const child = await app.jobs.enqueue(Step, {}, { dependsOn: [parent.id] });
    await app.jobs.suspend(child.id).catch(() => undefined);
    (await gate.entry(parent.id)).release();
    await waitForStatus(app.jobs, parent.id, 'failed');
    expect((await waitForEnd(app.jobs, child.id)).status).toBe('failed');
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
});
