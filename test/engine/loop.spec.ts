import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Loop, type Duty } from '../../lib/engine/loop.js';
import { deferred, type Deferred } from '../support/gate.js';

const logger = {
  log: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
};

let passes: Deferred<number | undefined>[] = [];

const duty: Duty = {
  name: 'test',
  everyMs: 60_000,
  runOnce: () => {
    const pass = deferred<number | undefined>();
    passes.push(pass);
    return pass.promise;
  },
};

/** Ends the latest pass, and with it whatever follows without a timer. */
async function end(pass: Deferred<number | undefined> | undefined): Promise<void> {
  pass?.resolve(undefined);
  await vi.advanceTimersByTimeAsync(0);
}

describe('a background duty', () => {
  beforeEach(() => {
    passes = [];
    vi.useFakeTimers();
  });
  afterEach(() => vi.useRealTimers());

  it('makes one more pass for calls that come during a pass, whenever in it they come', async () => {
    const loop = new Loop(duty, logger, () => 0.5);
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(passes).toHaveLength(1);
    passes[0]?.resolve(undefined);
    // The pass has ended, and its loop has not heard of it yet: each turn in between counts.
    for (let turn = 0; turn < 5; turn += 1) {
      queueMicrotask(() => undefined);
      await Promise.resolve();
      loop.wake();
      await vi.advanceTimersByTimeAsync(0);
      expect(passes).toHaveLength(turn + 2);
      passes[turn + 1]?.resolve(undefined);
    }
    await end(passes.at(-1));
    await loop.stop();
  });

  it('counts as dead once a pass is overdue, and as alive when it has ended', async () => {
    const loop = new Loop(duty, logger, () => 0.5);
    loop.start();
    await vi.advanceTimersByTimeAsync(4000);
    expect(loop.isAlive).toBe(true);
    await vi.advanceTimersByTimeAsync(2000);
    expect(loop.isAlive).toBe(false);
    await end(passes[0]);
    expect(loop.isAlive).toBe(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(passes).toHaveLength(2);
    await end(passes[1]);
    await loop.stop();
  });

  it('that fails keeps to its back-off, however often it is called', async () => {
    const loop = new Loop(duty, logger, () => 0.5);
    loop.start();
    await vi.advanceTimersByTimeAsync(0);
    passes[0]?.reject(new Error('no'));
    await vi.advanceTimersByTimeAsync(0);
    expect(loop.isAlive).toBe(false);
    for (let call = 0; call < 10; call += 1) {
      loop.wake();
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(passes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(passes).toHaveLength(2);
    await end(passes[1]);
    expect(loop.isAlive).toBe(true);
    await loop.stop();
  });
});
