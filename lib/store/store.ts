import type { JobEntity, JobField } from '../entities/job.entity.js';
import type { FinalStatus, JobStatus } from '../model/job-status.js';
import type { JobQuery } from '../model/query.js';
import type { CatalogStore } from './catalog.js';
import type { ChangeResult, Decide } from './changes.js';
import type {
  ClaimRequest,
  Completion,
  Limited,
  LimitedClaim,
  LimitedRequest,
  RelatedCompletion,
  RunReport,
} from './claims.js';
import type { Failure, InsertResult, JobDraft, KeyHolder } from './drafts.js';
import type { HistoryStore } from './history.js';
import type { StepStore } from './steps.js';
import type { ScheduleStore } from './schedules.js';
import type { WebhookStore } from './webhooks.js';
import type { JoinedTransaction, TransactionRun } from './transaction.js';

export type { CatalogStore, WorkerQuery } from './catalog.js';
export type { ArchivedRun, ChangeNote, ChangeResult, Decide, Freed, JobChange } from './changes.js';
export type {
  ClaimRequest,
  Completion,
  LimitedClaim,
  LimitedRequest,
  LimitedType,
  RelatedCompletion,
  RunReport,
  SearchPoint,
} from './claims.js';
export type {
  Created,
  DraftDependency,
  DraftExtras,
  Failure,
  InsertResult,
  JobDraft,
  JobTerms,
  KeyHolder,
  Refusal,
} from './drafts.js';
export type {
  HeldRuns,
  HistoryStore,
  LogLine,
  RelatedJobs,
  RunLines,
  RunningQuery,
  RunningRuns,
  WaitingPage,
} from './history.js';
export type {
  SentSignal,
  StepKey,
  StepKind,
  StepMemory,
  StepRecord,
  StepRun,
  StepStore,
  StepWait,
  Waited,
} from './steps.js';
export type {
  ClaimedSchedule,
  DecideSchedule,
  Fired,
  FiredSlot,
  Firing,
  OpenJobs,
  ScheduleStore,
  ScheduleTimes,
  ScheduleWrite,
  StoredSchedule,
  TypeStanding,
} from './schedules.js';
export type { JoinedTransaction, TransactionRun } from './transaction.js';

/** A run that this worker holds, as the database sees it. */
export interface HeldRun {
  readonly id: string;
  readonly runId: string;
  readonly status: JobStatus;
  readonly lockedBy: string | null;
  readonly timeoutSec: number;
}

/** One whose lease could not be extended. */
export interface MissedRun extends HeldRun {
  /** When its lease ends, by the database's time. */
  readonly leaseUntilMs: number;
}

/** What a renewal of leases has come to. */
export interface Renewal {
  readonly held: readonly HeldRun[];
  /** Those of them that it passed over, since others had their rows: their leases are as old as before. */
  readonly missed: readonly MissedRun[];
}

/** Why a lock was refused. */
export type LockRefusal = 'unknown' | 'circle' | 'lost';

/** A page of the list. */
export interface JobList {
  readonly jobs: readonly ListedJob[];
  /** The true count, or some number above 10,000. */
  readonly count: number;
  /** Where a full page ends: values of the order's columns; undefined for the last page. */
  readonly next: readonly (string | number)[] | undefined;
}

/** Some of the jobs that wait. */
export interface WaitingJobs {
  readonly ids: readonly string[];
  /** Behind which row there may be more. */
  readonly next: number | undefined;
}

/** A job, and whether its queue is paused. */
export interface ListedJob {
  readonly job: JobEntity;
  readonly isPaused: boolean;
}

/** Counts of jobs, each up to 10,000. */
export interface JobCounts {
  readonly byStatus: Readonly<Partial<Record<JobStatus, number>>>;
  readonly byType: Readonly<Record<string, number>>;
  readonly byQueue: Readonly<Record<string, number>>;
}

/** How a job stands, for those who watch it. */
export interface Standing {
  readonly status: JobStatus;
  readonly sequence: number;
  readonly progress: number;
}

