/** What a scenario measures: the first metric of each list is the one that ratios are made of. */

export const RATE_METRICS = {
  rate: { label: 'jobs/s', better: 'higher', digits: 0 },
  cpuUs: { label: 'CPU µs/job', better: 'lower', digits: 1 },
};

export function rateOf(count, { ms, cpuUs }) {
  return { rate: (count / ms) * 1000, cpuUs: cpuUs / count };
}
