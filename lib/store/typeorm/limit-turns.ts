import type { JobEntity } from '../../entities/job.entity.js';
import type { Row, SqlValue } from '../dialects/sql.js';
import { byClaimOrder } from './claim.script.js';
import type { SearchPoint } from '../store.js';
import type { LimitRoom, Place } from './limit-room.js';

/** Jobs of a type and a channel that are in line. */
export interface LimitLane {
  readonly type: string;
  /** How rows say the type: its name, or the number of a declaration. */
  readonly line: SqlValue;
  readonly channel: string;
}

/** A key that has jobs in line in a lane; null for jobs without one. */
export interface InLine {
  readonly lane: LimitLane;
  readonly key: string | null;
}

/** A line to take from: the jobs of a lane with that key, or those without one. */
export interface Line extends InLine {
  readonly most: number;
  readonly place: Place;
  /** How many it has given. */
  got: number;
}

/** A job that may be taken. */
export interface Candidate {
  readonly line: Line;
  readonly seq: number;
  readonly priority: number;
  readonly runAtMs: number;
}

/** From a row that says its line first, then number, priority and start. */
export function candidateOf(line: Line, [, seq, priority, runAtMs]: Row): Candidate {
  return { line, seq: Number(seq), priority: Number(priority), runAtMs: Number(runAtMs) };
}

/** A key that has jobs in line, in one lane or several. */
export interface Turn {
  readonly key: string;
  readonly lanes: readonly LimitLane[];
}

/** The most keys that a claim takes from at once, and the fewest that it looks at. */
export const MOST_KEYS = 64;
const FEWEST_KEYS = 8;
/** Keys at their limit that a claim passes over; the next one goes on behind them. */
const MOST_PASSED = 2000;

/** Goes round the keys of a queue once. */
export class Search {
  /** Every key that has jobs in line was met. */
  isRound = false;
  /** There were too many keys at their limit. */
  isCut = false;
  /** The lanes that have jobs without a key. */
  readonly unkeyed = new Set<LimitLane>();
  readonly #from: string | null;
  #after: string | null;
  #wanted = 0;
  #hasWrapped: boolean;
  #passed = 0;
  #turns: Turn[] = [];

  constructor({ from, after, hasWrapped }: SearchPoint) {
    this.#from = from;
    this.#after = after;
    this.#hasWrapped = hasWrapped;
  }

