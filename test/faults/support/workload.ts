import type { Limit } from '../history.js';
import type { Item } from './producer.js';

/** Jobs, and the cluster that they are meant for. */
export interface Workload {
  readonly jobs: number;
  readonly workers: number;
  readonly seconds: number;
  /** Of the queue, over the whole cluster. */
  readonly limits?: {
    readonly concurrency: { readonly limit: number; readonly by: 'tenant' };
    readonly rate: { readonly max: number; readonly per: number };
  };
  /** Some jobs have a unique key, and some depend on earlier ones. */
  readonly relates?: true;
  /** Jobs are those of so many tenants in turn. */
  readonly tenants?: number;
  /** Unique keys that there are; by default one for each hundred jobs. */
  readonly keys?: number;
  item?(n: number, random: () => number): Partial<Item['params']>;
}

/** Of the queue in each process. */
export const CAPACITY = 8;

const TIMEOUT_MS = 300;

/** What the checker holds them to. */
export function limitsOf({ limits }: Workload): readonly Limit[] {
  if (limits === undefined) {
    return [];
  }
  const { concurrency, rate } = limits;
  return [
    { name: 'jobs of a tenant', most: concurrency.limit, keyOf: ({ tenant_id }) => tenant_id },
    { name: 'the rate', most: rate.max, perMs: rate.per, keyOf: ({ queue }) => queue },
  ];
}

/** Work for as long as the nemesis is there. */
export function itemsOf(workload: Workload, random: () => number): readonly Item[] {
  const { jobs, item, seconds, workers, tenants = 0, limits, relates = false } = workload;
  const places = limits === undefined ? workers * CAPACITY : limits.concurrency.limit * tenants;
  const { keys = Math.max(FEWEST_KEYS, Math.floor(jobs / JOBS_PER_KEY)) } = workload;
  const meanMs = (seconds * 1000 * places * 0.6) / jobs;
  return Array.from({ length: jobs }, (_, n) => {
    const { after, unique }: Relations = relates ? relationsOf(n, keys, random) : {};
    const own = item?.(n, random);
    return {
      token: `t${n}`,
      keyed: random() < 0.5 || unique !== undefined,
      ...(after === undefined ? {} : { after }),
      ...(tenants === 0 ? {} : { tenant: `tenant-${n % tenants}` }),
      ...(own?.ends === 'timeout' ? { timeout: TIMEOUT_MS } : {}),
      params: {
        ms: Math.floor(random() * 2 * meanMs),
        ...(random() < 0.1 ? { fails: 1 + Math.floor(random() * 2) } : {}),
        ...(unique === undefined ? {} : { unique }),
        ...own,
      },
    };
  });
}

/** Of so many jobs one has a unique key, and another one waits for two of those before it. */
const RELATED_EVERY = 10;
const JOBS_PER_KEY = 100;
const FEWEST_KEYS = 5;

interface Relations {
  readonly unique?: string;
  readonly after?: NonNullable<Item['after']>;
}

function relationsOf(n: number, keys: number, random: () => number): Relations {
  const place = n % RELATED_EVERY;
  if (place === 3) {
    return { unique: `k${((n - place) / RELATED_EVERY) % keys}` };
  }
  if (place !== 7 || n < 2 * RELATED_EVERY) {
    return {};
  }
  return {
    after: [1, 1 + RELATED_EVERY].map((from) => ({
      token: `t${n - from - Math.floor(random() * RELATED_EVERY)}`,
      onFailure: random() < 0.5 ? 'fail' : 'run',
    })),
  };
}
