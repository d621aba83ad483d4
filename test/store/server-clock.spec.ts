import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ServerClock } from '../../lib/store/dialects/shared/server-clock.js';

const SERVER_MS = 1_800_000_000_000;
const HOUR = 3_600_000;

/** Of this process, which is what carries the server's time on. */
let here = 0;

beforeEach(() => {
  here = 5000;
  vi.spyOn(performance, 'now').mockImplementation(() => here);
  return () => vi.restoreAllMocks();
});

describe('the clock of a server', () => {
  it('goes on by itself between two answers', () => {
    const clock = new ServerClock();
    expect(clock.observe(SERVER_MS, here)).toBe(SERVER_MS);
    here += 250;
    expect(clock.estimateMs()).toBe(SERVER_MS + 250);
  });

  it('is not set back by an answer that was long under way', () => {
    const clock = new ServerClock();
    clock.observe(SERVER_MS, here);
    const askedAt = here;
    here += 80;
    const before = clock.estimateMs();
    clock.observe(SERVER_MS + 1, askedAt);
    expect(clock.estimateMs()).toBe(before);
    here += 5;
    expect(clock.estimateMs()).toBe(before + 5);
  });

  it('is set forward by an answer that came sooner than those before', () => {
    const clock = new ServerClock();
    here += 80;
    clock.observe(SERVER_MS, here - 80);
    clock.observe(SERVER_MS + 60, here - 1);
    expect(clock.estimateMs()).toBe(SERVER_MS + 60);
  });

  it.each([-HOUR, HOUR])('follows the clock of the server when it is set by %s ms', (by) => {
    const clock = new ServerClock();
    clock.observe(SERVER_MS, here);
    clock.observe(SERVER_MS + by, here - 2);
    expect(Math.abs(clock.estimateMs() - SERVER_MS - by)).toBeLessThan(5);
  });

  it('is not ahead of the server where the clock of this machine is', () => {
    vi.spyOn(Date, 'now').mockReturnValue(SERVER_MS + 24 * HOUR);
    const clock = new ServerClock();
    here += 80;
    clock.observe(SERVER_MS, here - 80);
    expect(clock.estimateMs()).toBe(SERVER_MS);
  });

  it('never goes back by a little, whatever it is told', () => {
    const clock = new ServerClock();
    let latest = 0;
    for (const [serverMs, underWay] of [
      [SERVER_MS, 90],
      [SERVER_MS + 70, 0],
      [SERVER_MS + 60, 0],
      [SERVER_MS + 75, 40],
      [SERVER_MS + 71, 1],
    ] as const) {
      for (const time of [clock.observe(serverMs, here - underWay), clock.estimateMs()]) {
        expect(time).toBeGreaterThanOrEqual(latest);
        latest = time;
      }
      here += 3;
    }
  });
});
