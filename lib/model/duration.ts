import { JobsError } from './errors.js';

/** Milliseconds, or a number with a unit: `'250ms'`, `'30s'`, `'10m'`, `'2h'`, `'7d'`, `'1w'`. */
export type Duration = number | string;

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** The longest duration taken: a hundred years, so that every instant stays a safe integer. */
export const MAX_DURATION_MS = 100 * 365.25 * 86_400_000;

/**
 * A duration in milliseconds.
 *
 * @throws JobsError `invalid_request` (or the given code) that names `what` and the forms taken
 */
export function durationMs(
  value: unknown,
  what: string,
  code: 'invalid_request' | 'invalid_options' = 'invalid_request',
): number {
  const ms = typeof value === 'string' ? parse(value) : value;
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms < 0 || ms > MAX_DURATION_MS) {
    throw new JobsError(
      code,
      `${what} is ${typeof value === 'string' ? `"${value.slice(0, 64)}"` : String(value)}, which is not a duration: give milliseconds or a text such as '250ms', '30s', '10m', '2h' or '7d'.`,
      { errors: [{ field: what, message: 'must be a duration' }] },
    );
  }
  return ms;
}

function parse(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/.exec(text.trim());
  const unit = match?.[2] === undefined ? undefined : UNITS[match[2]];
  return match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
}
