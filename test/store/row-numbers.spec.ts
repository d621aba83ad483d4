import { describe, expect, it } from 'vitest';
import { IdSequence, isUuid, newId } from '../../lib/model/id.js';
import { idOfSeq, msOfSeq, seqOfId, seqOfMs } from '../../lib/store/dialects/shared/row-numbers.js';
import { freeNumbers } from '../../lib/store/dialects/sqlite/free-numbers.js';
import { runScript } from '../../lib/store/dialects/sql.js';

const NOW = Date.UTC(2026, 10, 22, 12);
const MINUTE = 60_000;

/** The first free number where these are taken. */
function free(taken: readonly number[], count: number, nowMs = NOW): number {
  return runScript(freeNumbers('jobs', count, nowMs), ({ params }) => {
    const below = params.length === 0 ? Infinity : Number(params[0]);
    const highest = taken.filter((seq) => seq < below).sort((a, b) => b - a)[0];
    return [[highest ?? null]];
  });
}

describe('a row number', () => {
  it('is in the id, and the id says the time', () => {
    for (const seq of [1, seqOfMs(NOW), seqOfMs(NOW) + 4095, Number.MAX_SAFE_INTEGER]) {
      const id = idOfSeq(seq);
      expect(isUuid(id)).toBe(true);
      expect(seqOfId(id)).toBe(seq);
      expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(msOfSeq(seq));
    }
  });

  it('orders ids as texts, and ids of one number differ', () => {
    const ids = [0, 1, 255, 256, 4095, 4096, 10_000].map((step) => idOfSeq(seqOfMs(NOW) + step));
    expect([...ids].sort()).toEqual(ids);
    expect(idOfSeq(seqOfMs(NOW))).not.toBe(idOfSeq(seqOfMs(NOW)));
  });

  it.each([
    ['another version', '7f3c2f9e-0f4e-4e06-9f3f-6f3b5c6a7d8e'],
    ['a time before all jobs', '00000000-0000-7000-8000-000000000000'],
    ['a time that no number can hold', 'ffffffff-ffff-7fff-bfff-ffffffffffff'],
    ['no UUID', 'seventeen'],
    ['nothing', ''],
  ])('is not found in %s', (_, id) => {
    expect(seqOfId(id)).toBeUndefined();
  });

  it('is found in ids that were made before the job was stored', () => {
    expect(msOfSeq(seqOfId(newId(NOW)) ?? 0)).toBeGreaterThanOrEqual(NOW);
  });
});

describe('ids made before their jobs are stored', () => {
  const timeOf = (id: string): number => msOfSeq(seqOfId(id) ?? -1);

  it('follow a clock that is set back by more than a minute, and no other', () => {
    const ids = new IdSequence();
    expect(timeOf(ids.next(NOW))).toBe(NOW);
    expect(timeOf(ids.next(NOW - MINUTE))).toBe(NOW);
    expect(timeOf(ids.next(NOW - MINUTE - 1))).toBe(NOW - MINUTE - 1);
    expect(timeOf(ids.next(NOW + 365 * 24 * 60 * MINUTE))).toBeGreaterThan(NOW);
    expect(timeOf(ids.next(NOW))).toBe(NOW);
  });

  it('have a row number whatever the clock says', () => {
    const ids = new IdSequence();
    for (const clock of [0, Date.UTC(2010, 0, 1), Date.UTC(2500, 0, 1)]) {
      expect(seqOfId(ids.next(clock))).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('free row numbers', () => {
  it('begin with the present millisecond', () => {
    expect(free([], 10)).toBe(seqOfMs(NOW));
    expect(free([seqOfMs(NOW - MINUTE)], 10)).toBe(seqOfMs(NOW));
  });

  it('go on behind the last one of this millisecond, and behind a clock that was set back a little', () => {
    expect(free([seqOfMs(NOW) + 7], 10)).toBe(seqOfMs(NOW) + 8);
    expect(free([seqOfMs(NOW + MINUTE / 2)], 10)).toBe(seqOfMs(NOW + MINUTE / 2) + 1);
  });

  it('follow a clock that was set back further', () => {
    const wrong = seqOfMs(NOW + 365 * 24 * 60 * MINUTE);
    expect(free([wrong], 10)).toBe(seqOfMs(NOW));
    expect(free([wrong, seqOfMs(NOW) + 3], 10)).toBe(seqOfMs(NOW) + 4);
  });

  it('never reach into those that were given out under a wrong clock', () => {
    const edge = seqOfMs(NOW + MINUTE);
    expect(free([edge - 5, edge, edge + 20], 10)).toBe(edge + 21);
    expect(free([edge - 11], 10)).toBe(edge - 10);
    expect(free([edge - 10], 10)).toBe(edge - 9);
  });

  it('are there on a clock that knows no date, and on one beyond all dates', () => {
    expect(Number.isSafeInteger(free([], 1000, Date.UTC(2500, 0, 1)) + 1000)).toBe(true);
    expect(free([], 1, 0)).toBe(0);
    expect(seqOfId(idOfSeq(0))).toBe(0);
  });
});
