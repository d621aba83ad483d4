import type { JobEntity } from '../entities/job.entity.js';
import type { ChangeResult, Decide } from './changes.js';
import type { RunReport } from './claims.js';
import type { Failure, InsertResult, JobDraft, KeyHolder } from './drafts.js';
import type { RunLines } from './history.js';
import type { StepRecord } from './steps.js';

/** Whose transaction it is, and when it may last no longer. */
export interface TransactionRun {
  readonly jobId: string;
  readonly runId: string;
  readonly over: AbortSignal;
  /** Nobody else extends the lease meanwhile: it has half of this at the beginning, and all of it after long. */
  readonly leaseMs: number;
}

/** Writes that join a transaction of somebody else. */
export interface JoinedTransaction {
  insert(draft: JobDraft): Promise<InsertResult>;
  findByKey(tenantId: string, key: string): Promise<JobEntity | undefined>;
  insertAll(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
  ): Promise<readonly InsertResult[]>;
  report(report: RunReport): Promise<boolean>;
  log(batch: readonly RunLines[]): Promise<void>;
  /** Stores what a run has done; false when it holds its job no more. */
  remember(record: StepRecord): Promise<boolean>;
  change(id: string, decide: Decide): Promise<ChangeResult | undefined>;
  /** Called after the outermost commit; never after a roll-back. */
  onCommit(listener: () => void): void;
}
