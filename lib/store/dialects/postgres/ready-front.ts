import type { JobEntity } from '../../../entities/job.entity.js';
import type { ClaimRequest } from '../../store.js';
import type { Lane } from '../../typeorm/claim.script.js';
import type { TimedScript } from '../sql.js';
import type { Front, FrontLook } from './front-look.js';

/** A look that takes the server longer says that there is much to pass; one that is shorter, no more. */
const SLOW_MS = 3;
const FAST_MS = 1;
/** Looks take about a tenth of the time, but are at most so far apart while jobs are claimed. */
const SHARE = 10;
const OFTEN_MS = 100;
const SELDOM_MS = 1000;
const LONGEST_MS = 5000;
/** What is stored by others shows within that time of its `run_at`, or is found by a look. */
const MARGIN_MS = 500;
const MOST_RANGES = 32;
/** So many looks long a priority is remembered of which nothing is there. */
const MOST_UNSEEN = 3;

/** Jobs of one priority in a lane, from a `run_at` on. */
export interface ReadyRange {
  readonly type: string;
  readonly channel: string;
  readonly priority: number;
  readonly fromMs: number;
}

/** A job that is ready, and where it stands in line. */
export type InLine = Pick<JobEntity, 'type' | 'channel' | 'priority' | 'runAtMs'>;

export interface FrontParts {
  readonly look: Pick<FrontLook, 'script'>;
  readonly read: <T>(script: TimedScript<T>) => Promise<T>;
  /** There is something ahead of where claims have begun. */
  readonly found: () => void;
  readonly slowMs?: number;
}

interface Line {
  fromMs: number;
  unseen: number;
}

/**
 * Where the ready jobs of queues begin. A claim reads the index from its first entry on, and passes
 * the entries of all that was taken before for as long as the server cannot clear them away: while a
 * session keeps a snapshot, all that came since. Once that takes long, claims begin where the last one
 * ended, and looks beside them find what has come to stand ahead of that: a job that another process gave
 * back, stored late, or with a priority of which there was none. What this process stores is known.
 */
export class ReadyFront {
  readonly #parts: FrontParts;
  readonly #queues = new Map<string, QueueFront>();
  #isClosed = false;

  constructor(parts: FrontParts) {
    this.#parts = parts;
  }

  /** Whether claims begin anywhere but at the beginning. */
  get isBounded(): boolean {
    for (const queue of this.#queues.values()) {
      if (queue.isBounded) {
        return true;
      }
    }
    return false;
  }

  /** Where a claim is to begin; undefined for the beginning. */
  rangesOf({ queue }: ClaimRequest, lanes: readonly Lane[]): readonly ReadyRange[] | undefined {
    return this.#queues.get(queue)?.rangesOf(lanes);
  }

