import type { JobExtrasEntity } from '../entities/job-extras.entity.js';
import type { JobEntity } from '../entities/job.entity.js';
import type { JobLogEntity } from '../entities/job-log.entity.js';
import type { JobRunEntity } from '../entities/run.entity.js';

/** A line to be stored; `fields` is JSON text. */
export type LogLine = readonly [
  atMs: number,
  level: number,
  message: string,
  fields: string | null,
];

/** Lines of one run, in order; stored only while it holds its job. */
export interface RunLines {
  /** The job's. */
  readonly seq: number;
  readonly runId: string;
  readonly lines: readonly LogLine[];
}

/** The runs that a worker holds. */
export interface HeldRuns {
  /** Of the jobs enqueued first, as many as were asked for. */
  readonly runs: readonly JobRunEntity[];
  /** How many there are. */
  readonly count: number;
}

/** Which of the runs that workers hold. */
export interface RunningQuery {
  readonly tenantId?: string | undefined;
  readonly workerId?: string | undefined;
  /** Only those whose worker was not heard for that long. */
  readonly silentForMs?: number | undefined;
  /** Behind which row. */
  readonly after?: number;
  readonly offset?: number;
  readonly limit: number;
}

/** Some of them, of the jobs enqueued first. */
export interface RunningRuns {
  readonly runs: readonly JobRunEntity[];
  /** How many there are, on whichever page. */
  readonly count: number;
  /** Behind which row there may be more. */
  readonly next: number | undefined;
}

/** Jobs that one has to do with. */
export interface RelatedJobs {
  /**
   * By id: all that it depends on, and of those that did not complete again those that they depend
   * on, the nearest first, until there are a thousand.
   */
  readonly ancestors: ReadonlyMap<string, JobEntity>;
  /** Those that depend on it, the first thousand. */
  readonly dependents: readonly JobEntity[];
}

/** Some of the jobs that wait for others. */
export interface WaitingPage {
  readonly waiting: readonly {
    readonly parent: number;
    readonly seq: number;
    readonly job: Pick<JobEntity, 'id' | 'type' | 'status'>;
  }[];
  /** Behind which pair there may be more. */
  readonly next: readonly [parent: number, child: number] | undefined;
}

/** The history of runs, and logs. */
export interface HistoryStore {
  /** Runs that ended and left their job not final, oldest first. */
  runs(jobId: string): Promise<readonly JobRunEntity[]>;
  /** What these workers hold, at most so many runs each; who holds nothing is left out. */
  heldRuns(workerIds: readonly string[], most: number): Promise<ReadonlyMap<string, HeldRuns>>;
  /** Runs that workers hold. */
  running(query: RunningQuery): Promise<RunningRuns>;
  /** What stands beside a job's row, and the jobs that it depends on, by id. */
  beside(job: JobEntity): Promise<{
    readonly beside: JobExtrasEntity | undefined;
    readonly parents: ReadonlyMap<string, JobEntity>;
  }>;
  related(job: JobEntity): Promise<RelatedJobs>;
  /** Jobs that have not ended and wait for these, by row, behind such a pair; some of them at a time. */
  waitingFor(parents: readonly number[], after: readonly [number, number]): Promise<WaitingPage>;
  /** Stores lines, before the ends of runs that share the transaction. */
  log(batch: readonly RunLines[]): Promise<void>;
  lines(
    jobId: string,
    query: {
      readonly after: number;
      readonly level: number;
      readonly limit: number;
      readonly tail: number | undefined;
    },
  ): Promise<readonly JobLogEntity[]>;
}
