import { expect, it } from 'vitest';
import { EventBus } from '../../lib/engine/event-bus.js';
import type { JobEvent } from '../../lib/index.js';

const event = (sequence: number, type: JobEvent['type'] = 'status'): JobEvent => ({
  sequence,
  type,
  jobId: 'job',
  runId: null,
  at: new Date(0),
  status: 'running',
  progress: 0,
});

it('leaves out what has been overtaken: answers of a server come in any order', () => {
  const bus = new EventBus();
  const heard: [string, number][] = [];
  bus.all$.subscribe((each) => heard.push([each.event.type, each.event.sequence]));
  for (const each of [event(2), event(1), event(2, 'progress'), event(1, 'progress'), event(2)]) {
    bus.publish('default', each);
  }
  bus.publish('default', { ...event(1), jobId: 'another' });
  bus.publish('default', event(3));
  expect(heard).toEqual([
    ['status', 2],
    ['progress', 2],
    ['status', 1],
    ['status', 3],
  ]);
});
