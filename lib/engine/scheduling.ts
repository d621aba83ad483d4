import { isJobsError, JobsError } from '../model/errors.js';
import type { ScheduleInput } from '../model/schedule.js';
import { NIL_TENANT } from '../model/tenant.js';
import type { EngineParts } from './engine-parts.js';
import { ScheduleDrafts } from './schedule-drafts.js';
import { Scheduler } from './scheduler.js';
import { Schedules, type SchedulesParts } from './schedules.js';
import { within } from './within.js';

/** A schedule that code declares, and where. */
export interface DeclaredSchedule {
  /** Such as '@JobSchedule of MonthlyReport'. */
  readonly where: string;
  readonly input: ScheduleInput;
  /** After its start this process waits so long before it makes jobs of that type. @default 0 */
  readonly delayMs?: number;
}

/** What code declares, once it has been explored. */
export interface SchedulingSources {
  declaredSchedules(): readonly DeclaredSchedule[];
}

/** Boot waits so long for what is declared to be stored. */
const DECLARE_PATIENCE_MS = 900;

/** Schedules and who fires them, as the engine has them. */
export class Scheduling {
  readonly schedules: Schedules;
  readonly scheduler: Scheduler;
  readonly #sources: SchedulingSources;
  readonly #parts: EngineParts;
  #declaring: Promise<void> | undefined;

  constructor(
    engine: Pick<SchedulesParts, 'operations' | 'isPaused'>,
    parts: EngineParts,
    enqueued: SchedulesParts['enqueued'],
    sources: SchedulingSources,
  ) {
    this.#sources = sources;
    this.#parts = parts;
    const shared: SchedulesParts = {
      parts,
      operations: engine.operations,
      drafts: new ScheduleDrafts(parts),
      enqueued,
      isPaused: (queue) => engine.isPaused(queue),
      wake: () => this.scheduler.wake(),
    };
    this.schedules = new Schedules(shared);
    this.scheduler = new Scheduler({
      ...shared,
      declare: () => this.declare(),
      delayMs: () => this.#delays(),
    });
  }

  /** @throws JobsError `invalid_options` for a declaration that is not right, which it names */
  async check(): Promise<void> {
    const names = new Map<string, string>();
    for (const { where, input } of this.#sources.declaredSchedules()) {
      const other = names.get(input.name);
      if (other !== undefined) {
        throw new JobsError(
          'invalid_options',
          `${where}: ${other} declares a schedule "${input.name}" already. Give one of them another name.`,
        );
      }
      names.set(input.name, where);
      try {
        await this.schedules.check(input);
      } catch (error) {
        throw isJobsError(error)
          ? new JobsError('invalid_options', `${where}: ${error.message}`, { cause: error })
          : error;
      }
    }
  }

  /** Stores what code declares; calls share the attempt, and a failed one is made again. */
  declare(): Promise<void> {
    this.#declaring ??= this.#declare().catch((error: unknown) => {
      this.#declaring = undefined;
      throw error;
    });
    return this.#declaring;
  }

  /**
   * The same at the boot of a process that runs jobs, which waits only a moment for it: the scheduler
   * makes up for it.
   */
  async declareSoon(): Promise<void> {
    if (this.#parts.options.role === 'producer') {
      return;
    }
    const declared = this.declare().catch((error: unknown) =>
      this.#parts.logger.debug(`The declared schedules could not be stored yet: ${String(error)}`),
    );
    await within(declared, DECLARE_PATIENCE_MS);
  }

  /** By type, the longest delay of its schedules. */
  #delays(): ReadonlyMap<unknown, number> {
    const delays = new Map<unknown, number>();
    for (const { input, delayMs = 0 } of this.#sources.declaredSchedules()) {
      if (delayMs > 0) {
        delays.set(input.type, Math.max(delayMs, delays.get(input.type) ?? 0));
      }
    }
    return delays;
  }

  async #declare(): Promise<void> {
    const inputs = this.#sources.declaredSchedules().map(({ input }) => input);
    await this.schedules.declare(inputs, NIL_TENANT);
  }
}
