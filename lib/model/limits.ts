import type { Duration } from './duration.js';
import type { Job } from './job.js';

/** A job as a key function sees it: checked and complete, and not stored yet, so without an id. */
export type LimitedJob<P = unknown> = Omit<Job<P>, 'id'>;

/** Tells by a text of 1–128 characters which jobs are counted together. */
export type LimitKey = {
  // As a method, so that a function may name the params of its own type.
  of(job: LimitedJob): string;
}['of'];

/** Which jobs are counted together: those of a tenant, or those with the same text. */
export type LimitBy = 'tenant' | LimitKey;

/** How many jobs may be at work at once, over all processes. */
export interface ConcurrencyLimit {
  /** At least 1. */
  readonly limit: number;
  /** Counts each tenant, or each text that a function makes of a job, by itself. @default all together */
  readonly by?: LimitBy;
}

/** How many runs may be taken in any period of that length, over all processes. */
export interface RateLimit {
  /** At least 1. */
  readonly max: number;
  /** From 10 ms on. */
  readonly per: Duration;
  /** Counts each tenant, or each text that a function makes of a job, by itself. @default all together */
  readonly by?: LimitBy;
}

/** The limits of a queue or a type, checked; durations in milliseconds. */
export interface ScopeLimits {
  readonly concurrency?: { readonly limit: number; readonly by?: LimitBy };
  readonly rate?: { readonly max: number; readonly perMs: number; readonly by?: LimitBy };
}

/** One limit that a job is under. */
export interface Ceiling {
  /** Whose it is: `queue:` or `type:` and the name. */
  readonly scope: string;
  readonly most: number;
  /** For a rate: within so many milliseconds. Else the jobs at work are counted. */
  readonly perMs: number | undefined;
  /** Which part of a job's key it is counted by, or none. */
  readonly part: number | undefined;
}

/** All limits that the jobs of a type are under, and what makes the parts of their keys. */
export interface TypeLimits {
  readonly ceilings: readonly Ceiling[];
  readonly parts: readonly LimitBy[];
}

export const queueScope = (name: string): string => `queue:${name}`;
export const typeScope = (typeId: string): string => `type:${typeId}`;

/** What the jobs of a type are under; undefined where there is no limit. */
export function limitsOfType(
  queue: { readonly name: string; readonly limits: ScopeLimits | undefined },
  type: { readonly typeId: string; readonly limits: ScopeLimits | undefined },
): TypeLimits | undefined {
  const parts: LimitBy[] = [];
  const partOf = (by: LimitBy | undefined): number | undefined => {
    if (by === undefined) {
      return undefined;
    }
    const known = parts.indexOf(by);
    return known >= 0 ? known : parts.push(by) - 1;
  };
  const scopes = [
    [queueScope(queue.name), queue.limits],
    [typeScope(type.typeId), type.limits],
  ] as const;
  const ceilings: Ceiling[] = [];
  // Jobs at work first: what they are counted by leads the key, and the rows are found by it.
  for (const [scope, limits] of scopes) {
    if (limits?.concurrency !== undefined) {
      const { limit, by } = limits.concurrency;
      ceilings.push({ scope, most: limit, perMs: undefined, part: partOf(by) });
    }
  }
  for (const [scope, limits] of scopes) {
    if (limits?.rate !== undefined) {
      const { max, perMs, by } = limits.rate;
      ceilings.push({ scope, most: max, perMs, part: partOf(by) });
    }
  }
  return ceilings.length === 0 ? undefined : { ceilings, parts };
}

const BETWEEN = '\u001f';
/** Greater than every key that begins with a part and goes on with another one. */
export const BEHIND_PARTS = ' ';

/** A job's key: what its limits count it by, part by part. */
export function limitKeyOf(parts: readonly string[]): string {
  return parts
    .map((part) => part.replaceAll('\\', '\\\\').replaceAll(BETWEEN, '\\u'))
    .join(BETWEEN);
}

/** The parts of a job's key. */
export function partsOfKey(key: string): readonly string[] {
  const parts = key.includes(BETWEEN) ? key.split(BETWEEN) : [key];
  return key.includes('\\')
    ? parts.map((part) => part.replace(/\\(.)/g, (_, sign) => (sign === 'u' ? BETWEEN : '\\')))
    : parts;
}

/** The part of a key that a ceiling counts by; jobs that have none are counted together. */
export function bucketKey(ceiling: Ceiling, parts: readonly string[]): string {
  return ceiling.part === undefined ? '' : (parts[ceiling.part] ?? '');
}

/** What was taken under a rate: pairs of a time and a number, oldest first. */
export type Taken = readonly number[];

/** A period is looked at in so many slices: what was taken leaves it at the end of its slice. */
const SLICES = 100;

export function takenOf(text: string | null): Taken {
  return text === null ? [] : (JSON.parse(text) as number[]);
}

/** What still counts. A clock that was set back far must not keep a queue shut until then. */
function current(taken: Taken, perMs: number, nowMs: number): number[] {
  const kept: number[] = [];
  for (let at = 0; at < taken.length; at += 2) {
    const leftMs = (taken[at] ?? 0) + perMs - nowMs;
    if (leftMs > 0 && leftMs <= 3 * perMs) {
      kept.push(taken[at] ?? 0, taken[at + 1] ?? 0);
    }
  }
  return kept;
}

/** How many more may be taken now, and if none, in how many milliseconds one may. */
export function roomInPeriod(
  taken: Taken,
  { most, perMs }: { readonly most: number; readonly perMs: number },
  nowMs: number,
): { readonly room: number; readonly nextInMs: number } {
  const counting = current(taken, perMs, nowMs);
  let used = 0;
  for (let at = 1; at < counting.length; at += 2) {
    used += counting[at] ?? 0;
  }
  let nextInMs = 0;
  for (let at = 0; used >= most && at < counting.length; at += 2) {
    used -= counting[at + 1] ?? 0;
    nextInMs = (counting[at] ?? 0) + perMs - nowMs;
  }
  return { room: nextInMs > 0 ? 0 : most - used, nextInMs };
}

/** The same after so many more were taken. */
export function takenAfter(taken: Taken, count: number, perMs: number, nowMs: number): Taken {
  const sliceMs = Math.max(1, Math.ceil(perMs / SLICES));
  const endMs = (Math.floor(nowMs / sliceMs) + 1) * sliceMs;
  const counting = current(taken, perMs, nowMs);
  const last = counting.length - 2;
  if ((counting[last] ?? -1) >= endMs) {
    counting[last + 1] = (counting[last + 1] ?? 0) + count;
    return counting;
  }
  return [...counting, endMs, count];
}

/** Gives out so much, as evenly as the given room allows; earlier ones get the rest. */
export function shares(rooms: readonly number[], wanted: number): readonly number[] {
  const given = rooms.map(() => 0);
  let left = wanted;
  let open = rooms.map((_, at) => at).filter((at) => (rooms[at] ?? 0) > 0);
  while (left > 0 && open.length > 0) {
    const each = Math.max(1, Math.floor(left / open.length));
    for (const at of open) {
      const more = Math.min(each, left, (rooms[at] ?? 0) - (given[at] ?? 0));
      given[at] = (given[at] ?? 0) + more;
      left -= more;
    }
    open = open.filter((at) => (given[at] ?? 0) < (rooms[at] ?? 0));
  }
  return given;
}
