import { expect, it } from 'vitest';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import { MissedLeases } from '../../lib/engine/missed-leases.js';
import type { MissedRun } from '../../lib/store/store.js';

const run = (leaseUntilMs: number): MissedRun => ({
  id: 'a job',
  runId: 'a run',
  status: 'running',
  lockedBy: null,
  timeoutSec: 0,
  leaseUntilMs,
});

function watched(): { readonly missed: MissedLeases; readonly warnings: string[] } {
  const warnings: string[] = [];
  const logger = { warn: (text: string) => warnings.push(text) };
  return { missed: new MissedLeases({ logger } as unknown as EngineParts), warnings };
}

it('a lease that three renewals have missed is warned of, once', () => {
  const { missed, warnings } = watched();
  for (let renewal = 0; renewal < 6; renewal += 1) {
    missed.set([run(1000)]);
    expect(warnings).toHaveLength(renewal < 2 ? 0 : 1);
  }
});

it('a lease that renewals miss, and that something else extends, is not warned of', () => {
  const { missed, warnings } = watched();
  for (let renewal = 0; renewal < 12; renewal += 1) {
    missed.set([run(1000 + 1000 * Math.floor(renewal / 2))]);
  }
  expect(warnings).toEqual([]);
});
