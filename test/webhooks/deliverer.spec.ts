import { expect, it } from 'vitest';
import type { TakenDelivery, WebhookStore } from '../../lib/store/webhooks.js';
import { Deliverer, type DelivererParts } from '../../lib/webhooks/deliverer.js';
import { Slots } from '../../lib/webhooks/slots.js';
import { until } from '../support/waiting.js';

/** What is due: one is over, since its endpoint is gone, the other one is still being sent. */
function taken(id: 'over' | 'sent'): TakenDelivery {
  return {
    id,
    holder: 'holder',
    target: id,
    lane: id,
    jobSeq: 1,
    tenantId: '',
    attempts: 1,
    isLost: false,
    asOfMs: null,
    event: 'job.completed',
    url: id === 'over' ? null : 'https://receiver.example/',
    secrets: null,
    isDeclared: false,
    happened: undefined,
  } as object as TakenDelivery;
}

it('a stop gives back what is being sent, and not that whose end is being stored', async () => {
  const settled: string[] = [];
  const cutOff: string[] = [];
  const never = new Promise<never>(() => undefined);
  const store = {
    lanes: async () =>
      Promise.resolve({
        lanes: ['over', 'sent'].map((lane) => ({ lane, dueAtMs: 0, tenantId: '' })),
        next: undefined,
      }),
    take: async () => Promise.resolve([taken('over'), taken('sent')]),
    // The database is busy.
    settle: ({ id }: { readonly id: string }) => {
      settled.push(id);
      return never;
    },
    cutOff: async ({ id }: { readonly id: string }) => Promise.resolve(void cutOff.push(id)),
  } as object as WebhookStore;
  const deliverer = new Deliverer({
    store,
    sender: { close: () => undefined },
    slots: new Slots(),
    retryMs: [1],
    hideAnswers: false,
    random: () => 0,
    nowMs: () => 1,
    serves: () => true,
    secretsOf: ({ id }: TakenDelivery) => (id === 'sent' ? never : Promise.resolve([])),
    warn: () => undefined,
  } as object as DelivererParts);
  await deliverer.runOnce();
  await until(() => settled.includes('over'), 'its end');
  await deliverer.stop();
  expect(cutOff).toEqual(['sent']);
});
