import { expect, it, onTestFinished, vi } from 'vitest';
import type { TakenDelivery, WebhookStore } from '../../lib/store/webhooks.js';
import { JobEventEntity } from '../../lib/entities/job-event.entity.js';
import type { Answer } from '../../lib/webhooks/sender.js';
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

/** What of a job its view does not do without. */
const JOB = JSON.stringify({ params: '{}', tags: null, meta: null, result: null, state: null });

/** Deliveries of one receiver, as many as are asked for and there are, and what becomes of them. */
class OneLane {
  readonly takes: number[] = [];
  readonly settled: string[] = [];
  readonly released: string[] = [];
  /** Those of whom an answer is awaited. */
  readonly asked: ((answer: Answer) => void)[] = [];
  readonly deliverer: Deliverer;
  #left: number;

  constructor(count: number, stored: Promise<void>) {
    this.#left = count;
    const store = {
      lanes: async () =>
        Promise.resolve({
          lanes: this.#left === 0 ? [] : [{ lane: 'one', dueAtMs: 0, tenantId: '' }],
          next: undefined,
        }),
      take: async ([{ most }]: readonly [{ readonly most: number }]) => {
        const count = Math.min(most, this.#left);
        this.#left -= count;
        this.takes.push(count);
        const rows = Array.from({ length: count }, (_, nth) => this.#taken(`${this.#left} ${nth}`));
        return Promise.resolve(rows);
      },
      settle: async ({ id }: { readonly id: string }) => {
        this.settled.push(id);
        await stored;
      },
      release: async ({ id }: { readonly id: string }) =>
        Promise.resolve(void this.released.push(id)),
      cutOff: async () => Promise.resolve(),
    } as object as WebhookStore;
    const send = (): Promise<Answer> => new Promise((resolve) => this.asked.push(resolve));
    this.deliverer = new Deliverer({
      store,
      sender: { send, close: () => undefined },
      slots: new Slots(),
      retryMs: [1],
      hideAnswers: false,
      random: () => 0,
      nowMs: () => 1,
      serves: () => true,
      secretsOf: () => Promise.resolve(['secret']),
      warn: () => undefined,
    } as object as DelivererParts);
  }

  /** The receiver answers the oldest requests. */
  async answer(count: number): Promise<void> {
    for (const resolve of this.asked.splice(0, count)) {
      resolve({ isAcknowledged: true, status: 204, durationMs: 1 } as Answer);
    }
    await settle();
  }

  #taken(id: string): TakenDelivery {
    const happened = Object.assign(new JobEventEntity(), { detail: '{}', job: JOB, atMs: 0 });
    return { ...taken('sent'), id, lane: 'one', target: 'one', happened };
  }
}

/** Lets all that waits for nothing go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

it('takes the next ones as soon as the receiver has answered, while that is being stored', async () => {
  const lane = new OneLane(1000, new Promise(() => undefined));
  const wake = vi.fn();
  lane.deliverer.onMore(wake);
  await lane.deliverer.runOnce();
  await settle();
  expect(wake).not.toHaveBeenCalled();
  await lane.answer(32);
  expect(wake).toHaveBeenCalled();
  await lane.deliverer.runOnce();
  expect(lane.settled).toHaveLength(32);
  // It answers quickly: what comes next is there when it has answered.
  expect(lane.takes).toEqual([32, 64]);
});

it('has 32 requests of a receiver under way and no more, whatever was taken', async () => {
  const lane = new OneLane(1000, Promise.resolve());
  await lane.deliverer.runOnce();
  await settle();
  expect(lane.asked).toHaveLength(32);
  await lane.answer(32);
  await lane.deliverer.runOnce();
  await settle();
  expect(lane.takes).toEqual([32, 64]);
  expect(lane.asked).toHaveLength(32);
  await lane.answer(10);
  expect(lane.asked).toHaveLength(32);
});

it('gives back what waits for a receiver that answers no more', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const lane = new OneLane(1000, Promise.resolve());
  await lane.deliverer.runOnce();
  await settle();
  await lane.answer(32);
  await lane.deliverer.runOnce();
  await settle();
  await vi.advanceTimersByTimeAsync(6000);
  expect(lane.released).toHaveLength(32);
  await lane.deliverer.runOnce();
  await settle();
  // Its requests are under way still.
  expect(lane.takes).toEqual([32, 64]);
});
