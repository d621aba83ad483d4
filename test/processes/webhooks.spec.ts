import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { chance, seedOfRun } from '../support/chance.js';
import { ChildApplication } from '../support/children.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { until, waitForEnd } from '../support/waiting.js';

@JobType({ name: 'marked' })
class Marked implements JobHandler {
  execute(): void {}
}

const isFull = process.env['JOBS_TEST_FULL'] === '1';
const ROUNDS = isFull ? 10 : 5;
const JOBS = 20;
const options = {
  lease: { duration: '1s', sweep: '200ms', maxLost: 1000 },
  webhooks: { ...LOOPBACK, retry: Array.from({ length: 20 }, () => '1s') },
};

/** Somebody who enqueues and sends nothing, and an endpoint that hears everything. */
async function producerFor(receiver: Receiver): Promise<BootedJobs> {
  const producer = await bootJobs({ types: [Marked], options: { role: 'producer', ...options } });
  await producer.webhooks.create({ url: receiver.url });
  return producer;
}

async function enqueue({ jobs }: BootedJobs, ms: () => number): Promise<readonly string[]> {
  const items = Array.from({ length: JOBS }, () => ({ type: Marked, params: { ms: ms() } }));
  return (await jobs.enqueueMany(items)).map(({ job }) => job?.id ?? '');
}

/** What a dead process held is free, as it would be half a minute later. */
async function leasesEnd(app: BootedJobs): Promise<void> {
  await app.sql('UPDATE job_deliveries SET lease_until_ms = 0 WHERE lease_until_ms IS NOT NULL');
}

/** All that happened to a job has arrived, in order; what arrived again did so before what came next. */
function checkArrivals(receiver: Receiver, id: string, last: number): void {
  const hooks = receiver.of(id);
  const sequences = hooks.map(({ event }) => event.data.sequence);
  expect(sequences, id).toEqual(sequences.toSorted((a, b) => a - b));
  expect([...new Set(sequences)], id).toEqual(Array.from({ length: last }, (_, at) => at + 1));
  for (const sequence of new Set(sequences)) {
    const same = hooks.filter(({ event }) => event.data.sequence === sequence);
    expect(new Set(same.map(({ headers }) => headers['webhook-id'])).size, id).toBe(1);
    expect(new Set(same.map(({ body }) => body)).size, id).toBe(1);
  }
}

async function checkAll(
  app: BootedJobs,
  receiver: Receiver,
  ids: readonly string[],
): Promise<void> {
  for (const id of ids) {
    await receiver.told(id, 'job.completed', 60_000);
    const { sequence } = await app.jobs.get(id);
    checkArrivals(receiver, id, sequence);
  }
  const waiting = `SELECT COUNT(*) AS n FROM job_deliveries WHERE status <> 'delivered'`;
  await until(
    async () => Number((await app.sql<{ n: unknown }>(waiting))[0]?.n) === 0,
    'each delivery to be noted',
  );
}

describe('kill -9 of who delivers', () => {
  it('between the changes and their deliveries loses none of them', async () => {
    let isDeaf = true;
    const receiver = await Receiver.open(() => (isDeaf ? undefined : 204));
    const producer = await producerFor(receiver);
    const first = await ChildApplication.start({ database: producer.database, options });
    const ids = await enqueue(producer, () => 0);
    for (const id of ids) {
      await waitForEnd(producer.jobs, id, 20_000);
    }
    // It has heard of the first events only, and has acknowledged none.
    await receiver.received(JOBS);
    await first.kill('SIGKILL');
    expect(new Set(receiver.hooks.map(({ event }) => event.type))).toEqual(
      new Set(['job.waiting']),
    );
    isDeaf = false;
    await leasesEnd(producer);
    await ChildApplication.start({ database: producer.database, options });
    await checkAll(producer, receiver, ids);
    const again = receiver.of(ids[0] ?? '').filter(({ event }) => event.data.sequence === 1);
    expect(again).toHaveLength(2);
  }, 60_000);

  it(
    `before, while and after it is answered, ${ROUNDS} times, loses nothing, and what comes twice is the same`,
    async () => {
      const seed = seedOfRun();
      const random = chance(seed);
      let child: ChildApplication | undefined;
      let killAt = Infinity;
      const receiver = await Receiver.open((_hook, nth, response) => {
        if (nth !== killAt) {
          return 204;
        }
        if (random() < 0.5) {
          response.writeHead(204).end();
        }
        void child?.kill('SIGKILL');
        return undefined;
      });
      const producer = await producerFor(receiver);
      const { database } = producer;
      const ids: string[] = [];
      try {
        for (let round = 0; round < ROUNDS; round += 1) {
          killAt = receiver.hooks.length + 1 + Math.floor(random() * 2 * JOBS);
          child = ChildApplication.spawn({ database, options });
          ids.push(...(await enqueue(producer, () => Math.floor(random() * 20))));
          await until(() => child?.exit, `the kill (seed ${seed})`, 60_000);
          await leasesEnd(producer);
        }
        killAt = Infinity;
        await ChildApplication.start({ database, options });
        await checkAll(producer, receiver, ids);
      } catch (error) {
        throw new Error(`JOBS_TEST_SEED=${seed}`, { cause: error });
      }
    },
    60_000 + ROUNDS * 10_000,
  );
});
