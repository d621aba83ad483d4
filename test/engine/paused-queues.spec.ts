import { expect, it } from 'vitest';
import type { EngineLogger } from '../../lib/engine/engine-options.js';
import { PausedQueues } from '../../lib/engine/paused-queues.js';
import type { Marks } from '../../lib/store/claims.js';
import type { Store } from '../../lib/store/store.js';
import { deferred, type Deferred } from '../support/gate.js';

const marks = (...paused: string[]): Marks => ({
  paused: new Set(paused),
  limited: new Set(),
  isSending: false,
});

it('a look that began before a queue was paused, and ends after one that saw it, undoes nothing', async () => {
  const looks: Deferred<Marks>[] = [];
  const marked = (): Promise<Marks> => {
    const look = deferred<Marks>();
    looks.push(look);
    return look.promise;
  };
  const said: string[] = [];
  const queues = new PausedQueues(
    { catalog: { marked } } as object as Store,
    { debug: () => undefined } as object as EngineLogger,
    {
      paused: (queue) => said.push(`${queue} is paused`),
      resumed: (queue) => said.push(`${queue} is resumed`),
      limited: () => undefined,
      sending: () => undefined,
    },
  );
  const [earlier, later] = [queues.refresh(), queues.refresh()];
  looks[1]?.resolve(marks('mail'));
  await later;
  looks[0]?.resolve(marks());
  await earlier;
  expect(queues.has('mail')).toBe(true);
  expect(said).toEqual(['mail is paused']);
  const last = queues.refresh();
  looks[2]?.resolve(marks());
  await last;
  expect(queues.has('mail')).toBe(false);
  expect(said).toEqual(['mail is paused', 'mail is resumed']);
});
