import { jobsFor, RATE_METRICS, rateOf } from './metrics.mjs';

const CALLERS = 10;

export const S1 = {
  id: 'S1',
  title: 'Enqueue one at a time, 10 callers, 160-byte params, no workers',
  metrics: RATE_METRICS,
  size: { full: 60_000, quick: 10_000 },
  async run({ start, size }, adapter) {
    const producer = await start(adapter, { producer: true });
    const [count, warmUp] = jobsFor(adapter, size, Math.ceil(size / 4));
    await producer.call('enqueueEach', { count: warmUp, callers: CALLERS });
    return rateOf(count, await producer.call('enqueueEach', { count, callers: CALLERS }));
  },
};

export const S2 = {
  id: 'S2',
  title: 'Enqueue in bulk, calls of 1,000',
  metrics: RATE_METRICS,
  size: { full: 200_000, quick: 40_000 },
  async run({ start, size }, adapter) {
    const producer = await start(adapter, { producer: true });
    const [count, warmUp] = jobsFor(adapter, size, Math.ceil(size / 4));
    await producer.call('enqueueInChunks', { count: warmUp });
    return rateOf(count, await producer.call('enqueueInChunks', { count }));
  },
};
