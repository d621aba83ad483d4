import { newId } from '../../../model/id.js';
import { ANSWER_MS, AnswerPatience, soon } from '../shared/answer-patience.js';
import { isPooled } from './connection.js';
import type { PgClient } from './pg.js';
import { PG_TYPES } from './pg.js';

/** Others hear of what they may start at once, and of all else a little later: it is looked at anyway. */
const SOON_MS = 4;
const LATER_MS = 50;
/** Without a notification the others look after so long; a hint may be lost with the process that owed it. */
const FLOOR_MS = 15_000;
/** The same while this process cannot be told. */
const DEAF_FLOOR_MS = 500;
const PROBE_MS = 15_000;
const PROBE_PATIENCE_MS = 5000;
const LONGEST_RECONNECT_MS = 5000;

/**
 * Hints between processes: LISTEN and NOTIFY on a session of their own. A notification is sent after
 * the commit it tells of, never inside it, because committing with one takes a lock that all
 * databases of the server share; and never more than one is under way, so a process that enqueues
 * ten thousand jobs a second tells of it a few hundred times. Nothing depends on a hint: the floor
 * finds what was not told.
 */
export class Notifications {
  readonly #make: () => PgClient;
  readonly #channel: string;
  readonly #self = newId();
  readonly #patience = new AnswerPatience();
  readonly #listeners = new Set<() => void>();
  #client: PgClient | undefined;
  /** The same once it is known whether a pooler stands before the server; only then anything is told over it. */
  #teller: PgClient | undefined;
  /** Something was to be told that could not be; one notification says all of it. */
  #isOwed = false;
  #isHearing = false;
  #isPooled = false;
  #closed = false;
  #retries = 0;
  #floor: NodeJS.Timeout | undefined;
  #probe: NodeJS.Timeout | undefined;
  #reconnect: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;
  #sentAt = -Infinity;
  #isSending = false;
  #closing: Promise<unknown> = Promise.resolve();

  constructor(make: () => PgClient, channel: string) {
    this.#make = make;
    this.#channel = channel;
    this.#patience.limit(ANSWER_MS);
  }

  start(): void {
    void this.#connect();
    this.#waitFloor();
    this.#probe = setInterval(() => void this.#lookWhetherAlive(), PROBE_MS);
    this.#probe.unref();
  }

  /** Whether nobody can be heard, because a pooler stands before the server. */
  get isPooled(): boolean {
    return this.#isPooled;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Something has been committed that others may want to know, soon or at their leisure. */
  tell(isUrgent: boolean): void {
    if (this.#closed) {
      return;
    }
    if (this.#teller === undefined) {
      this.#isOwed = true;
      return;
    }
    const now = performance.now();
    const dueAt = Math.max(now, this.#sentAt + (isUrgent ? SOON_MS : LATER_MS));
    if (dueAt >= this.#dueAt) {
      return;
    }
    this.#dueAt = dueAt;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isSending) {
      this.#sendAt(dueAt - now);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const timer of [this.#floor, this.#probe, this.#reconnect, this.#timer]) {
      clearTimeout(timer);
    }
    const client = this.#client;
    this.#client = undefined;
    this.#teller = undefined;
    if (client !== undefined) {
      this.#end(client);
    }
    await this.#closing;
  }

  #sendAt(delay: number): void {
    if (delay <= 0) {
      void this.#send();
    } else {
      this.#timer = setTimeout(() => void this.#send(), delay);
      this.#timer.unref();
    }
  }

  async #send(): Promise<void> {
    const client = this.#teller;
    this.#timer = undefined;
    this.#dueAt = Infinity;
    if (client === undefined) {
      return;
    }
    this.#isSending = true;
    this.#sentAt = performance.now();
    try {
      await client.query({
        text: 'SELECT pg_notify($1, $2)',
        ...(this.#isPooled ? {} : { name: 'nestjs_jobs_notify' }),
        values: [this.#channel, this.#self],
        rowMode: 'array',
        types: PG_TYPES,
      });
    } catch {
      // The connection says so itself, and is made anew.
      this.#isOwed = true;
    }
    if (this.#teller !== client) {
      return;
    }
    this.#isSending = false;
    if (this.#dueAt !== Infinity && !this.#closed) {
      this.#sendAt(this.#dueAt - performance.now());
    }
  }

  #hint(): void {
    for (const listener of this.#listeners) {
      listener();
    }
  }

  #waitFloor(): void {
    const floor = this.#isHearing ? FLOOR_MS : DEAF_FLOOR_MS;
    this.#floor = setTimeout(
      () => {
        this.#hint();
        this.#waitFloor();
      },
      floor * (0.8 + Math.random() * 0.4),
    );
    this.#floor.unref();
  }

  async #connect(): Promise<void> {
    const client = this.#make();
    const lost = (): void => this.#lost(client);
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', ({ payload }) => {
      if (payload !== this.#self) {
        this.#hint();
      }
    });
    this.#client = client;
    try {
      await this.#patience.wait(client.connect());
      this.#isPooled = await isPooled(client, this.#patience);
      if (!this.#isPooled) {
        await this.#patience.wait(
          client.query({ text: `LISTEN "${this.#channel}"`, rowMode: 'array', types: PG_TYPES }),
        );
      }
    } catch {
      this.#lost(client);
      return;
    }
    if (this.#client !== client) {
      this.#end(client);
      return;
    }
    this.#isHearing = !this.#isPooled;
    this.#teller = client;
    this.#retries = 0;
    // What was told before somebody listened shows nowhere else.
    this.#hint();
    if (this.#isOwed) {
      this.#isOwed = false;
      this.tell(true);
    }
  }

  #lost(client: PgClient): void {
    if (this.#client !== client) {
      return;
    }
    this.#client = undefined;
    this.#teller = undefined;
    // What is under way may be lost with the session.
    this.#isOwed ||= this.#isSending || this.#dueAt !== Infinity;
    this.#isSending = false;
    this.#dueAt = Infinity;
    clearTimeout(this.#timer);
    if (this.#isHearing) {
      this.#isHearing = false;
      clearTimeout(this.#floor);
      this.#waitFloor();
    }
    this.#end(client);
    if (!this.#closed) {
      const delay = Math.min(100 * 2 ** this.#retries, LONGEST_RECONNECT_MS);
      this.#retries += 1;
      this.#reconnect = setTimeout(() => void this.#connect(), delay * (0.5 + Math.random() / 2));
      this.#reconnect.unref();
    }
  }

  #end(client: PgClient): void {
    client.unref();
    this.#closing = soon(client.end().catch(() => undefined));
  }

  /** A peer that vanished without a word shows only when it is spoken to. */
  async #lookWhetherAlive(): Promise<void> {
    const client = this.#teller;
    if (client === undefined) {
      return;
    }
    const timer = setTimeout(() => this.#lost(client), PROBE_PATIENCE_MS);
    timer.unref();
    try {
      await client.query({ text: 'SELECT 1', rowMode: 'array', types: PG_TYPES });
    } catch {
      this.#lost(client);
    } finally {
      clearTimeout(timer);
    }
  }
}
