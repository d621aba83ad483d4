import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'quick', timeout: '300d', retryDelay: '300d' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

describe('times longer than a timer can hold', () => {
  it('do not fire at once, wherever they are given', async () => {
    const warnings: string[] = [];
    const listen = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', listen);
    try {
      const app = await bootJobs({
        types: [Held, Quick],
        options: {
          lease: { duration: '300d', sweep: '300d' },
          grace: { shutdown: '300d', signal: '300d' },
          retention: { completed: '300d' },
        },
      });
      await app.jobs.enqueue(Quick, undefined, {
        delay: '300d',
        expiresAt: new Date(Date.now() + 400 * 86_400_000),
      });
      const { id } = await app.jobs.enqueue(Held, undefined, { timeout: '300d' });
      const { release, ctx } = await gate.entry(id);
      expect((await app.run(Quick)).result).toBe('quick');
      expect(ctx.signal.aborted).toBe(false);

      // The grace of a cancel is as long: nothing is settled by force.
      await app.jobs.cancel(id);
      expect((await app.run(Quick)).result).toBe('quick');
      expect((await app.jobs.get(id)).status).toBe('canceling');
      release('done');
      expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'canceled', result: 'done' });

      const last = await app.jobs.enqueue(Held);
      const held = await gate.entry(last.id);
      const closed = app.close();
      held.release('in time');
      await closed;
      expect(warnings).not.toContain('TimeoutOverflowWarning');
    } finally {
      process.off('warning', listen);
    }
  });
});