/** The jobs. Every write is one transaction; it resolves after the commit. */
export interface JobStore {
  /** Stores one job, or finds the one that holds its idempotency key. Calls share transactions. */
  insert(draft: JobDraft): Promise<InsertResult>;
  /** Stores all, or none when the holder of a key `refuses` or a given id is taken. */
  insertAll(
    drafts: readonly JobDraft[],
    refuses: (by: KeyHolder | Failure, index: number) => boolean,
  ): Promise<readonly InsertResult[]>;
  find(id: string, tenantId?: string): Promise<ListedJob | undefined>;
  findByKey(tenantId: string, key: string): Promise<ListedJob | undefined>;
  list(query: ResolvedJobQuery): Promise<JobList>;
  /**
   * Takes ready jobs, best first: higher priority, earlier `run_at`, older. No job is given twice;
   * paused queues give none.
   */
  claim(request: ClaimRequest): Promise<readonly JobEntity[]>;
  /**
   * The same within limits, which hold over all processes: keys take turns, and of each the best come
   * first. What is at work is counted by the jobs' rows, what was taken within a period by what is
   * stored beside; one process at a time does so for a queue.
   */
  claimWithin(request: LimitedRequest): Promise<LimitedClaim>;
  /** Which of those types have jobs in line that limits are or were counted by: only `claimWithin` sees them. */
  keyedTypes(types: readonly string[]): Promise<readonly string[]>;
  /** `locked` → `running` if limits leave room; `full` if not: then the next place is this job's. */
  comeBack(id: string, runId: string, limits: Limited): Promise<ChangeResult | 'full' | undefined>;
  /** Ends runs as completed; false for those that are not running under that run any more. */
  complete(completion: Completion): Promise<boolean>;
  /** The same for runs of jobs that others wait for, who are told. */
  completeRelated(completion: Completion): Promise<RelatedCompletion>;
  /**
   * The same for runs of jobs that somebody hears of: with it is written what they are told. Undefined where
   * it is to be settled by itself, because of what is stored by now or of the schedule that made the job.
   */
  completeHeard(completion: Completion): Promise<ChangeResult | undefined>;
  /** Writes what a handler reports; false when the run holds its job no more. */
  report(report: RunReport): Promise<boolean>;
  /** Reads, decides and writes as one compare-and-set; undefined when there is no such job. */
  change(id: string, decide: Decide, tenantId?: string): Promise<ChangeResult | undefined>;
  /** The same for the engine's own duties: it waits for the lock as long as it takes. */
  settle(id: string, decide: Decide): Promise<ChangeResult | undefined>;
  /** `running` → `locked` by another job, unless that closes a circle. */
  lock(id: string, runId: string, otherId: string): Promise<LockRefusal | ChangeResult>;
  /**
   * Extends the leases of all runs of a worker and tells how they stand. It waits for no row that
   * somebody else has, or all others would wait with it.
   */
  renew(workerId: string, leaseMs: number): Promise<Renewal>;
  /**
   * Tries again what renewals have missed: all of it without waiting, then the first by waiting so long
   * for its row. Gives the runs that it has reached, and what is still missed, with that one at its end;
   * what has lost its lease is in neither.
   */
  renewMissed(
    missed: readonly HeldRun[],
    leaseMs: number,
    waitMs: number,
  ): Promise<{ readonly renewed: readonly string[]; readonly missed: readonly HeldRun[] }>;
  /**
   * The runs of a worker that somebody wants to stop or unlock, and those with a timeout whose jobs
   * were written within that time: it may be another timeout. Perhaps only those of the given rows.
   */
  disturbed(
    workerId: string,
    withinMs: number,
    held: readonly number[],
  ): Promise<readonly HeldRun[]>;
  /** Ids of at most so many jobs whose lease is over. */
  expiredLeases(limit: number): Promise<readonly string[]>;
  /**
   * The same as `settle`, for a job whose worker is not heard. It waits for its row so long, and then
   * says that it is `locked`: perhaps by that worker.
   */
  takeBack(
    id: string,
    decide: Decide,
    waitMs: number,
  ): Promise<ChangeResult | 'locked' | undefined>;
  /** Skips at most so many jobs that have not started by their `expires_at`. */
  expire(limit: number): Promise<{
    readonly jobs: readonly JobEntity[];
    /** Of jobs whose end concerns others. */
    readonly results: readonly ChangeResult[];
  }>;
  /** Jobs that waited for others have come to stand in line, where they were enqueued. */
  readied(): void;
  /** Tells jobs that others have ended, where one transaction had too many to tell. */
  tellDependents(): Promise<Pick<ChangeResult, 'others' | 'freed' | 'isMore'>>;
  /** Makes due jobs ready; says how many, and how long until the next one is due. */
  promote(
    limit: number,
  ): Promise<{ readonly promoted: number; readonly nextInMs: number | undefined }>;
  /**
   * Deletes jobs that ended with that status before the age, oldest first, for some milliseconds;
   * whether there are more.
   */
  purge(status: FinalStatus, olderThanMs: number): Promise<boolean>;
  /** Deletes what is left of the history of deleted jobs, likewise; whether there is more. */
  sweep(): Promise<boolean>;
  /** Waiting jobs of a queue behind a row, oldest first. */
  waitingIn(
    queue: string,
    limit: number,
    after: number,
    tenantId: string | undefined,
  ): Promise<WaitingJobs>;
  /** How jobs stand, by id; an id that is missing has been deleted. */
  standings(ids: readonly string[]): Promise<ReadonlyMap<string, Standing>>;
  /** Counts for an overview; types and queues over the newest jobs only. */
  counts(tenantId?: string): Promise<JobCounts>;
  /** How many jobs of a queue, which has these types, wait and are held by a worker. */
  queueCounts(
    queue: string,
    types: readonly string[],
    tenantId?: string,
  ): Promise<{ readonly waiting: number; readonly running: number }>;
  /** When the oldest of the jobs that could run now was enqueued. */
  oldestWaitingAtMs(types: readonly string[], tenantId?: string): Promise<number | undefined>;
  completedSince(ageMs: number, tenantId?: string): Promise<number>;
}

