import { jobsFor } from './metrics.mjs';

const CALLERS = 10;
const WARM_UP = 2_000;
const METRICS = {
  out: { label: 'out/s', better: 'higher', digits: 0 },
  in: { label: 'in/s', better: 'higher', digits: 0 },
  kept: { label: 'out / in', better: 'higher', digits: 2 },
  cpuUs: { label: 'CPU µs/job out', better: 'lower', digits: 1 },
};

export const perSecond = (count, ms) => (count / ms) * 1000;

function metricsOf({ sent, worked, ms, cpuUs, serverUs = 0 }) {
  return {
    out: perSecond(worked, ms),
    in: perSecond(sent, ms),
    kept: worked / sent,
    cpuUs: (cpuUs + serverUs) / worked,
  };
}

export async function warm(worker, producer, adapter) {
  const [count] = jobsFor(adapter, WARM_UP, 0);
  await producer.call('enqueueInChunks', { count });
  await worker.call('drain', { count });
}

/** Both at once for so long, from the same moment on. */
export async function floodAndWork(worker, producer, ms) {
  const startsAt = (await producer.call('sharedNow')) + 300e6;
  const [worked, sent] = await Promise.all([
    worker.call('countFor', { startsAt, ms }, ms + 60_000),
    producer.call('floodFor', { startsAt, ms, callers: CALLERS }, ms + 60_000),
  ]);
  const cpuUs = worked.cpuUs + sent.cpuUs;
  return { sent: sent.count, worked: worked.count, ms, cpuUs, serverUs: worked.serverUs };
}

export const S5 = {
  id: 'S5',
  title: 'Enqueue with 10 callers and work at once for 10 s, two processes',
  metrics: METRICS,
  size: { full: 10_000, quick: 3_000 },
  mostRounds: 5,
  async run({ start, dir, size: ms }, adapter) {
    const worker = await start(adapter, { dir, paused: true, abandoned: true });
    const producer = await start(adapter, { dir, producer: true, abandoned: true });
    await warm(worker, producer, adapter);
    return metricsOf(await floodAndWork(worker, producer, ms));
  },
};

export const S5_ONE = {
  id: 'S5-one',
  title: 'Enqueue with 10 callers and work at once for 10 s, one process',
  metrics: METRICS,
  size: { full: 10_000, quick: 3_000 },
  mostRounds: 5,
  async run({ start, dir, size: ms }, adapter) {
    const both = await start(adapter, { dir, paused: true, abandoned: true });
    await warm(both, both, adapter);
    const {
      in: sent,
      out: worked,
      cpuUs,
      serverUs,
    } = await both.call('mixedFor', { ms, callers: CALLERS }, ms + 60_000);
    return metricsOf({ sent, worked, ms, cpuUs, serverUs });
  },
};
