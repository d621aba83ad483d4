import type { JobEntity } from '../entities/job.entity.js';
import type { ClaimRequest, LimitedRequest, SearchPoint } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';

/** Commits of others within so many milliseconds are one reason to look again. */
const HINT_MS = 10;
const LONGEST_SLEEP_MS = 60_000;
/** For so many keys that a round has passed over the next one waits a millisecond. */
const KEYS_A_MS = 20;

/** What a claim gave, and whether there may be more at once. */
export interface Claimed {
  readonly jobs: readonly JobEntity[];
  readonly isMore: boolean;
}

/**
 * How one queue of this process claims: plainly, or within limits where it has any, or has had some
 * that jobs in line still have keys of. What limits hold back is looked at again when they may let it
 * through: when a job has ended, or at the time that a rate has told.
 */
export class QueueLimits {
  readonly #name: string;
  readonly #parts: EngineParts;
  readonly #declared: () => ReadonlySet<string>;
  readonly #look: () => void;
  #known: { readonly limits: LimitedRequest['limits']; readonly hasRate: boolean } | undefined;
  /** What a round of many keys has given so far. */
  #round:
    | {
        readonly goOn: SearchPoint | undefined;
        readonly passed: number;
        readonly nextInMs: number;
        readonly isHeldBack: boolean;
      }
    | undefined;
  #isHeldBack = false;
  #timer: NodeJS.Timeout | undefined;
  #hintTimer: NodeJS.Timeout | undefined;

  /** @param look takes what may be taken now */
  constructor(
    name: string,
    parts: EngineParts,
    declared: () => ReadonlySet<string>,
    look: () => void,
  ) {
    this.#name = name;
    this.#parts = parts;
    this.#declared = declared;
    this.#look = look;
  }

  /** Whether jobs may be claimed before their handlers can be called: what a rate counts begins then. */
  get mayClaimAhead(): boolean {
    return !this.#own.hasRate;
  }

  /** Worked out when the queue begins to work: nothing is registered from then on. */
  get #own(): { readonly limits: LimitedRequest['limits']; readonly hasRate: boolean } {
    if (this.#known === undefined) {
      const limits = this.#parts.limits.ofQueue(this.#name);
      const hasRate = [...limits.values()].some(({ ceilings }) =>
        ceilings.some(({ perMs }) => perMs !== undefined),
      );
      this.#known = { limits, hasRate };
    }
    return this.#known;
  }

  async claim(request: ClaimRequest): Promise<Claimed> {
    const { limits } = this.#own;
    const { jobs } = this.#parts.store;
    const declared = this.#declared();
    if (
      limits.size === 0 &&
      (declared.size === 0 || !this.#parts.limits.isAmong(declared, this.#name))
    ) {
      const taken = await jobs.claim(request);
      return { jobs: taken, isMore: taken.length >= request.limit };
    }
    clearTimeout(this.#timer);
    const taken = await jobs.claimWithin({ ...request, limits, goOn: this.#round?.goOn });
    const round = {
      goOn: taken.goOn,
      passed: taken.passed + (this.#round?.passed ?? 0),
      nextInMs: Math.min(taken.nextInMs ?? Infinity, this.#round?.nextInMs ?? Infinity),
      isHeldBack: taken.isHeldBack || this.#round?.isHeldBack === true,
    };
    if (taken.goOn !== undefined) {
      this.#round = round;
      return taken;
    }
    this.#round = undefined;
    this.#isHeldBack = round.isHeldBack || round.nextInMs < Infinity;
    if (round.nextInMs < Infinity && !taken.isMore) {
      // Where thousands of keys are at their rates, to find the one that is not costs more than it gives.
      const sleepMs = Math.max(round.nextInMs, round.passed / KEYS_A_MS);
      this.#timer = setTimeout(this.#look, Math.min(sleepMs, LONGEST_SLEEP_MS));
      this.#timer.unref();
    }
    return taken;
  }

  /** A job of this cluster has ended, or waits: another one may be let through. */
  slotBack(): void {
    if (this.#isHeldBack) {
      this.#isHeldBack = false;
      this.#look();
    }
  }

  /** Whether a look for what others have written waits a moment, as it is most often in vain. */
  defersHint(look: () => void): boolean {
    if (this.#isHeldBack) {
      this.#hintTimer ??= setTimeout(() => {
        this.#hintTimer = undefined;
        this.#isHeldBack = false;
        look();
      }, HINT_MS);
      this.#hintTimer.unref();
    }
    return this.#isHeldBack;
  }

  close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#hintTimer);
  }
}
