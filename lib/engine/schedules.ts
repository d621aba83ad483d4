import type { JobScheduleEntity } from '../entities/job-schedule.entity.js';
import { isJobsError, JobsError, notFound } from '../model/errors.js';
import { newId } from '../model/id.js';
import type { EnqueuedJob } from '../model/job.js';
import type { ScheduleInput } from '../model/schedule.js';
import { firstSlot, nextSlot, timetableOf } from '../model/schedule-timetable.js';
import { duplicateJob } from '../model/unique.js';
import { NIL_TENANT } from '../model/tenant.js';
import type { ClaimedSchedule, Created, ScheduleWrite, StoredSchedule } from '../store/store.js';
import { badField, checkedInstant } from './enqueue-checks.js';
import type { EngineParts } from './engine-parts.js';
import type { RegisteredType } from './handlers.js';
import { jobOf, jobOfCreated } from './job-view.js';
import type { Operations } from './operations.js';
import { checkOptionKeys } from './option-keys.js';
import type { Prepared } from './drafts.js';
import {
  definitionOf,
  isSameRhythm,
  isSameTiming,
  SCHEDULE_KEYS,
  scheduleDraft,
  type ScheduleDraft,
  type ScheduleOwner,
} from './schedule-definition.js';
import type { ScheduleDrafts } from './schedule-drafts.js';
import { cancelOlder, cancelWaitingOf } from './schedule-jobs.js';

/** What schedules need of the engine. */
export interface SchedulesParts {
  readonly parts: EngineParts;
  readonly operations: Operations;
  readonly drafts: ScheduleDrafts;
  /** Tells that a job was stored, after the commit. */
  enqueued(created: Created, type: RegisteredType): void;
  isPaused(queue: string): boolean;
  /** Something is due earlier than the scheduler knows, perhaps. */
  wake(): void;
}

/** So long somebody may write a schedule again and again between our look and our write. */
const PATIENCE_MS = 5000;
const LONGEST_PAUSE_MS = 32;

/** What operators and code do with schedules. */
export class Schedules {
  readonly #to: SchedulesParts;

  constructor(to: SchedulesParts) {
    this.#to = to;
  }

