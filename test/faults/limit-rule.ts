import type { JobRow, Limit } from './history.js';
import { ROUNDING_MS } from './hold-rules.js';
import type { Hold } from './run-spans.js';

/** At no moment do more runs of a key hold their jobs, or begin within a period, than a limit allows. */
export function* checkLimits(
  jobs: readonly JobRow[],
  holds: ReadonlyMap<string, readonly Hold[]>,
  limits: readonly Limit[],
): Iterable<string> {
  for (const limit of limits) {
    for (const [key, held] of byKey(jobs, holds, limit)) {
      const [most, at] = mostOf(held, limit);
      if (most > limit.most) {
        const when = limit.perMs === undefined ? 'at once' : `within ${limit.perMs} ms`;
        yield `${limit.name}: ${most} runs of "${key}" ${when} at ${new Date(at).toISOString()}, and ${limit.most} are allowed`;
      }
    }
  }
}

/** The most at once, or within a period, of any key. */
export function peakOf(
  jobs: readonly JobRow[],
  holds: ReadonlyMap<string, readonly Hold[]>,
  limit: Limit,
): number {
  return Math.max(
    0,
    ...[...byKey(jobs, holds, limit).values()].map((held) => mostOf(held, limit)[0]),
  );
}

function mostOf(held: readonly Hold[], { perMs }: Limit): readonly [number, number] {
  return perMs === undefined ? mostAtOnce(held) : mostWithin(held, perMs - ROUNDING_MS);
}

function byKey(
  jobs: readonly JobRow[],
  holds: ReadonlyMap<string, readonly Hold[]>,
  limit: Limit,
): Map<string, Hold[]> {
  const groups = new Map<string, Hold[]>();
  for (const job of jobs) {
    const key = limit.keyOf(job);
    if (key !== undefined) {
      groups.set(key, [...(groups.get(key) ?? []), ...(holds.get(job.job_id) ?? [])]);
    }
  }
  return groups;
}

/** The most at once, and when. Of what happens at the same moment an end comes first. */
function mostAtOnce(held: readonly Hold[]): readonly [number, number] {
  const changes = held
    .flatMap(({ from, to }) => [
      { at: from, by: 1 },
      { at: to ?? Infinity, by: -1 },
    ])
    .sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  let peak: readonly [number, number] = [0, 0];
  for (const { at, by } of changes) {
    now += by;
    peak = now > peak[0] ? [now, at] : peak;
  }
  return peak;
}

/** The most that began within a period, and when it ended. */
function mostWithin(held: readonly Hold[], perMs: number): readonly [number, number] {
  const begins = held.map(({ from }) => from).sort((a, b) => a - b);
  let first = 0;
  let most: readonly [number, number] = [0, 0];
  for (const [at, begin] of begins.entries()) {
    while ((begins[first] ?? 0) <= begin - perMs) {
      first += 1;
    }
    most = at - first + 1 > most[0] ? [at - first + 1, begin] : most;
  }
  return most;
}
