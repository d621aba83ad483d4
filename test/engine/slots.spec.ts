import { describe, expect, it } from 'vitest';
import { Slots } from '../../lib/engine/slots.js';

describe('a slot', () => {
  it('is not given to whoever was stopped before asking', async () => {
    const slots = new Slots(1, () => undefined);
    expect(slots.tryTake()).toBe(true);
    await expect(slots.take(AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped');
    slots.release();
    expect(slots.free).toBe(1);
  });

  it('goes to those who wait in line, but not to one who was stopped in it', async () => {
    const slots = new Slots(1, () => undefined);
    slots.tryTake();
    const stop = new AbortController();
    const first = slots.take(stop.signal);
    const second = slots.take(new AbortController().signal);
    stop.abort(new Error('stopped'));
    await expect(first).rejects.toThrow('stopped');
    slots.release();
    await second;
    expect(slots.free).toBe(0);
    slots.release();
    expect(slots.free).toBe(1);
  });
});