  /** Makes a schedule, or edits the one of that name. @throws JobsError */
  async upsert(
    input: ScheduleInput,
    owner: ScheduleOwner,
  ): Promise<{ readonly stored: StoredSchedule; readonly isNew: boolean }> {
    const draft = await this.#draft(input, owner);
    const { before, after } = await this.#write(draft.tenantId, draft.name, (stored, nowMs, open) =>
      editing(draft, stored, nowMs, open),
    );
    if (after === undefined) {
      throw new Error('An edit of a schedule wrote nothing.');
    }
    return { stored: after, isNew: before === undefined };
  }

  /** @throws JobsError what an upsert of it would be refused with */
  async check(input: ScheduleInput): Promise<void> {
    await this.#draft(input, { tenantId: NIL_TENANT, userId: null });
  }

  /** What code declares: made where it is missing, and edited when the code says something else than before. */
  async declare(inputs: readonly ScheduleInput[], tenantId: string): Promise<void> {
    for (const input of inputs) {
      const draft = await this.#draft(input, { tenantId, userId: null, isDeclared: true });
      try {
        await this.#write(tenantId, draft.name, (stored, nowMs, open) =>
          stored?.definition.declared === draft.declared
            ? undefined
            : editing(draft, stored, nowMs, open),
        );
      } catch (error) {
        if (!isJobsError(error) || error.code !== 'invalid_request') {
          throw error;
        }
        // Its moment has passed, which is no reason not to boot.
        this.#to.parts.logger.warn(`The schedule "${draft.name}" was not stored: ${error.message}`);
      }
    }
  }

  /** @throws JobsError `not_found` */
  async find(tenantId: string, name: string): Promise<ClaimedSchedule> {
    const found = await this.#to.parts.store.schedules.find(tenantId, name);
    if (found === undefined) {
      throw notFound('schedule', name);
    }
    return found;
  }

  async setPaused(tenantId: string, name: string, isPaused: boolean): Promise<StoredSchedule> {
    return this.#edit(tenantId, name, ({ definition }, nowMs, open) => {
      const paused = isPaused ? 1 : 0;
      if (definition.paused === paused) {
        return undefined;
      }
      return {
        definition: { ...definition, paused, updatedAtMs: nowMs },
        nextRunAtMs: isPaused ? null : (firstSlot(timetableOf(definition), nowMs, open) ?? null),
      };
    });
  }

  /**
   * Deletes a schedule; what it made stays, unless what still waits is to be canceled. That is done first,
   * while the schedule is paused: if it is refused in between, the same call can be made again.
   */
  async remove(tenantId: string, name: string, cancelsWaiting: boolean): Promise<void> {
    const { schedules } = this.#to.parts.store;
    const removed = await this.#amidOthers(name, 'deleted', async () => {
      const stopped = cancelsWaiting ? await this.setPaused(tenantId, name, true) : undefined;
      if (stopped !== undefined) {
        await this.#cancelWaiting(stopped.definition);
      }
      // Somebody may have resumed it, or run it now.
      const result = await schedules.remove(tenantId, name, stopped?.times.revision);
      if (result === undefined) {
        throw notFound('schedule', name);
      }
      return result === 'changed' ? undefined : result;
    });
    try {
      while (await schedules.forgetJobs(removed.id)) {
        // One slice a transaction.
      }
    } catch (error) {
      if (!isJobsError(error) || error.code !== 'database_busy') {
        throw error;
      }
      // The schedule is gone all the same, and what somebody has locked here goes with its job.
    }
  }

  /** Nothing of a schedule that is paused waits any more. @throws JobsError `database_busy` */
  async #cancelWaiting({ id, name }: JobScheduleEntity): Promise<void> {
    const { operations, parts } = this.#to;
    const reason = `The schedule "${name}" was deleted.`;
    await cancelWaitingOf(operations, parts.store.schedules, id, reason).catch((error: unknown) => {
      if (!isJobsError(error) || error.code !== 'database_busy') {
        throw error;
      }
      throw new JobsError(
        'database_busy',
        `${error.message} The schedule "${name}" is there still, and paused: delete it again, or resume it.`,
        { cause: error, retryAfterSec: 1 },
      );
    });
  }

  /** When it is due next, as long as nobody edits it. */
  async preview(tenantId: string, name: string, count: number): Promise<readonly number[]> {
    const { definition, times, open } = await this.find(tenantId, name);
    const timetable = timetableOf(definition);
    const nowMs = this.#to.parts.store.estimateNowMs();
    const slots: number[] = [];
    let slot =
      definition.paused === 1
        ? firstSlot(timetable, nowMs, open.length)
        : (times.nextRunAtMs ?? undefined);
    while (slot !== undefined && slot <= (definition.endAtMs ?? Infinity) && slots.length < count) {
      slots.push(slot);
      slot = timetable.kind === 'after' ? undefined : nextSlot(timetable, slot);
    }
    return slots;
  }

  /**
   * Due at that time, if it is not due earlier anyhow; the timetable goes on as before.
   *
   * @throws JobsError `invalid_request` behind its end, `illegal_transition` while it is paused
   */
  async runAtLeastBy(tenantId: string, name: string, date: Date): Promise<StoredSchedule> {
    const wantedMs = checkedInstant(date, 'date');
    return this.#edit(tenantId, name, ({ definition, times }, nowMs) => {
      if (definition.paused === 1) {
        throw new JobsError(
          'illegal_transition',
          `The schedule "${name}" is paused, so it is not due at any time. Resume it first, or run it now.`,
        );
      }
      const dueMs = Math.max(wantedMs, nowMs);
      if (times.nextRunAtMs !== null && times.nextRunAtMs <= dueMs) {
        return undefined;
      }
      const { endAtMs } = definition;
      if (endAtMs !== null && dueMs > endAtMs) {
        throw badField(
          'date',
          `must not be later than the end of the schedule "${name}", ${new Date(endAtMs).toISOString()}: nothing is due after it. Give the schedule a later endAt, or run it now`,
        );
      }
      return { definition, nextRunAtMs: dueMs };
    });
  }

  /** Makes a job now, paused or not, as its policy of overlaps allows. */
  async runNow(tenantId: string, name: string): Promise<EnqueuedJob> {
    return this.#amidOthers(name, 'run', () => this.#runOnce(tenantId, name));
  }

  /** Does what others have undone by writing the schedule in between again, as long as a caller waits. */
  async #amidOthers<T>(
    name: string,
    done: string,
    attempt: () => Promise<T | undefined>,
  ): Promise<T> {
    const end = performance.now() + PATIENCE_MS;
    for (let tries = 1; ; tries += 1) {
      const result = await attempt();
      if (result !== undefined) {
        return result;
      }
      if (performance.now() > end) {
        throw new JobsError(
          'database_busy',
          `The schedule "${name}" was written by others all the time, so it was not ${done}. Try again.`,
          { retryAfterSec: 1 },
        );
      }
      const pauseMs = this.#to.parts.random() * Math.min(2 ** tries, LONGEST_PAUSE_MS);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #runOnce(tenantId: string, name: string): Promise<EnqueuedJob | undefined> {
    const { drafts, operations, parts } = this.#to;
    const schedule = await this.find(tenantId, name);
    const { overlap, type: typeId } = schedule.definition;
    const type = parts.handlers.get(typeId);
    if (type === undefined) {
      throw new JobsError(
        'type_not_here',
        `The schedule "${name}" makes jobs of type "${typeId}", which this process does not know. Ask one that does.`,
      );
    }
    const { open } = schedule;
    if (open.length >= (MOST_OPEN[overlap] ?? Infinity)) {
      throw new JobsError(
        'duplicate_job',
        `Job ${open[0] ?? ''} of the schedule "${name}" has not ended, and its overlap is "${overlap}". Wait until it has, cancel it, or edit the schedule.`,
        { members: { job_id: open[0] ?? '' } },
      );
    }
    if (overlap === 'cancel') {
      await cancelOlder(operations, parts.store.schedules, schedule);
    }
    const draft = await drafts.make(type, schedule, overlap === 'queue' ? open[0] : undefined);
    const [fired = 'lost'] = await parts.store.schedules.fire(
      [{ schedule, slots: [{ slotMs: null, draft }], next: 'keep' }],
      'caller',
    );
    return fired === 'lost' ? undefined : this.#answer(fired[0], draft);
  }

  #answer(
    result: Exclude<
      Awaited<ReturnType<EngineParts['store']['schedules']['fire']>>[number],
      'lost'
    >[number],
    draft: Prepared,
  ): EnqueuedJob | undefined {
    switch (result?.outcome) {
      case 'created':
        this.#to.enqueued(result, draft.type);
        return jobOfCreated(result, this.#to.isPaused(draft.terms.queue), draft.value);
      case 'existing':
      case 'replaced': {
        if (result.outcome === 'replaced') {
          this.#to.parts.stored(result.news);
        }
        const nowMs = this.#to.parts.store.estimateNowMs();
        const view = jobOf(result.job, { isPaused: this.#to.isPaused(result.job.queue), nowMs });
        return Object.assign(view, { outcome: result.outcome });
      }
      case 'duplicate':
        throw duplicateJob(result, 'the schedule made no job');
      default:
        return undefined;
    }
  }

  async #draft(input: ScheduleInput, owner: ScheduleOwner): Promise<ScheduleDraft> {
    const { drafts, parts } = this.#to;
    checkOptionKeys(input, SCHEDULE_KEYS, 'schedule');
    const type = parts.handlers.named(input.type);
    const params = drafts.paramsText(input.params);
    const draft = scheduleDraft(input, { typeId: type.typeId, params }, owner);
    await drafts.check(type, params, draft.options, draft.tenantId);
    return draft;
  }

  async #edit(
    tenantId: string,
    name: string,
    decide: (stored: StoredSchedule, nowMs: number, open: number) => ScheduleWrite | undefined,
  ): Promise<StoredSchedule> {
    const { after } = await this.#write(tenantId, name, (stored, nowMs, open) =>
      stored === undefined ? undefined : decide(stored, nowMs, open),
    );
    if (after === undefined) {
      throw notFound('schedule', name);
    }
    return after;
  }

  async #write(
    ...args: Parameters<EngineParts['store']['schedules']['change']>
  ): ReturnType<EngineParts['store']['schedules']['change']> {
    const result = await this.#to.parts.store.schedules.change(...args);
    this.#to.wake();
    return result;
  }
}

