/** How late the jobs of schedules are that are all due at the same moment. */

/** Schedules are written before; none may be due by then. */
const MS_EACH = 4;

export const S11 = {
  id: 'S11',
  title: 'Jobs of 10,000 schedules that are due at once, until the last one is stored',
  metrics: {
    lateMs: { label: 'ms until all are stored', better: 'lower', digits: 0 },
    cpuUs: { label: 'CPU µs/job', better: 'lower', digits: 1 },
    serverUs: { label: 'of it the server', better: 'lower', digits: 1 },
  },
  size: { full: 10_000, quick: 1_000 },
  mostRounds: 5,
  defaultPeers: {
    file: ['nestjs-jobs'],
    postgres: ['nestjs-jobs-postgres'],
    mariadb: ['nestjs-jobs-mariadb'],
  },
  async run({ start, size }, adapter) {
    const worker = await start(adapter, { paused: true });
    const dueAt = Date.now() + 3_000 + size * MS_EACH;
    await worker.call('schedule', { count: size, dueAt }, 300_000);
    if (Date.now() > dueAt - 500)
      throw new Error('The schedules were due before all were written.');
    const {
      lateMs,
      cpuUs,
      serverUs = 0,
    } = await worker.call('tick', { count: size, dueAt }, 120_000);
    return {
      lateMs,
      cpuUs: (cpuUs + serverUs) / size,
      ...(serverUs > 0 ? { serverUs: serverUs / size } : {}),
    };
  },
};