  /** What such a claim has taken, in order; it began at that time of the database. */
  taken(
    { queue, channels }: ClaimRequest,
    lanes: readonly Lane[],
    jobs: readonly InLine[],
    nowMs: number,
  ): void {
    // Which channels there are is itself found by reading from the first entry on.
    if (channels === '*' || this.#isClosed) {
      return;
    }
    let front = this.#queues.get(queue);
    if (front === undefined) {
      front = new QueueFront(this.#parts);
      this.#queues.set(queue, front);
    }
    front.taken(lanes, jobs, nowMs);
  }

  /** This process has stored a job that is ready, by now. */
  stored(job: InLine, nowMs: number): void {
    this.#queues.forEach((queue) => queue.stored(job, nowMs));
  }

  /** This process has stored something; where it stands in line is not known. */
  doubt(): void {
    for (const queue of this.#queues.values()) {
      if (queue.isBounded) {
        queue.doubt();
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#queues.forEach((queue) => queue.close());
  }
}

class QueueFront {
  readonly #parts: FrontParts;
  readonly #slowMs: number;
  /** By lane, then by priority. */
  readonly #lines = new Map<string, Map<number, Line>>();
  #lanes: readonly Lane[] = [];
  #isBounded = false;
  /** What was stored ahead of where a claim or a look that is under way may say that a line begins. */
  #late: { readonly line: Line; readonly fromMs: number; readonly at: number }[] = [];
  #claimedAt = 0;
  #lookedAt = 0;
  #dueAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isDoubted = false;
  #isClosed = false;

  constructor(parts: FrontParts) {
    this.#parts = parts;
    this.#slowMs = parts.slowMs ?? SLOW_MS;
  }

  get isBounded(): boolean {
    return this.#isBounded;
  }

  rangesOf(lanes: readonly Lane[]): readonly ReadyRange[] | undefined {
    this.#claimedAt = performance.now();
    if (!this.#isBounded) {
      return undefined;
    }
    const ranges: ReadyRange[] = [];
    for (const [type, channel] of lanes) {
      const lines = this.#lines.get(keyOf(type, channel));
      if (lines === undefined) {
        return undefined;
      }
      for (const [priority, { fromMs }] of lines) {
        ranges.push({ type, channel, priority, fromMs });
      }
    }
    return ranges.length > MOST_RANGES ? undefined : ranges;
  }

  taken(lanes: readonly Lane[], jobs: readonly InLine[], nowMs: number): void {
    this.#lanes = lanes;
    for (let at = 0; at < jobs.length; at += 1) {
      const job = jobs[at] as InLine;
      const next = jobs[at + 1];
      if (next === undefined || !isSameLine(job, next)) {
        const line = this.#lineOf(job);
        line.fromMs = Math.max(line.fromMs, Math.min(job.runAtMs, nowMs - MARGIN_MS));
        line.unseen = 0;
      }
    }
    this.#keepLate(this.#claimedAt);
    if (jobs.length > 0 || this.#isBounded) {
      this.doubt();
    }
  }

  stored(job: InLine, nowMs: number): void {
    const lines = this.#lines.get(keyOf(job.type, job.channel));
    if (lines === undefined) {
      return;
    }
    const isKnown = lines.has(job.priority);
    if (isKnown && job.runAtMs >= nowMs - MARGIN_MS) {
      return;
    }
    const line = this.#lineOf(job, job.runAtMs);
    line.fromMs = Math.min(line.fromMs, job.runAtMs);
    line.unseen = 0;
    const oldest = Math.min(this.#claimedAt, this.#lookedAt);
    this.#late = this.#late.filter(({ at }) => at >= oldest);
    this.#late.push({ line, fromMs: job.runAtMs, at: performance.now() });
  }

  /** A look begins after this, as soon as one may. */
  doubt(): void {
    if (this.#isLooking) {
      this.#isDoubted = true;
    } else if (this.#timer === undefined && !this.#isClosed) {
      this.#timer = setTimeout(() => void this.#look(), this.#dueAt - performance.now());
      this.#timer.unref();
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    this.#timer = undefined;
    this.#isLooking = true;
    this.#isDoubted = false;
    this.#lookedAt = performance.now();
    const lanes = this.#lanes;
    let beganMs = 0;
    try {
      const front = await this.#parts.read((nowMs) => {
        beganMs = nowMs;
        return this.#parts.look.script(lanes);
      });
      this.#looked(lanes, front, beganMs);
    } catch {
      // What is not known is not relied on: claims begin at the beginning.
      this.#isBounded = false;
      this.#dueAt = performance.now() + SELDOM_MS;
    }
    this.#isLooking = false;
    if (this.#isDoubted) {
      this.doubt();
    }
  }

  #looked(lanes: readonly Lane[], front: Front, nowMs: number): void {
    const wasBounded = this.#isBounded;
    const { tookMs } = front;
    this.#isBounded = front.isWhole && tookMs >= (wasBounded ? FAST_MS : this.#slowMs);
    this.#dueAt =
      performance.now() +
      (this.#isBounded
        ? Math.min(Math.max(tookMs * SHARE, OFTEN_MS), LONGEST_MS)
        : Math.max(tookMs * SHARE, SELDOM_MS));
    const upTo = nowMs - MARGIN_MS;
    for (const [type, channel] of lanes) {
      // New jobs mostly have no priority of their own.
      this.#lineOf({ type, channel, priority: 0 }, upTo);
      const lines = this.#lines.get(keyOf(type, channel)) ?? new Map<number, Line>();
      for (const [priority, line] of lines) {
        line.unseen += 1;
        if (line.unseen > MOST_UNSEEN && priority !== 0) {
          lines.delete(priority);
        }
      }
    }
    const seen = new Map<Line, number>();
    let isAhead = false;
    for (const job of front.first) {
      const line = this.#lineOf(job, Infinity);
      isAhead ||= job.runAtMs < line.fromMs;
      line.unseen = 0;
      seen.set(line, job.runAtMs);
    }
    for (const [type, channel] of lanes) {
      for (const line of this.#lines.get(keyOf(type, channel))?.values() ?? []) {
        const nothingBefore = line.fromMs === Infinity ? upTo : Math.max(line.fromMs, upTo);
        line.fromMs = Math.min(seen.get(line) ?? Infinity, nothingBefore);
      }
    }
    this.#keepLate(this.#lookedAt);
    if (wasBounded && isAhead) {
      this.#parts.found();
    }
  }

  /** What began before something was stored may not have seen it. */
  #keepLate(began: number): void {
    for (const { line, fromMs, at } of this.#late) {
      if (at >= began) {
        line.fromMs = Math.min(line.fromMs, fromMs);
      }
    }
  }

  #lineOf({ type, channel, priority }: Omit<InLine, 'runAtMs'>, fromMs = 0): Line {
    const key = keyOf(type, channel);
    let lines = this.#lines.get(key);
    if (lines === undefined) {
      lines = new Map();
      this.#lines.set(key, lines);
    }
    let line = lines.get(priority);
    if (line === undefined) {
      line = { fromMs, unseen: 0 };
      lines.set(priority, line);
    }
    return line;
  }
}

function keyOf(type: string, channel: string): string {
  return `${type}\n${channel}`;
}

function isSameLine(a: InLine, b: InLine): boolean {
  return a.priority === b.priority && a.type === b.type && a.channel === b.channel;
}
