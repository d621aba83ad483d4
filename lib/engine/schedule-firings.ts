import { isJobsError } from '../model/errors.js';
import type { ClaimedSchedule, Firing } from '../store/store.js';
import { within } from './within.js';

/** How schedules become what they do, which may ask hooks of users. */
export interface FiringMaker {
  make(schedule: ClaimedSchedule, nowMs: number): Promise<Firing>;
  /** The same without any job, since a hook has not answered for so long. */
  leaveOut(schedule: ClaimedSchedule, nowMs: number, waitedMs: number): Firing;
  /** It cannot be made, whatever is wrong. */
  failed(schedule: ClaimedSchedule, error: unknown): void;
}

/** How long a pass waits for hooks, a slot for its own, and how many are asked at once. */
export interface FiringPatience {
  readonly passMs: number;
  readonly hookMs: number;
  readonly atOnce: number;
}

const PATIENCE: FiringPatience = { passMs: 200, hookMs: 30_000, atOnce: 10 };

/** One that is being made, or was made after its pass had ended. */
interface Pending {
  readonly key: string;
  readonly since: number;
  isSettled: boolean;
  firing?: Firing;
  error?: unknown;
}

/**
 * Makes what schedules do that are due. A hook that takes its time holds up nobody else: its schedule is
 * passed over, and claimed again and again until the hook has answered, or for too long. One that never
 * returns is asked once.
 */
export class ScheduleFirings {
  readonly #maker: FiringMaker;
  readonly #patience: FiringPatience;
  readonly #pending = new Map<string, Pending>();

  constructor(maker: FiringMaker, patience: FiringPatience = PATIENCE) {
    this.#maker = maker;
    this.#patience = patience;
  }

  /** What is ready to be done. The others are due again when their claim is over. */
  async of(due: readonly ClaimedSchedule[], nowMs: number): Promise<readonly Firing[]> {
    this.#forget();
    const ready: Firing[] = [];
    const fresh: ClaimedSchedule[] = [];
    for (const schedule of due) {
      const pending = this.#pending.get(schedule.definition.id);
      if (pending === undefined || isObsolete(pending, schedule)) {
        fresh.push(schedule);
      } else if (pending.firing !== undefined) {
        this.#pending.delete(schedule.definition.id);
        ready.push({ ...pending.firing, schedule });
      } else if (!pending.isSettled && this.#isOverdue(pending)) {
        ready.push(this.#maker.leaveOut(schedule, nowMs, performance.now() - pending.since));
      }
    }
    return [...ready, ...(await this.#made(fresh, nowMs))];
  }

  async #made(fresh: readonly ClaimedSchedule[], nowMs: number): Promise<readonly Firing[]> {
    let isOver = false;
    const started: ClaimedSchedule[] = [];
    const left = fresh.values();
    const lane = async (): Promise<void> => {
      for (const schedule of left) {
        started.push(schedule);
        await this.#make(schedule, nowMs);
        if (isOver) {
          return;
        }
      }
    };
    const lanes = Array.from({ length: Math.min(this.#patience.atOnce, fresh.length) }, lane);
    await within(Promise.all(lanes), this.#patience.passMs);
    isOver = true;
    return started.flatMap(({ definition: { id } }) => {
      const { firing, error } = this.#pending.get(id) ?? {};
      if (firing !== undefined) {
        this.#pending.delete(id);
      }
      if (isOfDatabase(error)) {
        throw error;
      }
      return firing ?? [];
    });
  }

  async #make(schedule: ClaimedSchedule, nowMs: number): Promise<void> {
    const pending: Pending = { key: keyOf(schedule), since: performance.now(), isSettled: false };
    this.#pending.set(schedule.definition.id, pending);
    try {
      pending.firing = await this.#maker.make(schedule, nowMs);
    } catch (error) {
      pending.error = error;
      if (!isOfDatabase(error)) {
        this.#maker.failed(schedule, error);
      }
    }
    pending.isSettled = true;
  }

  /** What failed is tried again, and what somebody else has done meanwhile is not kept. */
  #forget(): void {
    for (const [id, pending] of this.#pending) {
      if (pending.isSettled && this.#isOverdue(pending)) {
        this.#pending.delete(id);
      }
    }
  }

  #isOverdue({ since }: Pending): boolean {
    return performance.now() - since > this.#patience.hookMs;
  }
}

/** Whether it was made for something else, or could not be while the database was away. */
function isObsolete({ firing, key, error }: Pending, schedule: ClaimedSchedule): boolean {
  return firing === undefined ? isOfDatabase(error) : key !== keyOf(schedule);
}

function isOfDatabase(error: unknown): boolean {
  return isJobsError(error) && error.code.startsWith('database_');
}

/** What a firing was decided from: the slot that is due, as somebody wrote it, and the jobs that are there. */
function keyOf({ definition, times, open }: ClaimedSchedule): string {
  return [definition.updatedAtMs, times.nextRunAtMs, open.length, open[0], open.at(-1)].join(' ');
}
