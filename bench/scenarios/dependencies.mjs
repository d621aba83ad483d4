/** What dependencies cost an enqueue: jobs that wait for three others each, against jobs that wait for none. */
import { inTurns, rateOf } from './metrics.mjs';

const CALLERS = 10;
/** How many others a job waits for, and how many jobs wait for the same ones. */
const WAYS = {
  without: { parents: 0, sharing: 1 },
  with: { parents: 3, sharing: 1 },
  shared: { parents: 3, sharing: 10 },
};

async function enqueue({ start }, adapter, count, way) {
  const producer = await start(adapter, { producer: true });
  const behind = (jobs) =>
    producer.call('enqueueBehind', { count: jobs, callers: CALLERS, ...way }, 300_000);
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
    shared: { label: 'jobs/s, ten behind the same three', better: 'higher', digits: 0 },
    sharedCpu: { label: 'CPU µs/job, ten behind the same three', better: 'lower', digits: 1 },
    without: { label: 'jobs/s, behind none', better: 'higher', digits: 0 },
    withoutCpu: { label: 'CPU µs/job, behind none', better: 'lower', digits: 1 },
  },
  within: [
    { of: 'with', to: 'without', label: 'rate behind three / behind none' },
    { of: 'shared', to: 'without', label: 'rate ten behind the same three / behind none' },
    { of: 'withCpu', to: 'withoutCpu', label: 'CPU behind three / behind none' },
    { of: 'sharedCpu', to: 'withoutCpu', label: 'CPU ten behind the same three / behind none' },
  ],
  size: { full: 20_000, quick: 5_000 },
  defaultPeers: {
    file: ['nestjs-jobs'],
    postgres: ['nestjs-jobs-postgres'],
    mariadb: ['nestjs-jobs-mariadb'],
  },
  run: inTurns(WAYS, enqueue),
};
