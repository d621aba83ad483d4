import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'gated' })
class Gated implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ group: 'compute', name: 'looking-back' })
class LookingBack implements JobHandler {
  async execute(ctx: JobContext<unknown, EntityManager>): Promise<void> {
    await gate.hold(ctx);
    await ctx.transaction(
      async (manager) => {
        // From here on the transaction sees what is committed by now.
        await manager.query('SELECT COUNT(*) FROM jobs');
        await gate.hold(ctx);
      },
      { complete: true },
    );
  }
}

@JobType({ name: 'patient', suspendable: true })
class Patient implements JobHandler {
  execute(): void {}
}

it('a job that completes in a transaction that began before tells its dependents as they are now, not then', async () => {
  const app = await bootJobs({
    types: [Gated, LookingBack, Patient],
    options: { queues: { compute: 5 } },
  });
  const broken = await app.jobs.enqueue(Gated);
  const last = await app.jobs.enqueue(LookingBack);
  const child = await app.jobs.enqueue(Patient, {}, { dependsOn: [broken.id, last.id] });
  await app.jobs.suspend(child.id);
  (await gate.entry(last.id)).release();
  const { release } = await gate.entry(last.id, 2);
  (await gate.entry(broken.id)).fail(new Error('it broke'));
  await waitForEnd(app.jobs, broken.id);
  expect(await app.jobs.resume(child.id)).toMatchObject({ waitingFor: 'dependencies' });
  release();
  const failed = await waitForEnd(app.jobs, child.id);
  expect(failed).toMatchObject({ status: 'failed', revision: 0 });
  expect(failed.error).toContain(`${broken.id} (compute:gated) ended as failed: Error: it broke`);
});
