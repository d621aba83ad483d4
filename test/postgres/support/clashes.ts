import { vi } from 'vitest';
import { NumberSource } from '../../../lib/store/dialects/shared/number-source.js';
import { seqOfMs } from '../../../lib/store/dialects/shared/row-numbers.js';

/**
 * From here on every process begins a millisecond with the same row number, until the returned
 * function is called. (`Math.random` is left alone: Nest makes the names of its modules by it, and
 * keeps what it drew.)
 */
export function chooseAlike(): () => void {
  const last = new WeakMap<NumberSource, number>();
  const spy = vi.spyOn(NumberSource.prototype, 'take').mockImplementation(function take(
    this: NumberSource,
    count: number,
    nowMs: number,
  ): number {
    const first = Math.max((last.get(this) ?? 0) + 1, seqOfMs(nowMs));
    last.set(this, first + count - 1);
    return first;
  });
  return () => spy.mockRestore();
}
