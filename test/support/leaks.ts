import { createHook } from 'node:async_hooks';

/**
 * Counts timers from now on. Timers that have fired or were cleared are no longer counted once the
 * runtime has collected them, so a test asks until the number is what it should be.
 */
export function watchTimers(): { alive(): number; stop(): void } {
  const timers = new Set<number>();
  const hook = createHook({
    init(id, type) {
      if (type === 'Timeout') {
        timers.add(id);
      }
    },
    destroy(id) {
      timers.delete(id);
    },
  });
  hook.enable();
  return { alive: () => timers.size, stop: () => void hook.disable() };
}

/** How many listeners the process has, by event. */
export function processListeners(): Record<string, number> {
  return Object.fromEntries(
    process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
  );
}
