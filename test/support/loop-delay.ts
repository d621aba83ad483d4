import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The longest time, in milliseconds, that the event loop stood still while the work went on. */
export async function longestStall(work: () => Promise<unknown>): Promise<number> {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  try {
    await work();
  } finally {
    monitor.disable();
  }
  return monitor.max / 1e6;
}
