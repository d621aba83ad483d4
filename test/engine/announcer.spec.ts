import { describe, expect, it } from 'vitest';
import { Announcer, type Audience } from '../../lib/engine/announcer.js';
import type { RegisteredType } from '../../lib/engine/handlers.js';
import type { Created } from '../../lib/store/store.js';

/** A job that was stored, and that waits for so many others. */
function stored(blockedBy: number): Created {
  return {
    id: 'job',
    job: {
      status: 'waiting',
      ready: blockedBy > 0 ? -1 : 1,
      type: 'default:any',
      queue: 'default',
    },
    draft: { extras: null, blocked: blockedBy > 0 ? { by: blockedBy, verdict: 0 } : undefined },
  } as object as Created;
}

describe('who tells of jobs', () => {
  it('has queues look again for those that a new job waits for: it had their rows', () => {
    const told: string[] = [];
    const announcer = new Announcer({
      bus: { isHeard: () => false },
      handlers: { get: () => undefined },
      isWorking: () => true,
      wakeQueue: (queue: string) => told.push(queue),
      lookAgain: () => told.push('again'),
    } as object as Audience);
    const type = { prototype: {}, handlerClass: class {} } as object as RegisteredType;
    announcer.enqueued(stored(0), type);
    expect(told).toEqual(['default']);
    announcer.enqueued(stored(2), type);
    expect(told).toEqual(['default', 'again']);
  });
});
