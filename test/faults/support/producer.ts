import { setTimeout as pause } from 'node:timers/promises';
import type { ChildApplication } from '../../support/children.js';
import { until } from '../../support/waiting.js';
import type { Note } from '../history.js';

/** One enqueue; the token is in its params, so that it is known again. */
export interface Item {
  readonly token: string;
  readonly keyed: boolean;
  /** Whether it comes before what waits already. */
  readonly first?: boolean;
  readonly tenant?: string;
  readonly timeout?: number;
  /** Earlier ones that it depends on: it is enqueued once they are there. */
  readonly after?: readonly { readonly token: string; readonly onFailure: 'fail' | 'run' }[];
  readonly params: {
    readonly ms?: number;
    readonly fails?: number;
    readonly blockMs?: number;
    /** The unique key that it is to hold: the item has an idempotency key too, and comes again when refused. */
    readonly unique?: string;
    /** What `after` becomes. */
    readonly parents?: readonly { readonly id: string; readonly onFailure: string }[];
    /** What its handler does instead, see the fixture. */
    readonly how?: string;
    /** The status that it must end with. */
    readonly ends?: string;
  };
}

/** Who is there to enqueue. */
export interface Callers {
  /** One of those that have booted, if any. */
  any(): ChildApplication | undefined;
  replaceDead(): void;
  notes(): readonly Note[];
}

interface Produced {
  readonly acked: readonly { readonly token: string; readonly id: string }[];
}

const BATCH = 5;
/** What is to be asked again is behind so many others at least. */
const BEHIND = 15;

/**
 * Enqueues what a scenario wants over processes that come and go, until so many jobs are acknowledged.
 * What has a key is asked for until somebody says yes. What has none is not asked for again, since its
 * answer may have been lost: another one like it is.
 */
export class Producer {
  readonly #callers: Callers;
  readonly #random: () => number;
  readonly #acked = new Map<string, string>();

  constructor(callers: Callers, random: () => number) {
    this.#callers = callers;
    this.#random = random;
  }

  /** Without those that only prove something. */
  get acknowledged(): readonly string[] {
    return [...this.#acked].flatMap(([token, id]) => (token.startsWith(PROOF) ? [] : [id]));
  }

  /** All of them, over that time or as long as it takes, so many calls at once. */
  async produce(items: readonly Item[], seconds: number, callers: number): Promise<void> {
    const left = [...items];
    const everyMs = (seconds * 1000 * callers * BATCH) / items.length;
    const produceSome = async (): Promise<void> => {
      while (left.length > 0) {
        const batch = left.splice(0, BATCH);
        await pause(everyMs * this.#random() * 2);
        const again = await this.ask(batch);
        // Else those whose unique key is taken would be all that is asked for while nobody works.
        const behind = BEHIND + Math.floor((this.#random() * left.length) / 2);
        left.splice(behind, 0, ...again);
      }
    };
    await Promise.all(Array.from({ length: callers }, produceSome));
  }

  /** Asks for these once; gives those that are to be asked for again. */
  async ask(batch: readonly Item[]): Promise<readonly Item[]> {
    const worker = this.#callers.any();
    if (worker === undefined) {
      this.#callers.replaceDead();
      await pause(20);
      return batch;
    }
    const ready = batch.filter(({ after = [] }) =>
      after.every(({ token }) => this.#acked.has(token)),
    );
    const early = batch.filter((item) => !ready.includes(item));
    return ready.length === 0 ? early : [...(await this.#enqueue(worker, ready)), ...early];
  }

  async #enqueue(worker: ChildApplication, items: readonly Item[]): Promise<readonly Item[]> {
    let asked: ReadonlySet<string> | undefined;
    try {
      const wanted = items.map((item) => this.#withParents(item));
      const { acked } = await worker.call<Produced>('process', 'produce', wanted);
      this.#note(acked);
    } catch {
      // It died, and what it was told is in its notes: what it asked for without a key, and was told
      // nothing of, may have been stored.
      await until(() => worker.exit !== undefined, 'the end of a process', 60_000);
      const notes = this.#callers.notes();
      this.#note(notes.flatMap((note) => (note.what === 'acked' ? [note] : [])));
      asked = new Set(notes.flatMap((note) => (note.what === 'asked' ? [note.token] : [])));
    }
    return items
      .filter(({ token }) => !this.#acked.has(nameOf(token)))
      .map((item) =>
        item.keyed || asked?.has(item.token) === false
          ? item
          : { ...item, token: `${item.token}${AGAIN}` },
      );
  }

  #withParents({ after, ...item }: Item): Item {
    const parents = after?.map(({ token, onFailure }) => ({
      id: this.#acked.get(token) ?? '',
      onFailure,
    }));
    return parents === undefined ? item : { ...item, params: { ...item.params, parents } };
  }

  #note(acked: Produced['acked']): void {
    for (const { token, id } of acked) {
      this.#acked.set(nameOf(token), id);
    }
  }
}

/** How the tokens of jobs begin that are no part of the scenario's work. */
export const PROOF = 'proof-';

const AGAIN = '+';

/** What a scenario calls it, however often it was asked for. */
function nameOf(token: string): string {
  return token.split(AGAIN, 1)[0] ?? '';
}
