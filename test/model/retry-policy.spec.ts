import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resolveBackoff, retryDelayMs, type Backoff } from '../../lib/model/retry-policy.js';

const never = (): number => 0;

function delays(backoff: Backoff, delayMs: number, retries: number): number[] {
  const resolved = resolveBackoff(backoff, 'backoff');
  return Array.from({ length: retries }, (_, index) =>
    retryDelayMs(resolved, delayMs, index + 1, never),
  );
}

describe('a backoff', () => {
  it('that is fixed waits the same each time', () => {
    expect(delays('fixed', 100, 4)).toEqual([100, 100, 100, 100]);
  });

  it('that is linear waits n times the delay', () => {
    expect(delays('linear', 100, 4)).toEqual([100, 200, 300, 400]);
  });

  it('that is exponential doubles, or grows by its factor', () => {
    expect(delays('exponential', 100, 4)).toEqual([100, 200, 400, 800]);
    expect(delays({ type: 'exponential', factor: 3 }, 100, 4)).toEqual([100, 300, 900, 2700]);
  });

  it('stops growing at its cap', () => {
    expect(delays({ type: 'exponential', maxDelay: 300 }, 100, 4)).toEqual([100, 200, 300, 300]);
    expect(delays({ type: 'linear', maxDelay: '250ms' }, 100, 4)).toEqual([100, 200, 250, 250]);
    expect(delays('exponential', 1000, 60).at(-1)).toBe(86_400_000);
  });

  it('that nobody capped waits as long as it was told, even if that is more than a day', () => {
    const twoDays = 172_800_000;
    expect(delays('fixed', twoDays, 2)).toEqual([twoDays, twoDays]);
    expect(delays('exponential', twoDays, 3)).toEqual([twoDays, twoDays, twoDays]);
    expect(delays({ type: 'fixed', maxDelay: '1d' }, twoDays, 1)).toEqual([86_400_000]);
  });

  it('of nothing is nothing', () => {
    expect(delays('exponential', 0, 3)).toEqual([0, 0, 0]);
  });

  it('is a finite whole number of milliseconds after any number of retries', () => {
    const anyBackoff = fc.record({
      type: fc.constantFrom('fixed' as const, 'linear' as const, 'exponential' as const),
      factor: fc.double({ min: 1, max: 1000, noNaN: true }),
      maxDelay: fc.nat(1e12),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const retry = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(
        anyBackoff,
        fc.nat(1e9),
        retry,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (given, base, n, luck) => {
          const resolved = resolveBackoff(given, 'backoff');
          const delay = retryDelayMs(resolved, base, n, () => luck);
          const plain = retryDelayMs({ ...resolved, jitter: 0 }, base, n, () => luck);
          const next = retryDelayMs({ ...resolved, jitter: 0 }, base, n + 1, () => luck);
          expect(Number.isSafeInteger(delay)).toBe(true);
          expect(delay).toBeGreaterThanOrEqual(Math.floor(plain * (1 - given.jitter)));
          expect(delay).toBeLessThanOrEqual(Math.max(plain, 0));
          expect(plain).toBeLessThanOrEqual(given.maxDelay);
          expect(next).toBeGreaterThanOrEqual(plain);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['weekly', /backoff/],
    [{ type: 'fast' }, /backoff/],
    [{ type: 'exponential', factor: 0 }, /factor/],
    [{ type: 'exponential', factor: Number.NaN }, /factor/],
    [{ type: 'fixed', jitter: 2 }, /jitter/],
    [{ type: 'fixed', jitter: -0.1 }, /jitter/],
    [{ type: 'fixed', maxDelay: 'long' }, /maxDelay/],
  ])('%j is refused by name', (backoff, name) => {
    expect(() => resolveBackoff(backoff as Backoff, 'defaults.backoff')).toThrow(name);
  });
});
