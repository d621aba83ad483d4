/**
 * What limits cost: a backlog of 1,000 tenants, of which one is noisy and came first, worked off with and
 * without a limit for each tenant, in turns of order within a round. It is measured while every tenant has
 * jobs in line: once the noisy one is alone, its limit decides how fast it goes.
 */
import { inTurns, rateOf } from './metrics.mjs';

const TENANTS = 1_000;
/** The noisy tenant's part of the backlog, and the part of it all that is measured. */
const NOISY = 0.3;
const MEASURED = 0.6;
const LIMIT = { limit: 100, by: 'tenant' };
const WARM_UP = 4_000;
const WAYS = { without: undefined, with: LIMIT };

async function drain({ start, dir, database }, adapter, count, concurrency) {
  const worker = await start(adapter, { dir, paused: true, concurrency });
  const producer = await start(adapter, { dir, producer: true, concurrency });
  const backlog = (jobs) => ({ count: jobs, tenants: TENANTS, noisy: Math.floor(jobs * NOISY) });
  await producer.call('enqueueOfTenants', backlog(WARM_UP), 300_000);
  await worker.call('drain', { count: WARM_UP }, 300_000);
  await producer.call('enqueueOfTenants', backlog(count), 300_000);
  await producer.close();
  await database?.checkpoint();
  const measured = Math.floor(count * MEASURED);
  return rateOf(measured, await worker.call('drainSome', { count: measured }, 300_000));
}

export const S9 = {
  id: 'S9',
  title: `Drain no-op jobs of 1,000 tenants, one of them noisy, with at most ${LIMIT.limit} of each at work, against no limit`,
  metrics: {
    with: { label: 'jobs/s, limited', better: 'higher', digits: 0 },
    withCpu: { label: 'CPU µs/job, limited', better: 'lower', digits: 1 },
    withServer: { label: 'of it the server', better: 'lower', digits: 1 },
    without: { label: 'jobs/s, not limited', better: 'higher', digits: 0 },
    withoutCpu: { label: 'CPU µs/job, not limited', better: 'lower', digits: 1 },
    withoutServer: { label: 'of it the server', better: 'lower', digits: 1 },
  },
  within: [
    { of: 'with', to: 'without', label: 'rate limited / not limited' },
    { of: 'withCpu', to: 'withoutCpu', label: 'CPU limited / not limited' },
  ],
  size: { full: 40_000, quick: 20_000 },
  defaultPeers: {
    file: ['nestjs-jobs'],
    postgres: ['nestjs-jobs-postgres'],
    mariadb: ['nestjs-jobs-mariadb'],
  },
  run: inTurns(WAYS, drain),
};
