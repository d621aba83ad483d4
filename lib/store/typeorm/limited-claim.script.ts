import type { JobEntity } from '../../entities/job.entity.js';
import { limitKeyOf, partsOfKey, queueScope, typeScope, type Ceiling } from '../../model/limits.js';
import { query, type Script } from '../dialects/sql.js';
import type { ChangeResult, LimitedClaim, LimitedRequest } from '../store.js';
import type { JobScripts } from './job.scripts.js';
import { LimitRoom, type AtWork } from './limit-room.js';
import {
  allot,
  choose,
  inTurns,
  linesOf,
  Search,
  type Candidate,
  type InLine,
  type LimitLane,
  type Line,
} from './limit-turns.js';
import { LimitRows } from './limit.scripts.js';
import type { TableNames } from './table-names.js';

/** What a claim gives that finds nothing in line. */
export const NONE: LimitedClaim = {
  jobs: [],
  isMore: false,
  isHeldBack: false,
  goOn: undefined,
  passed: 0,
  nextInMs: undefined,
};

/** What a worker takes jobs of. */
export type Served = Pick<LimitedRequest, 'types' | 'channels'>;

/** Jobs from before there was a limit that get a key at once. */
const MOST_ADOPTED = 500;

/**
 * Takes ready jobs within limits. One process at a time does so for a queue: it locks the rows of the
 * limits, counts what is at work by the jobs' own rows, and only then takes.
 *
 * Keys take turns: the claim goes through the keys that have jobs in line, from where the last one
 * ended, by steps in an index that has an entry for each job but is not read job by job. So it costs
 * what it takes and the keys that it passes over, however many jobs a key has. Keys that are passed
 * over are at a limit of jobs at work, of which there are never more than jobs at work, or at a rate.
 */
export abstract class LimitedClaims {
  protected readonly t: TableNames;
  /** Whether to count what is at work of some keys costs as much as of all. */
  protected abstract readonly countsAll: boolean;
  /** The database's time at that moment, as an expression. */
  protected abstract readonly now: string;
  readonly #rows: LimitRows;
  readonly #scripts: JobScripts;

  constructor(tables: TableNames, scripts: JobScripts, lock: string) {
    this.t = tables;
    this.#rows = new LimitRows(tables, lock);
    this.#scripts = scripts;
  }

  /** Whether the claim may be tried by `claimAtOnce` first. */
  maySuit(_request: LimitedRequest): boolean {
    return false;
  }

  /** As one statement; nothing where it has to be done step by step. */
  *claimAtOnce(request: LimitedRequest, nowMs: number): Script<LimitedClaim | undefined> {
    return yield* this.claim(request, nowMs);
  }

