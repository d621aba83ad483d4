import type { JobEntity } from '../entities/job.entity.js';
import type { RunOutcome } from '../model/job.js';
import type { SentSignal } from './steps.js';

/** How a run goes into the history. */
export interface ArchivedRun {
  readonly outcome: RunOutcome;
  readonly error: string | null;
  /** When its handler was called, where the row does not say yet. */
  readonly startedAtMs?: number;
}

/** What somebody did to a job or said about it: it becomes an event with the change. */
export interface ChangeNote {
  readonly message?: string;
  readonly actor?: string;
  /** Whether the handler has said it, as a milestone. */
  readonly isCheckIn?: boolean;
}

/** A change of one job: the columns that get new values, and what becomes of its run. */
export interface JobChange {
  readonly set: Partial<JobEntity>;
  /** The run that holds the job ends with this outcome and moves to the history. */
  readonly archiveRun?: ArchivedRun;
  readonly remove?: boolean;
  /** Is kept for the job, or wakes it. */
  readonly signal?: SentSignal;
  /** The jobs that wait for one that is removed are removed with it. */
  readonly cascade?: boolean;
  /** It goes back in line after its end, where its unique key may be another one's by now. */
  readonly isRetry?: boolean;
  readonly note?: ChangeNote | undefined;
}

/** Decides, from the stored job and the database's time, what to change; undefined = nothing. */
export type Decide = (job: JobEntity, nowMs: number) => JobChange | undefined;

/** Jobs of a type may be claimed now, or at their time, because another one has changed. */
export interface Freed {
  readonly type: string;
  readonly queue: string;
  readonly isDue: boolean;
}

/** What a change did. */
export interface ChangeResult {
  readonly before: JobEntity;
  /** As stored now; the row as it was when it was removed. */
  readonly after: JobEntity;
  readonly changed: boolean;
  /** What was said with it. */
  readonly note?: ChangeNote | undefined;
  /** What changed in other jobs because of it, in its order. */
  readonly others?: readonly ChangeResult[];
  readonly freed?: readonly Freed[];
  /** There are more jobs to be told than one transaction takes. */
  readonly isMore?: boolean;
}
