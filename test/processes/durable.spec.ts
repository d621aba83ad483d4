import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase, isFile } from '../support/databases.js';
import { until, waitForEnd } from '../support/waiting.js';

@JobType({ name: 'durable' })
class Durable implements JobHandler {
  execute(): void {}
}

const options = {
  lease: { duration: '1s', sweep: '200ms', maxLost: 1000 },
  queues: { default: 20 },
};

const steps = [1, 2, 3];
const open = steps.map((n) => `open ${n}`);
const between = [
  ...steps.flatMap((n) => [`before ${n}`, `in ${n}`, `committed ${n}`, `after ${n}`]),
  'received',
];
/** A transaction that is open holds a file's only write lock: one at a time, and no other job goes on. */
const rounds = isFile ? [between, ...open.map((point) => [point])] : [[...between, ...open]];

interface Made {
  readonly steps: readonly { readonly n: number; readonly attempt: number }[];
  readonly signal: unknown;
}

it('kill -9 between any two steps, in one, and around its commit: each effect happens once', async () => {
  const database = createDatabase();
  const producer = await bootJobs({
    types: [Durable],
    database,
    options: { role: 'producer', ...options },
  });
  await producer.sql('CREATE TABLE effects (job VARCHAR(64), step INT)');
  const jobs = new Map<string, string>();
  for (const points of rounds) {
    const worker = await ChildApplication.start({ database, options });
    const ids = await Promise.all(
      points.map(async (parkAt) => {
        const { id } = await producer.jobs.enqueue(Durable, { parkAt }, { delay: '1h' });
        jobs.set(parkAt, id);
        await producer.jobs.signal(id, 'go', parkAt);
        await producer.jobs.signal(id, 'go', 'not wanted');
        await producer.jobs.update(id, { runAt: new Date(0) });
        return id;
      }),
    );
    for (const id of ids) {
      await worker.event('parked', id);
    }
    await worker.kill('SIGKILL');
  }
  await ChildApplication.start({ database, options });
  for (const [parkAt, id] of jobs) {
    const job = await waitForEnd(producer.jobs, id, 30_000);
    expect([parkAt, job]).toMatchObject([parkAt, { status: 'completed', retries: 0 }]);
    expect(job.lost).toBeGreaterThan(0);
    const made = job.result as Made;
    expect([parkAt, made.signal]).toEqual([parkAt, parkAt]);
    // Whatever was committed before the kill is not made again, and says so.
    expect([parkAt, made.steps.map(({ attempt }) => attempt === 1)]).toEqual([
      parkAt,
      steps.map((n) => isDone(n, parkAt)),
    ]);
    const effects = await producer.sql<{ step: number }>(
      `SELECT step FROM effects WHERE job = '${id}' ORDER BY step`,
    );
    expect([parkAt, effects.map(({ step }) => Number(step))]).toEqual([parkAt, steps]);
  }
  const left = await until(
    async () => producer.sql<{ payload: string }>('SELECT payload FROM job_signals'),
    'the signals',
  );
  expect(left.map(({ payload }) => payload)).toEqual([...jobs].map(() => '"not wanted"'));
}, 120_000);

/** Whether the effect of a step was committed when its first run was killed there. */
function isDone(n: number, parkAt: string): boolean {
  const [where, at] = parkAt.split(' ');
  return (
    where === 'received' || n < Number(at) || (n === Number(at) && /committed|after/.test(parkAt))
  );
}
