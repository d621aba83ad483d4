import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClaimBuffer } from '../../lib/engine/claim-buffer.js';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import { JobEntity } from '../../lib/entities/job.entity.js';

function job(runId: string): JobEntity {
  return Object.assign(new JobEntity(), { runId });
}

describe('a buffer of claimed jobs', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => vi.useRealTimers());

  it('holds what was claimed while leases were renewed no longer than it was claimed for', () => {
    // Nothing is given back, so that nothing else of the engine is asked.
    const buffer = new ClaimBuffer({} as EngineParts);
    const start = performance.now();
    buffer.add([job('before')], start + 100);
    const asked = new Set(buffer.runIds());
    buffer.add([job('meanwhile')], start + 100);
    buffer.renewed(start + 1000, asked);
    vi.advanceTimersByTime(500);
    expect(buffer.isOver).toBe(false);
    expect(buffer.take()?.job.runId).toBe('before');
    expect(buffer.isOver).toBe(true);
  });
});
