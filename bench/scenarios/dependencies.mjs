/** What dependencies cost an enqueue: jobs that wait for three others each, against jobs that wait for none. */
import { inTurns, rateOf } from './metrics.mjs';

const CALLERS = 10;
const WAYS = { without: 0, with: 3 };

async function enqueue({ start }, adapter, count, parents) {
  const producer = await start(adapter, { producer: true });
  const behind = (jobs) =>
    producer.call('enqueueBehind', { count: jobs, callers: CALLERS, parents }, 300_000);
  await behind(Math.ceil(count / 4));
  return rateOf(count, await behind(count));
}

export const S12 = {
  id: 'S12',
  title:
    'Enqueue one at a time, 10 callers, jobs that wait for three others, against jobs that wait for none',
  metrics: {
    with: { label: 'jobs/s, behind three', better: 'higher', digits: 0 },
    withCpu: { label: 'CPU µs/job, behind three', better: 'lower', digits: 1 },
    without: { label: 'jobs/s, behind none', better: 'higher', digits: 0 },
    withoutCpu: { label: 'CPU µs/job, behind none', better: 'lower', digits: 1 },
  },
  within: [
    { of: 'with', to: 'without', label: 'rate behind three / behind none' },
    { of: 'withCpu', to: 'withoutCpu', label: 'CPU behind three / behind none' },
  ],
  size: { full: 20_000, quick: 5_000 },
  defaultPeers: {
    file: ['nestjs-jobs'],
    postgres: ['nestjs-jobs-postgres'],
    mariadb: ['nestjs-jobs-mariadb'],
  },
  run: inTurns(WAYS, enqueue),
};
