import type { JobScheduleEntity } from '../entities/job-schedule.entity.js';
import type { InsertResult, JobDraft } from './drafts.js';

/** Where a schedule stands. */
export interface ScheduleTimes {
  /** Grows with each write. */
  readonly revision: number;
  readonly nextRunAtMs: number | null;
  readonly lastRunAtMs: number | null;
  readonly lastJobId: string | null;
}

/** A schedule: what somebody wrote, and where it stands. */
export interface StoredSchedule {
  readonly definition: JobScheduleEntity;
  readonly times: ScheduleTimes;
}

/** One that is due, claimed by this process for a moment. */
export interface ClaimedSchedule extends StoredSchedule {
  /** Of its jobs that have not ended the oldest few (`MOST_OPEN_READ`); of one that lets them overlap perhaps none. */
  readonly open: readonly string[];
}

/** Some of the jobs of a schedule that have not ended. */
export interface OpenJobs {
  readonly ids: readonly string[];
  /** Behind which row there may be more. */
  readonly next: number | undefined;
}

/** Where all schedules of a type stand together. */
export interface TypeStanding {
  readonly type: string;
  /** The earliest slot that is to come or overdue; null when there is none. */
  readonly nextRunAtMs: number | null;
  /** All their revisions: another number when any of them was written meanwhile. */
  readonly revisions: number;
}

/** What a schedule is to be from now on. */
export interface ScheduleWrite {
  readonly definition: JobScheduleEntity;
  readonly nextRunAtMs: number | null;
}

/** Decides from what is stored, if anything, and some of the jobs that have not ended; undefined = nothing. */
export type DecideSchedule = (
  stored: StoredSchedule | undefined,
  nowMs: number,
  open: number,
) => ScheduleWrite | undefined;

/** One slot of a schedule; without a draft it makes no job. */
export interface FiredSlot {
  /** Null: somebody wants it now, and the timetable knows nothing of it. */
  readonly slotMs: number | null;
  readonly draft: JobDraft | undefined;
}

/** What a schedule is to do. */
export interface Firing {
  readonly schedule: ClaimedSchedule;
  readonly slots: readonly FiredSlot[];
  /** `keep`: it stays due as it is; null: not due any more by itself. */
  readonly next: number | null | 'keep';
}

/** What it did. `lost`: it was written since it was read, so nothing was done. */
export type Fired = 'lost' | readonly (InsertResult | undefined)[];

/** The schedules. Every write is one transaction; it resolves after the commit. */
export interface ScheduleStore {
  /** Reads, decides and writes in one transaction. */
  change(
    tenantId: string,
    name: string,
    decide: DecideSchedule,
  ): Promise<{
    readonly before: StoredSchedule | undefined;
    readonly after: StoredSchedule | undefined;
  }>;
  find(tenantId: string, name: string): Promise<ClaimedSchedule | undefined>;
  /** By name; those of all tenants when none is named. */
  list(tenantId: string | undefined): Promise<readonly StoredSchedule[]>;
  /** Deletes it, except for its jobs, unless it was written since that revision; its id. */
  remove(
    tenantId: string,
    name: string,
    revision?: number,
  ): Promise<{ readonly id: string } | 'changed' | undefined>;
  /** Jobs of a schedule behind a row that have not ended, oldest first, also when it is deleted. */
  openJobs(id: string, after: number): Promise<OpenJobs>;
  /**
   * Forgets some of the jobs that a deleted schedule has made; whether there are more. Each that is left
   * is forgotten when it ends.
   */
  forgetJobs(id: string): Promise<boolean>;
  /** Where the schedules of these types stand, by a look at all of them. */
  standing(types: readonly string[]): Promise<readonly TypeStanding[]>;
  /**
   * Takes at most so many schedules of these types that are due, for so long: nobody else gets them
   * meanwhile. Also when the next one is due.
   */
  claim(
    types: readonly string[],
    limit: number,
    forMs: number,
  ): Promise<{
    readonly due: readonly ClaimedSchedule[];
    readonly nowMs: number;
    readonly nextInMs: number | undefined;
  }>;
  /**
   * Stores the jobs of slots together with the slots and where the schedules stand then. A slot that
   * has been makes no job again. Where an answer was lost it is looked whether the jobs are there.
   *
   * @param patience whether a caller waits, who is refused when the database stays busy or away
   */
  fire(firings: readonly Firing[], patience: 'caller' | 'engine'): Promise<readonly Fired[]>;
}
