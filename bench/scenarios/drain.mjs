import { setTimeout as sleep } from 'node:timers/promises';
import { jobsFor, RATE_METRICS, rateOf } from './metrics.mjs';

/** What a job costs in a process that runs for a while; S3-cold says what the first ones cost. */
const WARM_UP = 20_000;

/** A producer process stores the jobs, a worker process runs them; only the worker is measured. */
async function drain({ start, dir, database }, adapter, jobs, { fill, ...settings } = {}) {
  const [count, warmUp] = jobsFor(adapter, jobs, settings.warmUp ?? WARM_UP);
  const worker = await start(adapter, { dir, paused: true });
  if (fill !== undefined) await worker.call('fill', fill, 300_000);
  const producer = await start(adapter, { dir, producer: true });
  if (warmUp > 0) {
    await producer.call('enqueueInChunks', { count: warmUp });
    await worker.call('drain', { count: warmUp });
  }
  await producer.call('enqueueInChunks', { count });
  await producer.close();
  await database?.checkpoint();
  return rateOf(count, await worker.call('drain', { count }, 300_000));
}

const scenario = (id, title, full, quick, settings) => ({
  id,
  title,
  metrics: RATE_METRICS,
  size: { full, quick },
  run: (context, adapter) => drain(context, adapter, context.size, settings),
});

export const S3 = scenario('S3', 'Drain 10,000 no-op jobs, capacity 10', 10_000, 5_000);
export const S3_100K = scenario(
  'S3-100k',
  'Drain 100,000 no-op jobs, capacity 10',
  100_000,
  20_000,
);
export const S3_COLD = scenario(
  'S3-cold',
  'Drain 10,000 no-op jobs in a process that has run none before',
  10_000,
  5_000,
  { warmUp: 0 },
);

const KINDS = {
  empty: 'alone',
  delayed: 'delayed',
  finished: 'finished',
  other: 'ready elsewhere',
};

/** The rate beside a million other rows, against the same drain without them in the same round. */
export const S6 = {
  id: 'S6',
  title:
    'Drain 10,000 no-op jobs beside a million others: delayed, finished, ready in another queue',
  metrics: Object.fromEntries(
    Object.entries(KINDS).flatMap(([kind, label]) => [
      [kind, { label: `jobs/s, ${label}`, better: 'higher', digits: 0 }],
      [`${kind}Cpu`, { label: `CPU µs/job, ${label}`, better: 'lower', digits: 1 }],
      [`${kind}Server`, { label: `of it the server, ${label}`, better: 'lower', digits: 1 }],
    ]),
  ),
  within: ['delayed', 'finished', 'other'].flatMap((kind) => [
    { of: kind, to: 'empty', label: `rate beside ${KINDS[kind]} / alone` },
    { of: `${kind}Cpu`, to: 'emptyCpu', label: `CPU µs/job beside ${KINDS[kind]} / alone` },
    { of: `${kind}Server`, to: 'emptyServer', label: `server's beside ${KINDS[kind]} / alone` },
  ]),
  size: { full: 1_000_000, quick: 100_000 },
  defaultPeers: {
    file: ['nestjs-jobs', 'plainjob'],
    postgres: ['nestjs-jobs-postgres', 'graphile-tuned'],
  },
  modes: ['file', 'postgres'],
  async run(context, adapter) {
    const measured = {};
    for (const kind of Object.keys(KINDS)) {
      const fill = kind === 'empty' ? undefined : { kind, rows: context.size };
      const one = await context.part((part) => drain(part, adapter, 10_000, { fill }));
      measured[kind] = one.rate;
      measured[`${kind}Cpu`] = one.cpuUs;
      if (one.serverUs) measured[`${kind}Server`] = one.serverUs;
    }
    return measured;
  },
};

/** The same backlog worked off by so many processes. */
async function share({ start, dir, database }, adapter, jobs, processes) {
  const [count, warmUp] = jobsFor(adapter, jobs, WARM_UP);
  const workers = [];
  for (let n = 0; n < processes; n += 1) workers.push(await start(adapter, { dir, paused: true }));
  const producer = await start(adapter, { dir, producer: true });
  for (const worker of workers) {
    await producer.call('enqueueInChunks', { count: warmUp });
    await worker.call('drain', { count: warmUp });
  }
  await producer.call('enqueueInChunks', { count });
  await producer.close();
  await database.checkpoint();
  const before = database.cpuUs();
  const all = (command) => Promise.all(workers.map((worker) => worker.call(command)));
  const begun = performance.now();
  await all('work');
  const counted = async () => (await all('counted')).reduce((sum, each) => sum + each, 0);
  while ((await counted()) < count) await sleep(2);
  const measured = await all('worked');
  const ms = performance.now() - begun;
  const cpuUs = measured.reduce((sum, each) => sum + each.cpuUs, 0);
  return rateOf(count, { ms, cpuUs, serverUs: database.cpuUs() - before });
}

export const S7 = {
  id: 'S7',
  title: 'Drain 40,000 no-op jobs with two processes, against one',
  metrics: {
    two: { label: 'jobs/s, two', better: 'higher', digits: 0 },
    twoCpu: { label: 'CPU µs/job, two', better: 'lower', digits: 1 },
    one: { label: 'jobs/s, one', better: 'higher', digits: 0 },
    oneCpu: { label: 'CPU µs/job, one', better: 'lower', digits: 1 },
  },
  within: [{ of: 'two', to: 'one', label: 'rate of two processes / of one' }],
  size: { full: 40_000, quick: 10_000 },
  modes: ['postgres', 'mariadb'],
  async run(context, adapter) {
    const measured = {};
    for (const [name, processes] of Object.entries({ one: 1, two: 2 })) {
      const got = await context.part((part) => share(part, adapter, context.size, processes));
      measured[name] = got.rate;
      measured[`${name}Cpu`] = got.cpuUs;
    }
    return measured;
  },
};
