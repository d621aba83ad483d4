import { Counts } from './counts.js';

/** Requests under way at once in all, to one receiver, and to one that did not take the last one. */
export const MOST = 256;
export const MOST_OF_ONE = 32;
const MOST_OF_AILING = 4;
/** Taken at once of one that answers quickly: what it is sent next waits here, not for a commit. */
const MOST_OF_QUICK = 64;
/** What a lane is given in one turn of the lanes of one who shares. */
const PORTION = 8;
/** Lanes of which is remembered how they do. */
const MOST_REMEMBERED = 10_000;

/** A receiver, and who shares the room with others: a tenant, or an endpoint of the options. */
export interface SharedLane {
  readonly lane: string;
  readonly who: string;
}

/**
 * Room for requests. Whoever shares it has at most as many under way as are free: one alone has half of
 * it, two have a third each, and somebody who comes later finds some.
 */
export class Slots {
  #total = 0;
  readonly #ofLane = new Counts();
  readonly #ofWho = new Counts();
  readonly #ailing = new Set<string>();
  readonly #quick = new Set<string>();

  get isFull(): boolean {
    return this.#total >= MOST;
  }

  /** Whether a lane that was busy may take a larger part again. */
  isHalfEmpty(lane: string): boolean {
    return this.#ofLane.of(lane) <= Math.max(this.#mostOf(lane), MOST_OF_ONE) / 2;
  }

  /** Takes a place if there is one, of `most` that the lane has. */
  tryEnter(shared: SharedLane, most: number): boolean {
    const hasRoom = this.#ofLane.of(shared.lane) < most && this.#roomFor(shared.who) > 0;
    if (hasRoom) {
      this.enter(shared);
    }
    return hasRoom;
  }

  enter({ lane, who }: SharedLane): void {
    this.#total += 1;
    this.#ofLane.add(lane, 1);
    this.#ofWho.add(who, 1);
  }

  leave({ lane, who }: SharedLane): void {
    this.#total -= 1;
    this.#ofLane.add(lane, -1);
    this.#ofWho.add(who, -1);
  }

  /** One that fails is asked little, so that it does not take what those who answer could use. */
  told(lane: string, isAcknowledged: boolean, isQuick = false): void {
    remember(this.#ailing, lane, !isAcknowledged);
    remember(this.#quick, lane, isQuick);
  }

  /** It has kept others waiting. */
  slowed(lane: string): void {
    this.#quick.delete(lane);
  }

  /** How many more each of these lanes may have; nothing of those that have none. */
  share(lanes: readonly SharedLane[]): readonly { readonly lane: string; readonly most: number }[] {
    const groups = grouped(lanes);
    const shares = this.#sharesOf(groups);
    return [...groups].flatMap(([who, those]) => this.#parted(those, shares.get(who) ?? 0));
  }

  /** In turns of those who share, one place each. */
  #sharesOf(groups: ReadonlyMap<string, readonly string[]>): ReadonlyMap<string, number> {
    const shares = new Map<string, number>();
    let free = MOST - this.#total;
    let turns = [...groups].map(([who, lanes]) => ({
      who,
      wants: lanes.reduce((sum, lane) => sum + Math.max(0, this.#roomOf(lane)), 0),
    }));
    while (turns.length > 0) {
      turns = turns.filter(({ who, wants }) => {
        const share = shares.get(who) ?? 0;
        const isGiven = share < wants && this.#ofWho.of(who) + share < free;
        if (isGiven) {
          shares.set(who, share + 1);
          free -= 1;
        }
        return isGiven;
      });
    }
    return shares;
  }

  /** A share, parted among lanes: not one place each, as each lane costs a look. */
  #parted(
    lanes: readonly string[],
    share: number,
  ): readonly { readonly lane: string; readonly most: number }[] {
    const given = new Counts();
    const queue = [...lanes];
    let left = share;
    for (let lane = queue.shift(); lane !== undefined && left > 0; lane = queue.shift()) {
      const part = Math.min(PORTION, left, this.#roomOf(lane) - given.of(lane));
      if (part > 0) {
        given.add(lane, part);
        left -= part;
        queue.push(lane);
      }
    }
    return [...given.entries()].map(([lane, most]) => ({ lane, most }));
  }

  #roomFor(who: string): number {
    return MOST - this.#total - this.#ofWho.of(who);
  }

  #roomOf(lane: string): number {
    return this.#mostOf(lane) - this.#ofLane.of(lane);
  }

  #mostOf(lane: string): number {
    if (this.#ailing.has(lane)) {
      return MOST_OF_AILING;
    }
    return this.#quick.has(lane) ? MOST_OF_QUICK : MOST_OF_ONE;
  }
}

function remember(lanes: Set<string>, lane: string, isOne: boolean): void {
  if (!isOne) {
    lanes.delete(lane);
    return;
  }
  if (lanes.size >= MOST_REMEMBERED && !lanes.has(lane)) {
    lanes.clear();
  }
  lanes.add(lane);
}

function grouped(lanes: readonly SharedLane[]): ReadonlyMap<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const { lane, who } of lanes) {
    const group = groups.get(who) ?? [];
    group.push(lane);
    groups.set(who, group);
  }
  return groups;
}
