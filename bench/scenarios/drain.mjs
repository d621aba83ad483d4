import { RATE_METRICS, rateOf } from './metrics.mjs';

const WARM_UP = 2_000;

/** A producer process stores the jobs, a worker process runs them; only the worker is measured. */
async function drain({ start, dir }, adapter, count, { warmUp = WARM_UP, fill } = {}) {
  const worker = await start(adapter, { dir, paused: true });
  if (fill !== undefined) await worker.call('fill', fill, 300_000);
  const producer = await start(adapter, { dir, producer: true });
  if (warmUp > 0) {
    await producer.call('enqueueInChunks', { count: warmUp });
    await worker.call('drain', { count: warmUp });
  }
  await producer.call('enqueueInChunks', { count });
  await producer.close();
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
    ]),
  ),
  within: ['delayed', 'finished', 'other'].flatMap((kind) => [
    { of: kind, to: 'empty', label: `rate beside ${KINDS[kind]} / alone` },
    { of: `${kind}Cpu`, to: 'emptyCpu', label: `CPU µs/job beside ${KINDS[kind]} / alone` },
  ]),
  size: { full: 1_000_000, quick: 100_000 },
  defaultPeers: ['nestjs-jobs', 'plainjob'],
  async run(context, adapter) {
    const measured = {};
    for (const kind of Object.keys(KINDS)) {
      const fill = kind === 'empty' ? undefined : { kind, rows: context.size };
      const one = await context.part((part) => drain(part, adapter, 10_000, { fill }));
      measured[kind] = one.rate;
      measured[`${kind}Cpu`] = one.cpuUs;
    }
    return measured;
  },
};
