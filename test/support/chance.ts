/** Chance that can be had again: a failure prints its seed, and JOBS_TEST_SEED repeats it. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run. */
export function seedOfRun(): number {
  return Number(process.env['JOBS_TEST_SEED'] ?? Date.now() % 2 ** 31);
}
