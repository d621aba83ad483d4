import { RATE_METRICS, rateOf } from './metrics.mjs';

const CALLERS = 10;

export const S1 = {
  id: 'S1',
  title: 'Enqueue one at a time, 10 callers, 160-byte params, no workers',
  metrics: RATE_METRICS,
  size: { full: 60_000, quick: 10_000 },
  async run({ start, size }, adapter) {
    const producer = await start(adapter, { producer: true });
    await producer.call('enqueueEach', { count: Math.ceil(size / 4), callers: CALLERS });
    return rateOf(size, await producer.call('enqueueEach', { count: size, callers: CALLERS }));
  },
};

export const S2 = {
  id: 'S2',
  title: 'Enqueue in bulk, calls of 1,000',
  metrics: RATE_METRICS,
  size: { full: 200_000, quick: 40_000 },
  async run({ start, size }, adapter) {
    const producer = await start(adapter, { producer: true });
    await producer.call('enqueueInChunks', { count: Math.ceil(size / 4) });
    return rateOf(size, await producer.call('enqueueInChunks', { count: size }));
  },
};
