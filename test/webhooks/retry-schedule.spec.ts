import fc from 'fast-check';
import { expect, it } from 'vitest';
import { durationMs } from '../../lib/model/duration.js';
import { askedWait, DEFAULT_RETRY, waitAfter } from '../../lib/webhooks/retry-schedule.js';

const retryMs = DEFAULT_RETRY.map((wait) => durationMs(wait, 'retry'));
const random = (): number => 0;

it('tries ten times within about three days', () => {
  expect(retryMs).toHaveLength(9);
  expect(retryMs.reduce((sum, ms) => sum + ms, 0) / 3_600_000).toBeCloseTo(75.6, 1);
});

it('waits what the schedule says and up to a tenth more, and ends with it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (n, r) => {
        const planned = retryMs[n - 1] ?? 0;
        const waited = waitAfter(n, retryMs, { askedMs: undefined, random: () => r }) ?? 0;
        expect(waited).toBeGreaterThanOrEqual(planned);
        expect(waited).toBeLessThanOrEqual(planned * 1.1 + 1);
      },
    ),
  );
  expect(waitAfter(10, retryMs, { askedMs: 5000, random })).toBeUndefined();
});

it.each([
  ['0', 5000],
  ['1', 5000],
  ['90', 90_000],
  ['86400', 86_400_000],
  ['9999999', 86_400_000],
  ['Thu, 01 Jan 1970 00:00:30 GMT', 29_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 5000],
])('waits for a Retry-After of %s, not less than planned and at most 24 h', (header, ms) => {
  expect(waitAfter(1, retryMs, { askedMs: askedWait(header, 1000), random })).toBe(ms);
});

it.each([
  ['0', 1000],
  ['1', 1000],
  ['2', 2000],
  ['99999', 86_400_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 1000],
])('waits for a Retry-After of %s where the schedule has no wait, 1 s at least', (header, ms) => {
  expect(waitAfter(1, [0], { askedMs: askedWait(header, 1000), random })).toBe(ms);
});

it('does not wait where neither schedule nor receiver asks for it', () => {
  expect(waitAfter(1, [0], { askedMs: undefined, random })).toBe(0);
});

it.each([undefined, '', '-1', 'soon', '1.5', '99999999999'])('does not obey %s', (header) => {
  expect(askedWait(header, 1000)).toBeUndefined();
});
