import { quantile } from '../harness/stats.mjs';

const WARM_UP = 50;
const METRICS = {
  p50: { label: 'p50 ms', better: 'lower', digits: 2 },
  p95: { label: 'p95 ms', better: 'lower', digits: 2 },
  p99: { label: 'p99 ms', better: 'lower', digits: 2 },
};

const scenario = (id, title, processes) => ({
  id,
  title,
  metrics: METRICS,
  size: { full: 300, quick: 100 },
  mostRounds: 5,
  async run({ start, dir, size }, adapter) {
    const worker = await start(adapter, { dir });
    const producer = processes === 1 ? worker : await start(adapter, { dir, producer: true });
    await worker.call('collect');
    await producer.call('sendIrregularly', { count: WARM_UP + size });
    const all = await worker.call('collected', { count: WARM_UP + size });
    const latencies = all.slice(WARM_UP);
    return {
      p50: quantile(latencies, 0.5),
      p95: quantile(latencies, 0.95),
      p99: quantile(latencies, 0.99),
    };
  },
});

export const S4 = scenario('S4', 'Pick-up by an idle worker, one process', 1);
export const S4_TWO = scenario('S4-two', 'Pick-up by an idle worker, two processes', 2);