/** How many jobs that have not ended leave no room for another one. */
const MOST_OPEN: Readonly<Partial<Record<string, number>>> = { skip: 1, queue: 2 };

/** The schedule as it is from now on; where only other things change it is due as before. */
function editing(
  draft: ScheduleDraft,
  stored: StoredSchedule | undefined,
  nowMs: number,
  open: number,
): ScheduleWrite {
  const before = stored?.definition;
  const definition = definitionOf(draft, before?.id ?? newId(nowMs), before, nowMs);
  return { definition, nextRunAtMs: nextOf(definition, draft, stored, nowMs, open) };
}

/** When an edited schedule is due. What is due already stays so, unless the schedule has ended by then. */
function nextOf(
  definition: JobScheduleEntity,
  draft: ScheduleDraft,
  stored: StoredSchedule | undefined,
  nowMs: number,
  open: number,
): number | null {
  if (definition.paused === 1) {
    return null;
  }
  if (stored !== undefined && stored.definition.paused === 0) {
    const { nextRunAtMs } = stored.times;
    if (isSameTiming(draft, stored.definition)) {
      return nextRunAtMs;
    }
    if (nextRunAtMs !== null && isSameRhythm(draft, stored.definition, nowMs)) {
      return nextRunAtMs <= (definition.endAtMs ?? Infinity) ? nextRunAtMs : null;
    }
  }
  return firstSlot(timetableOf(definition), nowMs, open) ?? null;
}
