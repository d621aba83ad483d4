import { describe, expect, it } from 'vitest';
import type { Engine } from '../../lib/engine/engine.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import {
  JobType,
  type EnqueueItem,
  type JobContext,
  type JobHandler,
  type JobStatus,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { refusal } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'parent', maxRetries: 0 })
class Parent implements JobHandler {
  async execute(ctx: JobContext<{ fails?: boolean }>): Promise<void> {
    await gate.hold(ctx as JobContext);
    if (ctx.params.fails === true) {
      throw new Error('it broke');
    }
  }
}

@JobType({ name: 'child', suspendable: true })
class Child implements JobHandler {
  execute(): void {}
}

const types = [Parent, Child];

async function enqueueAll(
  app: BootedJobs,
  items: readonly EnqueueItem[],
): Promise<readonly string[]> {
  const outcomes = await app.jobs.enqueueMany(items);
  return outcomes.map(({ job }) => job?.id ?? '');
}

async function countOf(app: BootedJobs, status: JobStatus): Promise<number> {
  const [row] = await app.sql<{ n: string | number }>(
    `SELECT COUNT(*) AS n FROM jobs WHERE type = 'default:child' AND status = '${status}'`,
  );
  return Number(row?.n);
}

describe('a job that waits for others', () => {
  it.each(['resume', 'retry'] as const)(
    'goes on when it is put back by a %s at the very moment at which the last of them ends',
    async (operation) => {
      const app = await bootJobs({ types });
      for (let round = 0; round < 10; round += 1) {
        const parent = await app.jobs.enqueue(Parent);
        const children = await enqueueAll(
          app,
          Array.from({ length: 20 }, () => ({ type: Child, dependsOn: [parent.id] })),
        );
        const entry = await gate.entry(parent.id);
        await Promise.all(
          children.map((id) =>
            operation === 'resume' ? app.jobs.suspend(id) : app.jobs.cancel(id),
          ),
        );
        const back = children.slice(0, round).map((id) => app.jobs[operation](id));
        entry.release();
        back.push(...children.slice(round).map((id) => app.jobs[operation](id)));
        await Promise.all(back);
        for (const id of children) {
          expect((await waitForEnd(app.jobs, id)).status).toBe('completed');
        }
      }
    },
    60_000,
  );

  it('waits for all of them, whoever tells of one that had thousands waiting for it', async () => {
    const app = await bootJobs({ types });
    const other = await bootJobs({ types, database: app.database, options: { role: 'producer' } });
    /** What each process does now and then. */
    const goOn = [app, other].map((each) => each.get<Engine>(JOBS_ENGINE).store.jobs);
    const failing = await app.jobs.enqueue(Parent, { fails: true });
    const open = await app.jobs.enqueue(Parent);
    const dependsOn = [{ id: failing.id, onFailure: 'run' as const }, open.id];
    const count = 3000;
    for (let at = 0; at < count; at += 1000) {
      await enqueueAll(
        app,
        Array.from({ length: 1000 }, () => ({ type: Child, dependsOn })),
      );
    }
    (await gate.entry(failing.id)).release();
    await waitForEnd(app.jobs, failing.id);
    const held = await gate.entry(open.id);
    const untold = async (): Promise<number> => {
      const rows = await app.sql(
        `SELECT 1 FROM job_dependencies WHERE told = 0 AND parent_seq IN
           (SELECT seq FROM jobs WHERE job_id = '${failing.id}')`,
      );
      return rows.length;
    };
    await until(
      async () => {
        await Promise.all(goOn.map((each) => each.tellDependents()));
        return (await untold()) === 0;
      },
      'all to be told',
      20_000,
    );
    expect(await countOf(app, 'waiting')).toBe(count);
    held.release();
    await until(async () => (await countOf(app, 'completed')) === count, 'their ends', 30_000);
  }, 90_000);
});

it('cannot wait in one flow for a job of another tenant', async () => {
  const app = await bootJobs({ types });
  const refused = await refusal(
    app.jobs.enqueueFlow({
      first: { type: Child, tenantId: 'one' },
      second: { type: Child, tenantId: 'another', dependsOn: ['first'] },
    }),
  );
  expect(refused).toMatchObject({
    code: 'unknown_dependency',
    status: 400,
    members: { key: 'second' },
    errors: [{ field: 'second.dependsOn', message: 'names a job of another tenant' }],
  });
  expect(await app.sql('SELECT * FROM jobs')).toEqual([]);
});
