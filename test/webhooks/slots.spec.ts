import { expect, it } from 'vitest';
import { Slots, type SharedLane } from '../../lib/webhooks/slots.js';

const lanesOf = (who: string, count: number): SharedLane[] =>
  Array.from({ length: count }, (_, nth) => ({ who, lane: `${who}-${nth}` }));

const shareOf = (given: readonly { lane: string; most: number }[], who: string): number =>
  given.filter(({ lane }) => lane.startsWith(`${who}-`)).reduce((sum, { most }) => sum + most, 0);

it('gives one alone half of the room, and a receiver at most 32', () => {
  const given = new Slots().share(lanesOf('ann', 100));
  expect(shareOf(given, 'ann')).toBe(128);
  expect(new Slots().share(lanesOf('ann', 1))).toEqual([{ lane: 'ann-0', most: 32 }]);
});

it.each([2, 3, 10, 50])('gives %i who share it the same, whoever has more receivers', (count) => {
  const lanes = Array.from({ length: count }, (_, nth) => lanesOf(`t${nth}`, nth === 0 ? 900 : 40));
  const given = new Slots().share(lanes.flat());
  const shares = lanes.map((_, nth) => shareOf(given, `t${nth}`));
  expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
  expect(Math.min(...shares)).toBeGreaterThan(0);
  expect(shares.reduce((sum, each) => sum + each)).toBeLessThanOrEqual(256);
});

it('has room for who comes later, until nothing is under way any more', () => {
  const slots = new Slots();
  const entered: SharedLane[] = [];
  for (let nth = 0; nth < 200; nth += 1) {
    const lanes = lanesOf(`t${nth}`, 10);
    for (const { lane, most } of slots.share(lanes)) {
      for (let at = 0; at < most; at += 1) {
        slots.enter({ who: `t${nth}`, lane });
        entered.push({ who: `t${nth}`, lane });
      }
    }
    expect(slots.share(lanesOf(`t${nth}`, 10)).length).toBeLessThanOrEqual(1);
  }
  expect(entered.length).toBeLessThanOrEqual(256);
  expect(new Set(entered.map(({ who }) => who)).size).toBeGreaterThanOrEqual(8);
  entered.forEach((each) => slots.leave(each));
  expect(shareOf(slots.share(lanesOf('ann', 100)), 'ann')).toBe(128);
});

it('asks one that fails little until it answers', () => {
  const slots = new Slots();
  const [lane] = lanesOf('ann', 1) as [SharedLane];
  slots.told(lane.lane, false);
  expect(slots.share([lane])).toEqual([{ lane: lane.lane, most: 4 }]);
  slots.told(lane.lane, true);
  expect(slots.share([lane])).toEqual([{ lane: lane.lane, most: 32 }]);
});

it('takes more at once of one that answers quickly, as long as it does', () => {
  const slots = new Slots();
  const [lane] = lanesOf('ann', 1) as [SharedLane];
  slots.told(lane.lane, true, true);
  expect(slots.share([lane])).toEqual([{ lane: lane.lane, most: 64 }]);
  slots.told(lane.lane, true, false);
  expect(slots.share([lane])).toEqual([{ lane: lane.lane, most: 32 }]);
});
