import type { JobEntity } from '../entities/job.entity.js';
import type { Job } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { ChangeResult, JoinedTransaction } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';
import type { RegisteredType } from './handlers.js';

/** A run as those see it that serve its handler: the context, the progress recorder, a lock. */
export interface ServedRun {
  readonly parts: EngineParts;
  readonly job: JobEntity;
  readonly type: RegisteredType;
  readonly runId: string;
  /** Fires with a `JobAbortError`. */
  readonly signal: AbortSignal;
  /** Whether the run is over, so that nothing of it may be written. */
  readonly isSettled: boolean;
  /** The jobs that it depended on, by id, as they have ended; read before the handler is called. */
  parents: ReadonlyMap<string, JobEntity>;
  /** Milliseconds the handler has been at work; 0 before it is called. */
  readonly elapsedMs: number;
  /** Takes note of a status that was stored. */
  noted(status: JobStatus, sequence?: number): void;
  /** The run holds its job no more: the handler is told, and nothing of it is written. */
  loseLease(): void;
  releaseSlot(): void;
  retakeSlot(): Promise<void>;
}

/** A run as its handler's context sees it. */
export interface HandledRun extends ServedRun {
  readonly progress: {
    record(value: unknown, message?: string): void;
    /** Takes what the handler emits. @throws JobsError `invalid_progress` */
    emit(value: unknown): void;
    join(joined: JoinedTransaction): void;
    writeJoined(): Promise<void>;
    leave(): void;
    /** The run has got on, whatever it reports. */
    moved(): void;
  };
  /** The job as the handler sees it. */
  view(params: unknown): Job;
  lockOn(otherId: string): Promise<Job>;
  unlock(): boolean;
  timeoutChanged(timeoutSec: number): void;
  /** Fires when the run, not over when it is asked for, is: what its handler holds open ends with it. */
  readonly over: AbortSignal;
  /** The run was ended in a transaction of the handler. */
  settledElsewhere(result: ChangeResult): void;
  /** Ends the run as failed from outside its handler. */
  failLate(error: unknown): void;
  /** Text of something thrown, within the limit. */
  errorText(thrown: unknown): string;
}
