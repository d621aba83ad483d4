import { expect, it } from 'vitest';
import { JobType, type Job, type JobHandler } from '../../lib/index.js';
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
  queues: { default: 40 },
};

const steps = [1, 2, 3, 4, 5];
const open = steps.map((n) => `open ${n}`);
const between = [
  ...steps.flatMap((n) => [`before ${n}`, `in ${n}`, `committed ${n}`, `after ${n}`]),
  'received',
  'falling asleep',
  'beginning to wait',
];
/** Where a job stands in no process: it has no slot, and a kill does not make it lost. */
const released = ['awaiting', 'asleep'];
/** A transaction that is open holds a file's only write lock: one at a time, and no other job goes on. */
const rounds = isFile
  ? [[...between, ...released], ...open.map((point) => [point])]
  : [[...between, ...open, ...released]];

const DEADLINE_MS = 30_000;

interface Made {
  /** What each step gave: the process in which it was done. */
  readonly steps: readonly { readonly n: number; readonly pid: number }[];
  readonly early: unknown;
  readonly late: unknown;
}

it('kill -9 between any two steps, in one, around its commit, asleep and waiting: each effect happens once', async () => {
  const database = createDatabase();
  const producer = await bootJobs({
    types: [Durable],
    database,
    options: { role: 'producer', ...options },
  });
  await producer.sql('CREATE TABLE effects (job VARCHAR(64), step INT)');
  const jobs = new Map<string, string>();
  const idOf = (parkAt: string): string => jobs.get(parkAt) ?? '';
  const waitsFor = (id: string, what: Job['waitingFor']): Promise<true> =>
    until(
      async () => (await producer.jobs.get(id)).waitingFor === what,
      `${id} to wait: ${what}`,
      DEADLINE_MS,
    );
  const sent = new Set<string>();
  /** By job, the process that is killed while it has it, or while it waits. */
  const killed = new Map<string, number>();
  const goOn = async (id: string): Promise<void> => {
    sent.add(id);
    await producer.jobs.signal(id, 'go on', 'sent later');
  };
  const enqueue = async (parkAt: string, more: object = {}): Promise<string> => {
    const { id } = await producer.jobs.enqueue(Durable, { parkAt, ...more }, { delay: '1h' });
    jobs.set(parkAt, id);
    await producer.jobs.signal(id, 'go', parkAt);
    await producer.jobs.signal(id, 'go', 'not wanted');
    await producer.jobs.update(id, { runAt: new Date(0) });
    return id;
  };
  for (const points of rounds) {
    const worker = await ChildApplication.start({
      database,
      options,
      fixture: { parking: points },
    });
    const parked = points.filter((point) => !released.includes(point));
    await Promise.all(parked.map((parkAt) => enqueue(parkAt)));
    for (const parkAt of parked) {
      const id = idOf(parkAt);
      if (parkAt.endsWith(' 5')) {
        await waitsFor(id, 'signal');
        await goOn(id);
      }
      await worker.event('parked', id, DEADLINE_MS);
    }
    if (points.includes('awaiting')) {
      await waitsFor(await enqueue('awaiting'), 'signal');
      await waitsFor(await enqueue('asleep', { sleep: '3s' }), 'time');
    }
    await worker.kill('SIGKILL');
    points.forEach((parkAt) => killed.set(idOf(parkAt), worker.pid));
    if (points.includes('awaiting')) {
      // Nobody is there: one waits for it, the run of the other had stored just that it does.
      await goOn(idOf('awaiting'));
      await goOn(idOf('beginning to wait'));
      expect((await producer.jobs.get(idOf('asleep'))).status).toBe('waiting');
    }
  }
  await ChildApplication.start({ database, options });
  for (const [parkAt, id] of jobs) {
    if (!sent.has(id)) {
      await waitsFor(id, 'signal');
      await goOn(id);
    }
    const job = await waitForEnd(producer.jobs, id, DEADLINE_MS);
    expect([parkAt, job]).toMatchObject([parkAt, { status: 'completed', retries: 0 }]);
    if (!released.includes(parkAt)) {
      expect(job.lost).toBeGreaterThan(0);
    }
    const outcomes = (await producer.jobs.runs(id)).map(({ outcome }) => outcome);
    expect([parkAt, outcomes]).toEqual([parkAt, expect.arrayContaining(['released'])]);
    const made = job.result as Made;
    expect([parkAt, made.early, made.late]).toEqual([parkAt, parkAt, 'sent later']);
    // Whatever was committed before the kill is not made again, and says so.
    expect([parkAt, made.steps.map(({ pid }) => pid === killed.get(id))]).toEqual([
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

const FOLLOWED_BY: Readonly<Record<string, number>> = {
  received: 4,
  'falling asleep': 4,
  asleep: 4,
  'beginning to wait': 5,
  awaiting: 5,
};

/** Whether the effect of a step was committed when its process was killed there. */
function isDone(n: number, parkAt: string): boolean {
  const at = FOLLOWED_BY[parkAt] ?? Number(parkAt.slice(-1));
  return n < at || (n === at && /committed|after/.test(parkAt));
}