  *claim(request: LimitedRequest, nowMs: number): Script<LimitedClaim> {
    if (request.limit <= 0) {
      return NONE;
    }
    const { queue, limits } = request;
    const declares = limits.size > 0;
    const scopes = scopesOf(queue, limits);
    const state = yield* this.#rows.take(scopes, queue, { declares, nowMs });
    const lanes = state.isPaused ? [] : yield* this.lanes(request);
    if (lanes.length === 0) {
      return NONE;
    }
    const room = new LimitRoom(request, nowMs);
    if (isAnyRate(request)) {
      // What others took while this one waited for the lock is not of the future.
      room.passTime(yield* this.#present());
    }
    state.taken.forEach((row) => room.addTaken(row));
    const search = new Search(
      request.goOn ?? { from: state.turn, after: state.turn, hasWrapped: state.turn === null },
    );
    const jobs: JobEntity[] = [];
    let { turn } = state;
    let isMore = false;
    do {
      const wanted = request.limit - jobs.length;
      search.wants(wanted);
      isMore = (yield* this.#look(search, lanes, request, room)) || isMore;
      const step = yield* this.#takeFrom(search, wanted, request, room);
      jobs.push(...step.jobs);
      turn = step.turn ?? turn;
      isMore ||= step.isMore;
    } while (!search.isOver && jobs.length < request.limit);
    if (jobs.length > 0 && isAnyRate(request)) {
      // What has been taken counts for a whole period from now on, however long ago the claim began.
      room.passTime(yield* this.#present());
    }
    yield* this.#rows.remember(room.remembered(), nowMs);
    if (turn !== state.turn || (turn !== null && jobs.length > 0)) {
      yield* this.#rows.turnTo(scopes, turn);
    }
    return {
      jobs: inTurns(jobs),
      isMore: isMore || !search.isRound,
      isHeldBack: room.isHeldBack,
      goOn: jobs.length === 0 && search.isCut ? search.point : undefined,
      passed: search.passed,
      nextInMs: room.nextInMs,
    };
  }

  /** `locked` → `running` within the limits. */
  *comeBack(
    id: string,
    runId: string,
    request: Pick<LimitedRequest, 'queue' | 'limits'>,
    nowMs: number,
  ): Script<ChangeResult | 'full' | undefined> {
    const scopes = scopesOf(request.queue, request.limits);
    const { turn } = yield* this.#rows.take(scopes, request.queue, { declares: true, nowMs });
    const job = yield* this.#scripts.find(id, undefined);
    if (job === undefined || job.runId !== runId || job.status !== 'locked') {
      return undefined;
    }
    // Only what is at work holds it back: its run was counted by the rates when it began.
    const room = new LimitRoom(withoutRates(request), nowMs);
    room.addAtWork(yield* this.atWork(undefined, false, room), undefined);
    const isFull = room.in(room.place(job.type, job.limitKey ?? '')) <= 0;
    if (isFull && job.lockedBy === null) {
      return 'full';
    }
    yield* this.#rows.turnTo(scopes, turn);
    const result = yield* this.#scripts.change(
      id,
      (stored) =>
        stored.runId === runId && stored.status === 'locked'
          ? { set: isFull ? { lockedBy: null } : { status: 'running', lockedBy: null } }
          : undefined,
      undefined,
      room.nowMs,
    );
    return result?.changed === true ? (isFull ? 'full' : result) : undefined;
  }

  /** Whether anything is in line at all. */
  *hasReady(request: LimitedRequest): Script<boolean> {
    const lanes = yield* this.lanes(request);
    return lanes.length > 0 && (yield* this.turns(lanes, null, 1)).length > 0;
  }

  /** Which of those types have jobs in line that have a key. */
  *keyedTypes(types: readonly string[]): Script<readonly string[]> {
    const lanes = yield* this.lanes({ types, channels: '*' });
    const found = lanes.length === 0 ? [] : yield* this.turns(lanes, null, 1);
    return [...new Set(found.filter(({ key }) => key !== null).map(({ lane }) => lane.type))];
  }

  /** Whether anything is remembered of which nothing counts any more. */
  isAnyOver(nowMs: number): Script<boolean> {
    return this.#rows.isAnyOver(nowMs);
  }

  /** Forgets them. */
  forget(nowMs: number): Script<void> {
    return this.#rows.forget(nowMs);
  }

  protected abstract lanes(request: Served): Script<readonly LimitLane[]>;

  /**
   * The keys that have jobs in line, so many of each lane at the most and behind that one, in their
   * order; and null where a lane has jobs without a key.
   */
  protected abstract turns(
    lanes: readonly LimitLane[],
    after: string | null,
    most: number,
  ): Script<readonly InLine[]>;

  /**
   * Jobs at work that have a key, at least those whose key begins with one of those parts; also those
   * that want to come back from a lock, or not. Tells the room the time by which they were counted.
   */
  protected abstract atWork(
    firstParts: readonly string[] | undefined,
    withReturning: boolean,
    room: LimitRoom,
  ): Script<readonly AtWork[]>;

  /** The first jobs of lines, at least as many as each wants; those that somebody holds are passed over. */
  protected abstract candidates(
    lines: readonly Line[],
    nowMs: number,
  ): Script<readonly Candidate[]>;

  /** Takes the first jobs of lines that have a key, as many as each says; they come with their keys. */
  protected abstract takeLines(
    lines: readonly Line[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]>;

  /** Takes jobs that were candidates, likewise: those that still have the key of their line. */
  protected abstract take(
    chosen: readonly Candidate[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]>;

  /** Jobs of a lane without a key: their number and tenant. */
  protected abstract unkeyed(
    lane: LimitLane,
    most: number,
  ): Script<readonly (readonly [seq: number, tenantId: string])[]>;

  *#present(): Script<number> {
    const [now] = yield* query(`SELECT ${this.now}`);
    return Number(now?.[0]);
  }

  /** Finds keys that there is room for; whether jobs were given one, so that it has to look again. */
  *#look(
    search: Search,
    lanes: readonly LimitLane[],
    request: LimitedRequest,
    room: LimitRoom,
  ): Script<boolean> {
    let isAdopted = false;
    do {
      const found = yield* this.turns(lanes, search.after, search.step);
      isAdopted = (yield* this.#adopt(found, request)) || isAdopted;
      const turns = search.merge(found, (type) => request.limits.has(type));
      yield* this.#count(
        turns.map(({ key }) => key),
        request,
        room,
      );
      search.meet(turns, room);
    } while (search.needsMore);
    return isAdopted;
  }

  /** Takes from the keys that were found; `turn` is the last one. */
  *#takeFrom(
    search: Search,
    wanted: number,
    request: LimitedRequest,
    room: LimitRoom,
  ): Script<{ jobs: readonly JobEntity[]; turn: string | undefined; isMore: boolean }> {
    const { turns, unkeyed } = search;
    const isSimple = unkeyed.size === 0 && turns.every(({ lanes }) => lanes.length === 1);
    let lines: readonly Line[];
    let jobs: readonly JobEntity[] = [];
    let turn: string | null | undefined;
    if (isSimple) {
      lines = allot(turns, wanted, room);
      jobs = lines.length === 0 ? [] : yield* this.takeLines(lines, request, room.nowMs);
      turn = lines.at(-1)?.key;
    } else {
      lines = linesOf(turns, unkeyed, wanted, room);
      const candidates = yield* this.candidates(lines, room.nowMs);
      const chosen = choose(candidates, turns, wanted, room);
      turn = chosen.findLast(({ line }) => line.key !== null)?.line.key;
      jobs = chosen.length === 0 ? [] : yield* this.take(chosen, request, room.nowMs);
    }
    const nameOf = (type: string, channel: string, key: string | null): string | null =>
      isSimple ? key : `${type}\n${channel}\n${key}`;
    const byName = new Map(
      lines.map((line) => [nameOf(line.lane.type, line.lane.channel, line.key), line]),
    );
    for (const { type, channel, limitKey } of jobs) {
      const line = byName.get(nameOf(type, channel, limitKey));
      if (line !== undefined) {
        line.got += 1;
      }
    }
    for (const { place, got } of lines) {
      room.noteTaken(place, got);
    }
    // A line that gave all it was asked for may have more, for which there may be room.
    const isMore = lines.some(({ place, most, got }) => got >= most && room.in(place) > 0);
    return { jobs, turn: turn ?? undefined, isMore };
  }

  /**
   * Jobs of a limited type that have no key were enqueued before there was a limit, or by a process
   * that does not know it: they are counted by their tenant where that is what counts, and together.
   */
  *#adopt(found: readonly InLine[], { limits }: LimitedRequest): Script<boolean> {
    let isAny = false;
    for (const { lane, key } of found) {
      const limited = limits.get(lane.type);
      if (key !== null || limited === undefined) {
        continue;
      }
      const byKey = new Map<string, number[]>();
      for (const [seq, tenantId] of yield* this.unkeyed(lane, MOST_ADOPTED)) {
        const own = limitKeyOf(limited.isTenant.map((is) => (is ? tenantId : '')));
        byKey.set(own, [...(byKey.get(own) ?? []), seq]);
      }
      for (const [own, seqs] of byKey) {
        isAny = true;
        yield* query(
          `UPDATE ${this.t.rows} SET ready = 2, limit_key = ?
           WHERE seq ${this.t.words.amongNumbers} AND ready = 1`,
          [own, JSON.stringify(seqs.toSorted((a, b) => a - b))],
        );
      }
    }
    return isAny;
  }

