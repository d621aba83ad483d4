import { isJobsError } from '../model/errors.js';
import type { JsonValue } from '../model/json.js';
import type { ScheduleJobOptions } from '../model/schedule.js';
import type { DraftDependency, StoredSchedule } from '../store/store.js';
import { Drafts, type DraftsParts, type Prepared } from './drafts.js';
import { badField } from './enqueue-checks.js';
import type { RegisteredType } from './handlers.js';

/** Makes drafts of the jobs of schedules. */
export class ScheduleDrafts {
  readonly #drafts: Drafts;
  /** A hook was checked when it was written, and is where it is sent to: it keeps no job from being made. */
  readonly #due: Drafts;

  constructor(parts: DraftsParts) {
    this.#drafts = new Drafts(parts);
    this.#due = new Drafts({ ...parts, hearers: { ...parts.hearers, checkedHook: String } });
  }

  /** The params as JSON text. @throws JobsError `invalid_params`, `too_large` */
  paramsText(params: unknown): string {
    return this.#drafts.received(params).text;
  }

  /** Checks everything that a job of the schedule would be refused for; no hook is called. */
  async check(
    type: RegisteredType,
    params: string,
    options: string,
    tenantId: string,
  ): Promise<void> {
    try {
      await this.#drafts.prepare(
        type,
        JSON.parse(params),
        { ...(JSON.parse(options) as ScheduleJobOptions), tenantId },
        { isTrial: true },
      );
    } catch (error) {
      throw ofOptions(error);
    }
  }

  /** A job of the schedule, which perhaps waits for another one to end. */
  async make(
    type: RegisteredType,
    { definition }: StoredSchedule,
    waitsFor?: string,
  ): Promise<Prepared> {
    const among: DraftDependency[] =
      waitsFor === undefined ? [] : [{ on: waitsFor, onFailure: 'run' }];
    return this.#due.prepare(
      type,
      JSON.parse(definition.params) as JsonValue,
      {
        ...(JSON.parse(definition.options) as ScheduleJobOptions),
        tenantId: definition.tenantId,
        userId: definition.userId,
      },
      { scheduleId: definition.id, among },
    );
  }
}

/** What a job would be refused for, under the name that it has in a schedule. */
function ofOptions(error: unknown): unknown {
  if (!isJobsError(error) || error.code !== 'invalid_request') {
    return error;
  }
  const [first] = error.errors ?? [];
  return first === undefined || first.field.startsWith('params')
    ? error
    : badField(`options.${first.field}`, first.message);
}
