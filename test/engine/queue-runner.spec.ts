import { describe, expect, it } from 'vitest';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import { QueueRunner } from '../../lib/engine/queue-runner.js';
import { until } from '../support/waiting.js';

describe('a queue', () => {
  it('takes no jobs while so much is logged that no handler may be started, and does afterwards', () => {
    let claims = 0;
    const logs = { isFull: true };
    const parts = {
      logs,
      limits: { ofQueue: () => new Map() },
      handlers: { idsOf: () => ['default:any'] },
      options: { channels: '*', lease: { durationMs: 1000 } },
      store: {
        jobs: {
          claim: () => {
            claims += 1;
            return new Promise(() => undefined);
          },
        },
      },
    } as object as EngineParts;
    const queue = new QueueRunner('default', 5, parts, () => new Set());
    queue.start();
    expect(claims).toBe(0);
    logs.isFull = false;
    queue.wake();
    expect(claims).toBe(1);
  });

  it('looks again for what it hears of while it claims', async () => {
    const answers: ((jobs: readonly never[]) => void)[] = [];
    const parts = {
      claimed: () => undefined,
      logs: { isFull: false },
      limits: { ofQueue: () => new Map() },
      handlers: { idsOf: () => ['default:any'] },
      options: { channels: '*', lease: { durationMs: 1000 } },
      store: { jobs: { claim: () => new Promise((resolve) => answers.push(resolve)) } },
    } as object as EngineParts;
    const queue = new QueueRunner('default', 5, parts, () => new Set());
    queue.start();
    expect(answers).toHaveLength(1);
    // Committed too late for the claim that is under way.
    queue.wake();
    answers[0]?.([]);
    await until(() => answers.length === 2, 'the second claim');
  });
});