  /** Counts what limits count of those keys, and has not been counted yet. */
  *#count(keys: readonly string[], request: LimitedRequest, room: LimitRoom): Script<void> {
    const ceilings = [...request.limits.values()].flatMap((each) => each.ceilings);
    const first = [...new Set(keys.map((key) => partsOfKey(key)[0] ?? ''))];
    const needsAll = ceilings.some((each) => isOfWork(each) && each.part !== 0);
    const wanted = ceilings.some(isOfWork) ? room.uncounted(first) : [];
    if (wanted.length > 0) {
      const some = needsAll || this.countsAll ? undefined : wanted;
      room.addAtWork(yield* this.atWork(some, true, room), some);
    }
    const rates = ceilings.filter((each) => each.perMs !== undefined && each.part !== undefined);
    if (rates.length > 0 && keys.length > 0) {
      const parts = new Set(
        keys.flatMap((key) => {
          const own = partsOfKey(key);
          return rates.map(({ part }) => own[part ?? 0] ?? '');
        }),
      );
      const scopes = [...new Set(rates.map(({ scope }) => scope))];
      for (const row of yield* this.#rows.takenFor(scopes, [...parts])) {
        room.addTaken(row);
      }
    }
  }
}

function isAnyRate({ limits }: LimitedRequest): boolean {
  return [...limits.values()].some(({ ceilings }) => !ceilings.every(isOfWork));
}

function isOfWork({ perMs }: Ceiling): boolean {
  return perMs === undefined;
}

/** The scopes of a claim, its queue's first. */
export function scopesOf(queue: string, limits: LimitedRequest['limits']): readonly string[] {
  const types = [...limits]
    .filter(([type, { ceilings }]) => ceilings.some(({ scope }) => scope === typeScope(type)))
    .map(([type]) => typeScope(type));
  return [queueScope(queue), ...types];
}

function withoutRates({
  queue,
  limits,
}: Pick<LimitedRequest, 'queue' | 'limits'>): Pick<LimitedRequest, 'queue' | 'limits'> {
  return {
    queue,
    limits: new Map(
      [...limits].map(([type, each]) => [
        type,
        { ...each, ceilings: each.ceilings.filter(isOfWork) },
      ]),
    ),
  };
}
