/** What a scenario measures: the first metric of each list is the one that ratios are made of. */

export const RATE_METRICS = {
  rate: { label: 'jobs/s', better: 'higher', digits: 0 },
  cpuUs: { label: 'CPU µs/job', better: 'lower', digits: 1 },
  serverUs: { label: 'of it the server', better: 'lower', digits: 1 },
};

/** `serverUs` is there where a database server works beside the process. */
export function rateOf(count, { ms, cpuUs, serverUs = 0 }) {
  return {
    rate: (count / ms) * 1000,
    cpuUs: (cpuUs + serverUs) / count,
    ...(serverUs > 0 ? { serverUs: serverUs / count } : {}),
  };
}
