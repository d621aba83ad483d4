/** Waits between the tries of a delivery: the tenth is three days after the first. */
export const DEFAULT_RETRY = ['5s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'] as const;

/** A `Retry-After` counts as no less and no more than that. */
const LEAST_ASKED_MS = 1000;
const MOST_ASKED_MS = 24 * 3_600_000;
/** The share by which a wait may be longer, so that what failed together does not come back together. */
const JITTER = 0.1;

/**
 * How long to wait after that many tries, or undefined when there were enough. A receiver may ask for
 * a longer wait, of 1 s to 24 h; a shorter one than planned would use up all tries while it is down.
 */
export function waitAfter(
  attempts: number,
  retryMs: readonly number[],
  { askedMs, random }: { readonly askedMs: number | undefined; readonly random: () => number },
): number | undefined {
  const plannedMs = retryMs[attempts - 1];
  if (plannedMs === undefined) {
    return undefined;
  }
  const waitMs = Math.round(plannedMs * (1 + JITTER * random()));
  return askedMs === undefined
    ? waitMs
    : Math.max(waitMs, LEAST_ASKED_MS, Math.min(askedMs, MOST_ASKED_MS));
}

/** The wait that a `Retry-After` asks for: seconds or a date. */
export function askedWait(header: string | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,10}$/.test(text)) {
    return Number(text) * 1000;
  }
  const dateMs = /^[A-Z][a-z]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}
