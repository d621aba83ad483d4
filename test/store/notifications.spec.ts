import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Notifications } from '../../lib/store/dialects/postgres/notifications.js';
import type { PgClient, PgQuery, PgResult } from '../../lib/store/dialects/postgres/pg.js';

/** A connection to a server that takes so long for a notification, and counts them. */
class CountingClient implements PgClient {
  readonly processID = 7;
  /** Another process of the server's than the one that was named, as behind a pooler. */
  servedBy = 7;
  /** When each was sent. */
  readonly sentAt: number[] = [];
  /** The names of the statements that sent them. */
  readonly names: (string | undefined)[] = [];
  underWay = 0;
  mostAtOnce = 0;
  answerMs = 0;
  connectMs = 0;
  /** Whether the connection breaks under what is asked of it. */
  isBroken = false;
  readonly #lost: (() => void)[] = [];

  connect(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.connectMs));
  }

  async end(): Promise<void> {}
  unref(): void {}

  on(event: string, listener: (given: never) => void): void {
    if (event === 'end') {
      this.#lost.push(() => listener(undefined as never));
    }
  }

  lose(): void {
    this.#lost.forEach((listener) => listener());
  }

  async query({ text, name }: PgQuery): Promise<PgResult> {
    if (this.isBroken) {
      this.lose();
      throw new Error('Connection terminated unexpectedly');
    }
    if (text.includes('pg_notify')) {
      this.sentAt.push(performance.now());
      this.names.push(name);
      this.underWay += 1;
      this.mostAtOnce = Math.max(this.mostAtOnce, this.underWay);
      await new Promise((resolve) => setTimeout(resolve, this.answerMs));
      this.underWay -= 1;
    }
    return { rows: text.includes('pg_backend_pid') ? [[this.servedBy]] : [], rowCount: 1 };
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

/** Listens, and counts what it hears and tells, over one connection after the other. */
function overClients(...clients: readonly CountingClient[]) {
  const left = [...clients];
  const notifications = new Notifications(() => left.shift() ?? new CountingClient(), 'a channel');
  let hints = 0;
  notifications.subscribe(() => void (hints += 1));
  notifications.start();
  return { notifications, hints: () => hints };
}

it.each([
  ['while there is no session', false],
  ['as the session breaks', true],
])('what is to be told %s is told once, when there is another one', async (_, isUnderWay) => {
  const [first, second] = [new CountingClient(), new CountingClient()];
  const { notifications } = overClients(first, second);
  await vi.advanceTimersByTimeAsync(100);
  second.connectMs = 1000;
  if (isUnderWay) {
    first.isBroken = true;
  } else {
    first.lose();
  }
  for (let n = 0; n < 10; n += 1) {
    notifications.tell(n % 2 === 0);
  }
  await vi.advanceTimersByTimeAsync(1000);
  expect([first.sentAt, second.sentAt]).toEqual([[], []]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(second.sentAt).toHaveLength(1);
  notifications.tell(true);
  expect(second.sentAt).toHaveLength(2);
  await notifications.close();
});

it('a process whose session is lost looks twice a second until it hears again', async () => {
  const [first, second] = [new CountingClient(), new CountingClient()];
  const { notifications, hints } = overClients(first, second);
  // Long enough for the slow timer to run.
  await vi.advanceTimersByTimeAsync(1000);
  second.connectMs = 5000;
  const before = hints();
  first.lose();
  await vi.advanceTimersByTimeAsync(3000);
  expect(hints() - before).toBeGreaterThanOrEqual(4);
  await vi.advanceTimersByTimeAsync(3000);
  const heard = hints();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(hints()).toBe(heard);
  await notifications.close();
});

it('behind a pooler no statement has a name, nor one that was wanted before the pooler was noticed', async () => {
  const client = new CountingClient();
  client.servedBy = 8;
  client.connectMs = 50;
  const { notifications } = overClients(client);
  notifications.tell(true);
  await vi.advanceTimersByTimeAsync(100);
  notifications.tell(true);
  await vi.advanceTimersByTimeAsync(100);
  expect(client.names).toEqual([undefined, undefined]);
  await notifications.close();
});