  /** How far it has come. */
  get point(): SearchPoint {
    return { from: this.#from, after: this.#after, hasWrapped: this.#hasWrapped };
  }

  /** Keys at their limits. */
  get passed(): number {
    return this.#passed;
  }

  /** The key behind which to look for more. */
  get after(): string | null {
    return this.#after;
  }

  /** How many keys to look for. */
  get step(): number {
    return Math.min(Math.max(this.#wanted, FEWEST_KEYS), MOST_KEYS);
  }

  get isOver(): boolean {
    return this.isRound || this.isCut;
  }

  /** Whether more keys are to be looked for before jobs are taken. */
  get needsMore(): boolean {
    return !this.isOver && this.#turns.length < Math.min(this.#wanted, MOST_KEYS);
  }

  /** The keys that there is room for, and that nothing was taken from yet. */
  get turns(): readonly Turn[] {
    return this.#turns;
  }

  /** Goes on to find keys for so many jobs. */
  wants(jobs: number): void {
    this.#wanted = jobs;
    this.#turns = [];
  }

  /** The keys found in a step, each with the lanes that have it, in their order. */
  merge(found: readonly InLine[], isLimited: (type: string) => boolean): readonly Turn[] {
    const byKey = new Map<string, LimitLane[]>();
    for (const { lane, key } of found) {
      if (key !== null) {
        const lanes = byKey.get(key);
        if (lanes === undefined) {
          byKey.set(key, [lane]);
        } else {
          lanes.push(lane);
        }
      } else if (!isLimited(lane.type)) {
        // Those of a limited type wait until they have a key.
        this.unkeyed.add(lane);
      }
    }
    const sorted = [...byKey]
      .map(([key, lanes]): Turn => ({ key, lanes }))
      .sort((a, b) => byCodePoint(a.key, b.key))
      .slice(0, this.step);
    const from = this.#from;
    // The second time round it ends where it began.
    const isBefore = ({ key }: Turn): boolean => from === null || byCodePoint(key, from) <= 0;
    return this.#hasWrapped ? sorted.filter(isBefore) : sorted;
  }

  /** Keeps the keys that there is room for, and notes where to go on. */
  meet(met: readonly Turn[], room: LimitRoom): void {
    const isEnd = met.length < this.step;
    for (const turn of met) {
      this.#after = turn.key;
      if (turn.lanes.some(({ type }) => room.in(room.place(type, turn.key)) > 0)) {
        this.#turns.push(turn);
        if (!this.needsMore) {
          return;
        }
      } else {
        this.#passed += 1;
      }
    }
    if (isEnd) {
      this.isRound = this.#hasWrapped;
      this.#hasWrapped = true;
      this.#after = null;
    }
    this.isCut = !this.isRound && this.#passed >= MOST_PASSED;
  }
}

/** What to take of keys that are each in one lane: they take turns, one job each, while there is room. */
export function allot(turns: readonly Turn[], wanted: number, room: LimitRoom): readonly Line[] {
  const lines: (Line & { most: number })[] = turns.flatMap(({ key, lanes: [lane] }) =>
    lane === undefined ? [] : [{ lane, key, most: 0, got: 0, place: room.place(lane.type, key) }],
  );
  let left = wanted;
  for (let round: typeof lines = lines; left > 0 && round.length > 0;) {
    round = round.filter((line) => {
      if (left <= 0 || !room.tryTake(line.place)) {
        return false;
      }
      line.most += 1;
      left -= 1;
      return true;
    });
  }
  return lines.filter(({ most }) => most > 0);
}

/** What to look at where keys are in several lanes, or jobs have none: each may give all that is wanted. */
export function linesOf(
  turns: readonly Turn[],
  unkeyed: Iterable<LimitLane>,
  wanted: number,
  room: LimitRoom,
): readonly Line[] {
  const each = Math.ceil(wanted / Math.max(1, turns.length));
  return [
    ...turns.flatMap(({ key, lanes }) =>
      lanes.map((lane) => ({
        lane,
        key,
        most: Math.min(each, room.in(room.place(lane.type, key))),
        got: 0,
        place: room.place(lane.type, key),
      })),
    ),
    ...[...unkeyed].map((lane) => ({
      lane,
      key: null,
      most: wanted,
      got: 0,
      place: room.place(lane.type, ''),
    })),
  ].filter(({ most }) => most > 0);
}

/**
 * Chooses among candidates: keys take turns, one job each, the best of each key first; a job without a
 * key comes where its priority and age put it among them.
 */
export function choose(
  candidates: readonly Candidate[],
  turns: readonly Turn[],
  wanted: number,
  room: LimitRoom,
): readonly Candidate[] {
  const unkeyed: Candidate[] = [];
  const byKey = new Map<string, Candidate[]>(turns.map(({ key }) => [key, []]));
  for (const each of candidates) {
    (each.line.key === null ? unkeyed : byKey.get(each.line.key))?.push(each);
  }
  unkeyed.sort(byOrder);
  const chosen: Candidate[] = [];
  let plain = 0;
  const takePlain = (until: Candidate | undefined): void => {
    for (; chosen.length < wanted && plain < unkeyed.length; plain += 1) {
      const next = unkeyed[plain] as Candidate;
      if (until !== undefined && byOrder(next, until) > 0) {
        return;
      }
      chosen.push(next);
    }
  };
  let round = [...byKey.values()].map((line) => line.sort(byOrder)[Symbol.iterator]());
  while (round.length > 0 && chosen.length < wanted) {
    const again: typeof round = [];
    for (const line of round) {
      for (let next = line.next(); next.done !== true; next = line.next()) {
        takePlain(next.value);
        if (chosen.length >= wanted) {
          return chosen;
        }
        if (room.tryTake(next.value.line.place)) {
          chosen.push(next.value);
          again.push(line);
          break;
        }
      }
    }
    round = again;
  }
  takePlain(undefined);
  return chosen;
}

/** The order in which taken jobs begin: keys take turns here too, the best of each first. */
export function inTurns(jobs: readonly JobEntity[]): readonly JobEntity[] {
  const ranks: JobEntity[][] = [];
  const given = new Map<string | null, number>();
  for (const job of jobs.toSorted(byClaimOrder)) {
    // Jobs without a key do not wait for each other.
    const rank = job.limitKey === null ? 0 : (given.get(job.limitKey) ?? 0);
    given.set(job.limitKey, rank + 1);
    (ranks[rank] ??= []).push(job);
  }
  return ranks.flat();
}

/** The order in which jobs of a line are taken. */
export function byOrder(a: Candidate, b: Candidate): number {
  return b.priority - a.priority || a.runAtMs - b.runAtMs || a.seq - b.seq;
}

/** Databases compare texts by code point; JavaScript by halves of those that need two. */
function byCodePoint(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  for (let at = 0; at < most; at += 1) {
    const one = a.charCodeAt(at);
    const other = b.charCodeAt(at);
    if (one !== other) {
      return isHalf(one) === isHalf(other) ? one - other : isHalf(one) ? 1 : -1;
    }
  }
  return a.length - b.length;
}

function isHalf(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
