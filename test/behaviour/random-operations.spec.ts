import { Injectable } from '@nestjs/common';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  canTransition,
  InjectQueueWorker,
  isFinal,
  isJobsError,
  JobType,
  QueueWorker,
  type JobContext,
  type JobEvent,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { until } from '../support/waiting.js';

/**
 * Any operations in any order on jobs that run, stop, fail and time out meanwhile: whatever the
 * interleaving, the transitions are legal and the history adds up. fast-check prints the seed.
 */
const gate = handlerGate();

@JobType({ name: 'obedient', suspendable: true, maxRetries: 1, retryDelay: 0 })
class Obedient implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'deaf', suspendable: true, timeout: '40ms' })
class Deaf implements JobHandler {
  async execute(ctx: JobContext): Promise<unknown> {
    await ctx.checkpoint(ctx.attempt);
    return gate.hold(ctx);
  }
}

@Injectable()
class Panel {
  constructor(@InjectQueueWorker('default') readonly worker: QueueWorker) {}
}

const OPERATIONS = [
  'cancel',
  'suspend',
  'resume',
  'retry',
  'skip',
  'fail',
  'update',
  'delete',
  'unlock',
] as const;
const HANDLERS = ['return', 'throw', 'wait'] as const;

const anyStep = fc.record({
  job: fc.nat(3),
  act: fc.constantFrom(...OPERATIONS, ...OPERATIONS, ...HANDLERS),
  /** Whether the next step begins before this one has ended. */
  races: fc.boolean(),
});

let app: BootedJobs;
const events: JobEvent[] = [];

beforeAll(async () => {
  app = await bootJobs({
    types: [Obedient, Deaf],
    options: { queues: { default: 2 }, grace: { shutdown: '200ms', signal: '20ms' } },
    providers: [Panel],
    lifetime: 'file',
  });
  app.get(Panel).worker.events$.subscribe((event) => events.push(event));
});

async function act(
  name: (typeof OPERATIONS)[number] | (typeof HANDLERS)[number],
  id: string,
): Promise<void> {
  const entry = gate.entries.findLast((each) => each.ctx.job.id === id);
  switch (name) {
    case 'return':
      return entry?.release('returned');
    case 'throw':
      return entry?.fail(new Error('thrown'));
    case 'wait':
      return new Promise((resolve) => setImmediate(resolve));
    case 'update':
      await app.jobs.update(id, { priority: 1 });
      return;
    default:
      await app.jobs[name](id);
  }
}

/** Refusals are part of the game; anything that is no refusal is a failure. */
async function tolerant(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (
      !isJobsError(error) ||
      error.code === 'internal_error' ||
      error.code.startsWith('database_')
    ) {
      throw error;
    }
  }
}

/** Every job comes to rest: final, suspended, or deleted. */
async function settle(ids: readonly string[]): Promise<void> {
  await until(async () => {
    for (const entry of gate.entries) {
      entry.release('swept up');
    }
    const jobs = await app.jobs.list({
      limit: 1000,
      status: ['waiting', 'running', 'canceling', 'suspending', 'resuming', 'locked'],
    });
    return !jobs.jobs.some((job) => ids.includes(job.id));
  }, 'every job to come to rest');
}

async function check(id: string): Promise<void> {
  const job = await app.jobs.get(id).catch(() => undefined);
  const told = (): JobEvent[] =>
    events.filter((event) => event.jobId === id && event.type === 'status');
  if (job !== undefined) {
    // A reader may see what is committed before the writer here hears of it.
    await until(() => told().at(-1)?.sequence === job.sequence, 'the last event');
  }
  const own = told();
  for (const [n, event] of own.entries()) {
    const before = own[n - 1];
    expect(event.sequence).toBeGreaterThan(before?.sequence ?? 0);
    if (event.from !== undefined) {
      const isRetry =
        event.status === 'waiting' && ['failed', 'timeout', 'canceled'].includes(event.from);
      expect(
        isRetry || canTransition(event.from, event.status),
        `${event.from} → ${event.status}`,
      ).toBe(true);
    }
  }
  if (job === undefined) {
    return;
  }
  const runs = await app.jobs.runs(id);
  expect(runs.map((run) => run.revision)).toEqual(runs.map((_, n) => n + 1));
  expect(job.revision).toBe(runs.length);
  expect(job.retries).toBeLessThanOrEqual(1);
  expect(job.lost).toBe(0);
  expect(runs.every((run) => run.outcome !== 'running' && run.endedAt !== null)).toBe(true);
  expect(job.finishedAt !== null).toBe(isFinal(job.status));
  expect(own.at(-1)).toMatchObject({ status: job.status, sequence: job.sequence });
  // At most one accepted outcome a run, and only the last one may be the job's own.
  expect(
    runs.slice(0, -1).filter((run) => run.outcome === 'completed' || run.outcome === 'skipped'),
  ).toEqual([]);
}

describe('any operations in any order', () => {
  it('leave every job in a state that its history explains', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 5, maxLength: 25 }), async (steps) => {
        events.length = 0;
        const ids: string[] = [];
        for (const type of [Obedient, Deaf, Obedient, Deaf]) {
          ids.push((await app.jobs.enqueue(type)).id);
        }
        let pending: Promise<unknown>[] = [];
        for (const step of steps) {
          pending.push(tolerant(act(step.act, ids[step.job] as string)));
          if (!step.races) {
            await Promise.all(pending);
            pending = [];
          }
        }
        await Promise.all(pending);
        await settle(ids);
        for (const id of ids) {
          await check(id);
        }
        await Promise.all(ids.map((id) => tolerant(app.jobs.delete(id))));
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
