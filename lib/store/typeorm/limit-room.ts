import {
  bucketKey,
  partsOfKey,
  queueScope,
  roomInPeriod,
  takenAfter,
  type Ceiling,
  type Taken,
} from '../../model/limits.js';
import type { Row } from '../dialects/sql.js';
import type { LimitedRequest } from '../store.js';

/** Jobs at work that limits count alike. */
export interface AtWork {
  readonly type: string;
  readonly queue: string;
  readonly key: string;
  readonly count: number;
}

/** From a row of type, queue, key and count. */
export function atWorkOf([type, queue, key, count]: Row): AtWork {
  return { type: String(type), queue: String(queue), key: String(key), count: Number(count) };
}

/** A rate's count for one key. */
export interface TakenRow {
  readonly scope: string;
  readonly key: string;
  readonly taken: Taken;
}

/** What one ceiling leaves room for, of the jobs that it counts together. */
interface Bucket {
  readonly ceiling: Ceiling;
  readonly key: string;
  left: number;
  /** Of those that this claim took in fact. */
  taken: number;
}

/** The ceilings over the jobs of a type and key. */
export type Place = readonly Bucket[];

/** What the limits of a queue leave room for, as a claim fills it. */
export class LimitRoom {
  readonly #request: Pick<LimitedRequest, 'queue' | 'limits'>;
  readonly #ofQueue: readonly Ceiling[];
  readonly #atWork = new Map<string, number>();
  readonly #taken = new Map<string, Taken>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #places = new Map<string, Place>();
  #counted: Set<string> | 'all' = new Set();
  #nowMs: number;
  #nextInMs: number | undefined;
  #isHeldBack = false;

  constructor(request: Pick<LimitedRequest, 'queue' | 'limits'>, nowMs: number) {
    this.#request = request;
    this.#nowMs = nowMs;
    const scope = queueScope(request.queue);
    const [any] = [...request.limits.values()];
    this.#ofQueue = any?.ceilings.filter((each) => each.scope === scope) ?? [];
  }

  /** The database's time: what is at work was counted by then. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** In how many milliseconds a rate that was met lets the next one through. */
  get nextInMs(): number | undefined {
    return this.#nextInMs;
  }

  /** Whether a limit of jobs at work was met. */
  get isHeldBack(): boolean {
    return this.#isHeldBack;
  }

  passTime(nowMs: number): void {
    this.#nowMs = Math.max(nowMs, this.#nowMs);
  }

  /** Which of those first parts of keys have not been counted yet. */
  uncounted(firstParts: readonly string[]): readonly string[] {
    const counted = this.#counted;
    return counted === 'all' ? [] : firstParts.filter((part) => !counted.has(part));
  }

  /** Adds what is at work of keys that begin with those parts, or of all. */
  addAtWork(groups: readonly AtWork[], firstParts: readonly string[] | undefined): void {
    const { limits, queue: own } = this.#request;
    const wanted = new Set(firstParts);
    for (const { type, queue, key, count } of groups) {
      const ceilings = limits.get(type)?.ceilings ?? (queue === own ? this.#ofQueue : []);
      const parts = partsOfKey(key);
      if (firstParts !== undefined && !wanted.has(parts[0] ?? '')) {
        continue;
      }
      for (const ceiling of ceilings) {
        if (ceiling.perMs === undefined) {
          const name = nameOf(ceiling, bucketKey(ceiling, parts));
          this.#atWork.set(name, (this.#atWork.get(name) ?? 0) + count);
        }
      }
    }
    if (firstParts === undefined) {
      this.#counted = 'all';
    } else if (this.#counted !== 'all') {
      for (const part of firstParts) {
        this.#counted.add(part);
      }
    }
  }

  addTaken({ scope, key, taken }: TakenRow): void {
    this.#taken.set(`${scope}\n${key}`, taken);
  }

  /** What limits the jobs of a type and key; what counts for them was added before. */
  place(type: string, key: string): Place {
    const name = `${type}\n${key}`;
    let place = this.#places.get(name);
    if (place === undefined) {
      const ceilings = this.#request.limits.get(type)?.ceilings ?? [];
      const parts = partsOfKey(key);
      place = ceilings.map((ceiling) => this.#bucket(ceiling, bucketKey(ceiling, parts)));
      this.#places.set(name, place);
    }
    return place;
  }

  /** How many more jobs may be taken there; notes what holds them back. */
  in(place: Place): number {
    let room = Infinity;
    for (const bucket of place) {
      if (bucket.left <= 0) {
        this.#met(bucket);
        room = 0;
      }
      room = Math.min(room, bucket.left);
    }
    return room;
  }

  /** Keeps room for one job, if there is any. */
  tryTake(place: Place): boolean {
    if (this.in(place) <= 0) {
      return false;
    }
    for (const bucket of place) {
      bucket.left -= 1;
    }
    return true;
  }

  /** So many were taken in fact. */
  noteTaken(place: Place, count: number): void {
    for (const bucket of place) {
      bucket.taken += count;
    }
  }

  /** What the rates have to remember, and until when. */
  remembered(): readonly (TakenRow & { readonly untilMs: number })[] {
    return [...this.#buckets.values()].flatMap(({ ceiling: { scope, perMs }, key, taken }) => {
      if (perMs === undefined || taken === 0) {
        return [];
      }
      const before = this.#taken.get(`${scope}\n${key}`) ?? [];
      const after = takenAfter(before, taken, perMs, this.#nowMs);
      return [{ scope, key, taken: after, untilMs: (after.at(-2) ?? this.#nowMs) + perMs }];
    });
  }

  #bucket(ceiling: Ceiling, key: string): Bucket {
    const name = nameOf(ceiling, key);
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      const left =
        ceiling.perMs === undefined
          ? ceiling.most - (this.#atWork.get(name) ?? 0)
          : this.#inPeriod(ceiling, key).room;
      bucket = { ceiling, key, left, taken: 0 };
      this.#buckets.set(name, bucket);
    }
    return bucket;
  }

  #inPeriod(ceiling: Ceiling, key: string): ReturnType<typeof roomInPeriod> {
    const taken = this.#taken.get(`${ceiling.scope}\n${key}`) ?? [];
    return roomInPeriod(taken, { most: ceiling.most, perMs: ceiling.perMs ?? 0 }, this.#nowMs);
  }

  #met({ ceiling, key }: Bucket): void {
    if (ceiling.perMs === undefined) {
      this.#isHeldBack = true;
      return;
    }
    // What this claim has used up comes back after a whole period, which the next claim will see.
    const { nextInMs } = this.#inPeriod(ceiling, key);
    const inMs = nextInMs > 0 ? nextInMs : ceiling.perMs;
    this.#nextInMs = Math.min(this.#nextInMs ?? Infinity, inMs);
  }
}

function nameOf({ scope, perMs }: Ceiling, key: string): string {
  return `${scope}\n${perMs === undefined ? 'at work' : 'rate'}\n${key}`;
}
