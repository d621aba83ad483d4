import { bareOf } from '../adapters/index.mjs';
import { median } from '../harness/stats.mjs';

const MB = 1024 * 1024;

export const S8 = {
  id: 'S8',
  title: 'Idle for 30 s with workers',
  metrics: {
    core: { label: '% of a core', better: 'lower', digits: 2 },
    above: { label: '% above the bare application', better: 'lower', digits: 2 },
    server: { label: '% of a core of the server', better: 'lower', digits: 2 },
    transactions: { label: 'transactions/s', better: 'lower', digits: 2 },
  },
  size: { full: 30_000, quick: 5_000 },
  mostRounds: 3,
  async run({ start, dir, database, part, size: ms }, adapter) {
    const server = {};
    const idle = async (child) => {
      // Sessions tell the server's statistics of what they did up to ten seconds later.
      if (database !== undefined) await child.call('idle', { ms: 12_000 });
      const before = await database?.transactions?.();
      const { ms: wall, cpuUs, serverUs } = await child.call('idle', { ms }, ms + 60_000);
      if (database !== undefined && server.transactions === undefined) {
        server.transactions =
          (((await database.transactions?.()) ?? NaN) - before) / ((wall + 2000) / 1000);
        server.server = (serverUs / 1000 / wall) * 100;
      }
      return (cpuUs / 1000 / wall) * 100;
    };
    const core = await idle(await start(adapter, { dir }));
    const name = bareOf(adapter);
    const bare = name ? await part(async (own) => idle(await own.start(name))) : 0;
    return { core, above: core - bare, ...server };
  },
};

const STEPS = 10;

export const MEMORY = {
  id: 'memory',
  title: 'Resident memory after 10,000 jobs, and its growth over 200,000 more',
  metrics: {
    rss: { label: 'RSS MB', better: 'lower', digits: 1 },
    above: { label: 'MB above the bare application', better: 'lower', digits: 1 },
    heapAbove: { label: 'heap MB above, collected', better: 'lower', digits: 1 },
    rssGrowth: { label: 'RSS MB gained over the last 80,000', better: 'lower', digits: 1 },
    heapGrowth: { label: 'heap MB gained over the last 80,000', better: 'lower', digits: 2 },
  },
  size: { full: 200_000, quick: 40_000 },
  mostRounds: 3,
  async run({ start, dir, part, size }, adapter) {
    const worker = await start(adapter, { dir, paused: true, gc: true });
    const producer = await start(adapter, { dir, producer: true });
    await producer.call('enqueueInChunks', { count: 10_000 });
    await worker.call('drain', { count: 10_000 });
    const after = await worker.call('memory');
    const name = bareOf(adapter);
    const bare = name
      ? await part(async (own) =>
          (await own.start(name, { gc: true })).call('memory', { collect: true }),
        )
      : undefined;
    const steps = [];
    for (let step = 0; step < STEPS; step += 1) {
      await producer.call('enqueueInChunks', { count: size / STEPS });
      await worker.call('drain', { count: size / STEPS }, 300_000);
      steps.push((await worker.call('memory', { collect: true })).afterCollect);
    }
    // The first two steps still warm caches and code. What a leak adds shows between the halves of
    // the others, and medians keep one collection that came late out of it.
    const growth = (key) => {
      const of = (part) => median(part.map((each) => each[key]));
      return (of(steps.slice(6)) - of(steps.slice(2, 6))) / MB;
    };
    return {
      rss: after.rss / MB,
      above: bare === undefined ? NaN : (after.rss - bare.rss) / MB,
      heapAbove: bare === undefined ? NaN : (steps[0].heapUsed - bare.afterCollect.heapUsed) / MB,
      rssGrowth: growth('rss'),
      heapGrowth: growth('heapUsed'),
    };
  },
};
