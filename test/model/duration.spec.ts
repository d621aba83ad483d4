import { describe, expect, it } from 'vitest';
import { durationMs, MAX_DURATION_MS } from '../../lib/model/duration.js';
import { isJobsError } from '../../lib/model/errors.js';

describe('a duration', () => {
  it.each([
    [0, 0],
    [1500, 1500],
    ['250ms', 250],
    ['30s', 30_000],
    ['10m', 600_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['1w', 604_800_000],
    ['1.5s', 1500],
    [' 10 m ', 600_000],
  ])('%j is %d milliseconds', (text, ms) => {
    expect(durationMs(text, 'timeout')).toBe(ms);
  });

  it.each([
    '',
    '10',
    's',
    '10 parsecs',
    '-1s',
    '1e3s',
    '10m30s',
    Number.NaN,
    Infinity,
    -1,
    null,
    undefined,
    {},
    [],
    true,
  ])('%j is refused by name', (value) => {
    expect(() => durationMs(value, 'defaults.timeout')).toThrow(/defaults\.timeout/);
  });

  it('may be as long as a hundred years and no longer', () => {
    expect(durationMs(MAX_DURATION_MS, 'delay')).toBe(MAX_DURATION_MS);
    expect(() => durationMs(MAX_DURATION_MS + 1, 'delay')).toThrow();
    expect(Number.isSafeInteger(Date.now() + MAX_DURATION_MS)).toBe(true);
  });

  it('carries the code of its place', () => {
    for (const code of ['invalid_request', 'invalid_options'] as const) {
      try {
        durationMs('soon', 'delay', code);
        expect.unreachable();
      } catch (error) {
        expect(isJobsError(error) && error.code).toBe(code);
      }
    }
  });

  it('does not echo a text of any length', () => {
    expect(() => durationMs('9'.repeat(100_000), 'delay')).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{0,300}$/s) }),
    );
  });
});
