import { expect, it } from 'vitest';
import { reaper } from '../../lib/engine/duties.js';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import type { JobEntity } from '../../lib/entities/job.entity.js';
import type { Decide } from '../../lib/store/store.js';

/** A job whose worker was not heard, by the time that {@link Decide} is given. */
const lost = {
  id: 'a',
  status: 'running',
  lost: 0,
  leaseUntilMs: 1,
  runId: 'run',
} as Partial<JobEntity> as JobEntity;

it('spares a job whose row was locked as long as its lease is over, and no longer', async () => {
  let ids: readonly string[] = ['a'];
  let answer: 'locked' | undefined = 'locked';
  const tries: { readonly waitMs: number; readonly isTaken: boolean }[] = [];
  const jobs = {
    expiredLeases: async () => Promise.resolve(ids),
    takeBack: async (_id: string, decide: Decide, waitMs: number) => {
      tries.push({ waitMs, isTaken: decide(lost, 1000) !== undefined });
      return Promise.resolve(answer);
    },
  };
  const { runOnce } = reaper({
    store: { jobs },
    options: { lease: { sweepMs: 200, durationMs: 60_000, maxLost: 3 } },
    random: () => 0.5,
  } as object as EngineParts);
  await runOnce();
  answer = undefined;
  await runOnce();
  expect(tries).toEqual([
    { waitMs: 200, isTaken: true },
    { waitMs: 0, isTaken: false },
  ]);
  // Its worker has extended the lease, and dies then.
  ids = [];
  await runOnce();
  ids = ['a'];
  await runOnce();
  expect(tries.at(-1)).toEqual({ waitMs: 200, isTaken: true });
});
