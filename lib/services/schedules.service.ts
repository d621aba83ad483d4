import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { badField, checkedTenant, checkedUser } from '../engine/enqueue-checks.js';
import { checkedScheduleName } from '../engine/schedule-definition.js';
import { scheduleOf } from '../engine/schedule-view.js';
import { JOBS_ENGINE } from '../jobs.tokens.js';
import type { EnqueuedJob } from '../model/job.js';
import type { Schedule, ScheduleInput, UpsertedSchedule } from '../model/schedule.js';
import { checkOptions, SCOPE_KEYS } from './arguments.js';
import type { Scope } from './scope.js';

/** Whose schedule it is, and whose jobs it makes. */
export interface UpsertScheduleOptions extends Scope {
  readonly userId?: string | null;
}

/** What `SchedulesService.delete` takes. */
export interface DeleteScheduleOptions extends Scope {
  /** Whether what it made and still waits is canceled. @default false */
  readonly cancelWaiting?: boolean;
}

const UPSERT_KEYS: ReadonlySet<string> = new Set([...SCOPE_KEYS, 'userId']);
const DELETE_KEYS: ReadonlySet<string> = new Set([...SCOPE_KEYS, 'cancelWaiting']);
const MOST_PREVIEWED = 1000;

/** Timetables that make jobs. Names are unique in a tenant: the nil one, where none is passed. */
@Injectable()
export class SchedulesService {
  readonly #engine: Engine;

  constructor(@Inject(JOBS_ENGINE) engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Makes a schedule, or edits the one of that name: what is left out gets its default, except
   * `paused`. It goes on in its rhythm unless its times are edited.
   *
   * @throws JobsError `invalid_request`, `unknown_type`, `invalid_params`, `too_large`
   */
  async upsert(
    schedule: ScheduleInput,
    options: UpsertScheduleOptions = {},
  ): Promise<UpsertedSchedule> {
    checkOptions(options, UPSERT_KEYS);
    const owner = {
      tenantId: checkedTenant(options.tenantId),
      userId: checkedUser(options.userId),
    };
    await this.#engine.open();
    const { stored, isNew } = await this.#schedules.upsert(schedule, owner);
    return Object.assign(scheduleOf(stored), {
      outcome: isNew ? ('created' as const) : ('replaced' as const),
    });
  }

  /** @throws JobsError `not_found` */
  async get(name: string, scope: Scope = {}): Promise<Schedule> {
    const at = this.#place(name, scope);
    await this.#engine.open();
    return scheduleOf(await this.#schedules.find(...at));
  }

  /** All schedules, by name; of every tenant unless one is passed. */
  async list(scope: Scope = {}): Promise<readonly Schedule[]> {
    checkOptions(scope, SCOPE_KEYS);
    await this.#engine.open();
    const stored = await this.#engine.store.schedules.list(scope.tenantId);
    return stored.map(scheduleOf);
  }

  /** It makes no jobs any more; those that are there go on. @throws JobsError `not_found` */
  async pause(name: string, scope: Scope = {}): Promise<Schedule> {
    const at = this.#place(name, scope);
    await this.#engine.open();
    return scheduleOf(await this.#schedules.setPaused(...at, true));
  }

  /** It goes on with the next slot; what came while it was paused is not caught up. @throws JobsError `not_found` */
  async resume(name: string, scope: Scope = {}): Promise<Schedule> {
    const at = this.#place(name, scope);
    await this.#engine.open();
    return scheduleOf(await this.#schedules.setPaused(...at, false));
  }

  /**
   * Deletes a schedule; its jobs stay. With `cancelWaiting` it is paused first and deleted last: if the call is
   * refused in between, the same call goes on.
   *
   * @throws JobsError `not_found`, `database_busy`
   */
  async delete(name: string, options: DeleteScheduleOptions = {}): Promise<void> {
    const at = this.#place(name, options, DELETE_KEYS);
    const { cancelWaiting = false } = options;
    if (typeof cancelWaiting !== 'boolean') {
      throw badField('cancelWaiting', 'must be true or false');
    }
    await this.#engine.open();
    await this.#schedules.remove(...at, cancelWaiting);
  }

  /**
   * When it is due next, at most so many times (1–1,000); one that waits for the end of a run is due
   * once at most.
   *
   * @throws JobsError `not_found`, `invalid_request`
   */
  async preview(name: string, n = 5, scope: Scope = {}): Promise<readonly Date[]> {
    const at = this.#place(name, scope);
    if (!Number.isInteger(n) || n < 1 || n > MOST_PREVIEWED) {
      throw badField('n', `must be a whole number from 1 to ${MOST_PREVIEWED}`);
    }
    await this.#engine.open();
    const slots = await this.#schedules.preview(...at, n);
    return slots.map((ms) => new Date(ms));
  }

  /**
   * Makes a job now, also while it is paused; the timetable does not shift. With overlap `skip` or
   * `queue` it is refused while there is no room.
   *
   * @throws JobsError `not_found`, `duplicate_job`, `type_not_here`, `init_failed`
   */
  async runNow(name: string, scope: Scope = {}): Promise<EnqueuedJob> {
    const at = this.#place(name, scope);
    await this.#engine.open();
    return this.#schedules.runNow(...at);
  }

  /**
   * Makes it due at that time, unless it is due sooner anyhow; then the timetable goes on.
   *
   * @throws JobsError `not_found`, `invalid_request`, `illegal_transition` while it is paused
   */
  async runAtLeastBy(name: string, date: Date, scope: Scope = {}): Promise<Schedule> {
    const at = this.#place(name, scope);
    await this.#engine.open();
    return scheduleOf(await this.#schedules.runAtLeastBy(...at, date));
  }

  get #schedules() {
    return this.#engine.scheduling.schedules;
  }

  #place(
    name: string,
    scope: Scope,
    known: ReadonlySet<string> = SCOPE_KEYS,
  ): readonly [tenantId: string, name: string] {
    checkOptions(scope, known);
    return [checkedTenant(scope.tenantId), checkedScheduleName(name)];
  }
}