/** A list query, checked, with every default present. */
export interface ResolvedJobQuery extends Omit<JobQuery, 'order' | 'cursor' | 'status' | 'type'> {
  readonly page: number;
  readonly limit: number;
  readonly order: readonly { readonly column: JobField; readonly descending: boolean }[];
  /** Values of the order's columns in the last row of the page before. */
  readonly after: readonly (string | number | null)[] | undefined;
  readonly status: readonly JobStatus[] | undefined;
  readonly type: readonly string[] | undefined;
}

/** Everything a database must do for the engine. */
export interface Store {
  readonly jobs: JobStore;
  readonly history: HistoryStore;
  readonly catalog: CatalogStore;
  readonly steps: StepStore;
  readonly schedules: ScheduleStore;
  readonly webhooks: WebhookStore;
  /**
   * Connects and brings the schema up to date. `looking` is given the look at its version when a server has
   * answered and is asked for it.
   * @throws JobsError `schema_mismatch` for a newer (or, when only checking, older) schema,
   *   `database_unavailable` when it cannot be reached
   */
  open(looking?: (look: Promise<unknown>) => void): Promise<void>;
  close(): Promise<void>;
  /** The database's time in Unix milliseconds. */
  ping(): Promise<number>;
  /** The database's time as last seen, carried on by this process's clock; for display only. */
  estimateNowMs(): number;
  /** Resolves when every write so far is done. */
  settled(): Promise<void>;
  /** For how many milliseconds writes have waited without one being done; 0 when none waits. */
  stuckMs(): number;
  /** What whoever runs this should know about the database, as it is now; undefined when all is well. */
  readonly caveat?: string | undefined;
  /** How often the engine looks for itself what hints may not have told it. */
  readonly floorMs: number;
  /** Tells when another connection may have written; may tell too often, and is only a hint. */
  onRemoteChange(listener: () => void): () => void;
  /**
   * Until the given function is called, changes of others are told within milliseconds instead of
   * half a second, at a small cost for each write of this process.
   */
  listenClosely(): () => void;
  /** Writes through the caller's `EntityManager`. */
  join(manager: unknown): JoinedTransaction;
  /**
   * One transaction with the host's entities; the run must hold its job when it begins. When
   * `over` fires it is rolled back, whatever the work is doing.
   * @throws JobsError `lease_lost`
   */
  transaction<T>(
    run: TransactionRun,
    work: (manager: unknown, joined: JoinedTransaction) => Promise<T>,
  ): Promise<T>;
}
