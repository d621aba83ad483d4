import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Notifications } from '../../lib/store/dialects/postgres/notifications.js';
import type { PgClient, PgQuery, PgResult } from '../../lib/store/dialects/postgres/pg.js';

/** A connection to a server that takes so long for a notification, and counts them. */
class CountingClient implements PgClient {
  readonly processID = 7;
  /** When each was sent. */
  readonly sentAt: number[] = [];
  underWay = 0;
  mostAtOnce = 0;
  answerMs = 0;

  async connect(): Promise<void> {}
  async end(): Promise<void> {}
  unref(): void {}
  on(): void {}

  async query({ text }: PgQuery): Promise<PgResult> {
    if (text.includes('pg_notify')) {
      this.sentAt.push(performance.now());
      this.underWay += 1;
      this.mostAtOnce = Math.max(this.mostAtOnce, this.underWay);
      await new Promise((resolve) => setTimeout(resolve, this.answerMs));
      this.underWay -= 1;
    }
    return { rows: text.includes('pg_backend_pid') ? [[this.processID]] : [], rowCount: 1 };
  }
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** What is sent while something is to be told ten times a millisecond, for a second. */
async function flood(isUrgent: boolean, answerMs = 0): Promise<CountingClient> {
  const client = new CountingClient();
  const notifications = new Notifications(() => client, 'a channel');
  notifications.start();
  await vi.advanceTimersByTimeAsync(100);
  client.answerMs = answerMs;
  for (let ms = 0; ms < 1000; ms += 1) {
    for (let n = 0; n < 10; n += 1) {
      notifications.tell(isUrgent);
    }
    await vi.advanceTimersByTimeAsync(1);
  }
  const during = client.sentAt.length;
  await vi.advanceTimersByTimeAsync(1000);
  // What was told last is sent as well, and then there is no more.
  expect(client.sentAt.length - during).toBeLessThanOrEqual(1);
  await notifications.close();
  return client;
}

/** The shortest time between two. */
const closest = ({ sentAt }: CountingClient): number =>
  Math.min(...sentAt.slice(1).map((at, before) => at - (sentAt[before] ?? 0)));

it.each([
  ['what may be started at once', true, 4],
  ['what is known a little later', false, 50],
])('of ten thousand changes in a second, %s is told every few milliseconds', async (...given) => {
  const [, isUrgent, everyMs] = given;
  const client = await flood(isUrgent);
  expect(closest(client)).toBeGreaterThanOrEqual(everyMs);
  expect(client.sentAt.length).toBeGreaterThan(900 / everyMs);
  expect(client.sentAt.length).toBeLessThanOrEqual(1000 / everyMs + 2);
});

it('never more than one notification is under way, however slow the server is', async () => {
  const client = await flood(true, 30);
  expect(client.mostAtOnce).toBe(1);
  expect(client.sentAt.length).toBeGreaterThan(25);
});

it('the last change is told although nothing comes after it, the first at once', async () => {
  const client = new CountingClient();
  const notifications = new Notifications(() => client, 'a channel');
  notifications.start();
  await vi.advanceTimersByTimeAsync(100);
  notifications.tell(true);
  expect(client.sentAt).toHaveLength(1);
  notifications.tell(true);
  await vi.advanceTimersByTimeAsync(4);
  expect(client.sentAt).toHaveLength(2);
  await notifications.close();
});
