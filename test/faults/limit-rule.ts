import type { JobRow, Limit } from './history.js';
import type { RunSpan } from './run-spans.js';

/** At no moment hold more runs of a key their jobs than its limit allows; a claim counts at once. */
export function* checkLimits(
  jobs: readonly JobRow[],
  spans: ReadonlyMap<string, readonly RunSpan[]>,
  limits: readonly Limit[],
  clockErrorMs: number,
): Iterable<string> {
  for (const limit of limits) {
    for (const [key, held] of byKey(jobs, spans, limit)) {
      const [most, at] = peakOf(held, clockErrorMs);
      if (most > limit.most) {
        yield `${limit.name}: ${most} runs of "${key}" at once at ${new Date(at).toISOString()}, and ${limit.most} are allowed`;
      }
    }
  }
}

function byKey(
  jobs: readonly JobRow[],
  spans: ReadonlyMap<string, readonly RunSpan[]>,
  limit: Limit,
): Map<string, RunSpan[]> {
  const groups = new Map<string, RunSpan[]>();
  for (const job of jobs) {
    const key = limit.keyOf(job);
    if (key !== undefined) {
      groups.set(key, [...(groups.get(key) ?? []), ...(spans.get(job.job_id) ?? [])]);
    }
  }
  return groups;
}

/** The most at once, and when. Of what happens in the same millisecond an end comes first. */
function peakOf(held: readonly RunSpan[], clockErrorMs: number): readonly [number, number] {
  const changes = held
    .filter(({ claimedAt, endedAt }) => endedAt === null || endedAt - clockErrorMs > claimedAt)
    .flatMap(({ claimedAt, endedAt }) => [
      { at: claimedAt, by: 1 },
      { at: (endedAt ?? Infinity) - clockErrorMs, by: -1 },
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
