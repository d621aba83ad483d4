import { atLeast, count, invalid } from './jobs.option-checks.js';
import type { ConcurrencyLimit, LimitBy, RateLimit, ScopeLimits } from './model/limits.js';

/** A rate is counted in slices of a period, and the database's clock has milliseconds. */
const SHORTEST_PERIOD_MS = 10;
const LONGEST_PERIOD_MS = 366 * 86_400_000;

/**
 * Checks the limits of a queue or a type.
 *
 * @throws JobsError `invalid_options` that names the key and the fix
 */
export function resolveLimits(
  { concurrency, rate }: { readonly concurrency?: ConcurrencyLimit; readonly rate?: RateLimit },
  where: string,
): ScopeLimits | undefined {
  if (concurrency === undefined && rate === undefined) {
    return undefined;
  }
  return {
    ...(concurrency === undefined
      ? {}
      : { concurrency: resolveConcurrency(concurrency, `${where}concurrency`) }),
    ...(rate === undefined ? {} : { rate: resolveRate(rate, `${where}rate`) }),
  };
}

function resolveConcurrency(
  given: ConcurrencyLimit,
  where: string,
): NonNullable<ScopeLimits['concurrency']> {
  checkShape(given, ['limit', 'by'], where, "{ limit: 5, by: 'tenant' }");
  return { limit: count(given.limit, `${where}.limit`), ...by(given.by, where) };
}

function resolveRate(given: RateLimit, where: string): NonNullable<ScopeLimits['rate']> {
  checkShape(given, ['max', 'per', 'by'], where, "{ max: 100, per: '1m', by: 'tenant' }");
  const max = count(given.max, `${where}.max`);
  if (given.per === undefined) {
    throw invalid(`${where}.per is undefined: give the length of the period, such as '1m'.`);
  }
  const perMs = atLeast(SHORTEST_PERIOD_MS, given.per, `${where}.per`);
  if (perMs > LONGEST_PERIOD_MS) {
    throw invalid(`${where}.per is ${String(given.per)}: use at most 366 days.`);
  }
  return { max, perMs, ...by(given.by, where) };
}

function checkShape(given: unknown, keys: readonly string[], where: string, example: string): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(
      `${where} is ${JSON.stringify(given) ?? typeof given}: give an object such as ${example}.`,
    );
  }
  for (const key of Object.keys(given)) {
    if (!keys.includes(key)) {
      throw invalid(`${where}.${key} is unknown: remove it, or use one of ${keys.join(', ')}.`);
    }
  }
}

function by(given: unknown, where: string): { readonly by?: LimitBy } {
  if (given === undefined) {
    return {};
  }
  if (given !== 'tenant' && typeof given !== 'function') {
    throw invalid(
      `${where}.by is ${JSON.stringify(given) ?? typeof given}: use 'tenant', a function of the job that returns a text, or leave it out.`,
    );
  }
  return { by: given as LimitBy };
}
