import { ADAPTERS } from '../adapters/index.mjs';

/** What a scenario measures: the first metric of each list is the one that ratios are made of. */

export const RATE_METRICS = {
  rate: { label: 'jobs/s', better: 'higher', digits: 0 },
  cpuUs: { label: 'CPU µs/job', better: 'lower', digits: 1 },
  serverUs: { label: 'of it the server', better: 'lower', digits: 1 },
};

/** How many jobs, and how many before them, of a peer that takes part with fewer. */
export function jobsFor(adapter, count, warmUp) {
  const { most = Infinity } = ADAPTERS[adapter];
  return [Math.min(count, most), Math.min(warmUp, Math.ceil(most / 4))];
}

/** `serverUs` is there where a database server works beside the process. */
export function rateOf(count, { ms, cpuUs, serverUs = 0 }) {
  return {
    rate: (count / ms) * 1000,
    cpuUs: (cpuUs + serverUs) / count,
    ...(serverUs > 0 ? { serverUs: serverUs / count } : {}),
  };
}

/** A run that measures several ways of the same, one after the other, in each round the other way round. */
export function inTurns(ways, measure) {
  let rounds = 0;
  return async (context, adapter) => {
    const measured = {};
    const order = Object.entries(ways);
    for (const [name, way] of rounds++ % 2 === 0 ? order : order.reverse()) {
      const one = await context.part((part) => measure(part, adapter, context.size, way));
      measured[name] = one.rate;
      measured[`${name}Cpu`] = one.cpuUs;
      if (one.serverUs !== undefined) measured[`${name}Server`] = one.serverUs;
    }
    return measured;
  };
}
