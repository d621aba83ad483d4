/**
 * What there is to judge a cluster by, after the faults: the rows of its database, read by plain SQL,
 * what the database wrote down of each change while it was made, and what the processes wrote to a file
 * of their own while they lived. Nothing here or in the checker uses the library.
 */
export interface History {
  readonly jobs: readonly JobRow[];
  /** Runs that went on into another one; the last run of a job is in its own row. */
  readonly runs: readonly RunRow[];
  /** Oldest first. */
  readonly changes: readonly Change[];
  /** When each job was stored, by id: also by the server's time of that moment. */
  readonly births: ReadonlyMap<string, number>;
  readonly notes: readonly Note[];
}

/** A change of a job's status or run, as a trigger wrote it down: at the server's time of that moment. */
export interface Change {
  readonly at: number;
  readonly job: string;
  readonly before: {
    readonly status: string;
    readonly runId: string | null;
    readonly leaseUntil: number | null;
  };
  readonly status: string;
  readonly runId: string | null;
  readonly leaseUntil: number | null;
  readonly revision: number;
}

/** A row of `jobs`, by its columns. */
export interface JobRow {
  readonly job_id: string;
  readonly type: string;
  readonly queue: string;
  readonly tenant_id: string;
  readonly idempotency_key: string | null;
  readonly status: string;
  readonly revision: number;
  readonly retries: number;
  readonly lost: number;
  readonly max_retries: number;
  readonly run_id: string | null;
  readonly run_outcome: string | null;
  readonly worker_id: string | null;
  readonly scheduled_at_ms: number;
  readonly started_at_ms: number | null;
  readonly finished_at_ms: number | null;
  readonly lease_until_ms: number | null;
  readonly result: string | null;
  readonly params: string;
}

/** A row of `job_runs`, by its columns. */
export interface RunRow {
  readonly run_id: string;
  readonly job_id: string;
  readonly revision: number;
  readonly worker_id: string | null;
  readonly started_at_ms: number | null;
  readonly ended_at_ms: number | null;
  readonly outcome: string;
}

/** One line that a process appended, at a time of the machine's real clock. */
export type Note = { readonly at: number; readonly pid: number } & (
  | { readonly what: 'asked'; readonly token: string; readonly keyed: boolean }
  | { readonly what: 'acked'; readonly token: string; readonly keyed: boolean; readonly id: string }
  | { readonly what: 'refused'; readonly token: string; readonly code: string }
  | { readonly what: 'start'; readonly job: string; readonly attempt: number }
  | { readonly what: 'end'; readonly job: string; readonly attempt: number }
  /** What this process was told it had stored. */
  | {
      readonly what: 'stored';
      readonly job: string;
      readonly status: string;
      readonly attempt: number;
    }
  | { readonly what: 'canceled'; readonly job: string; readonly status: string }
  /** It is at work from here on. */
  | { readonly what: 'booted' }
  /** Written by the test when it has ended a process. */
  | { readonly what: 'died' }
);

/**
 * A limit that holds over the whole cluster, for all jobs of one key: so many runs at once, or, with a
 * period, so many that begin within it.
 */
export interface Limit {
  readonly name: string;
  readonly most: number;
  readonly perMs?: number;
  /** What the job counts for; undefined for one that the limit does not mean. */
  readonly keyOf: (job: JobRow) => string | undefined;
}

/** What the checker has to know about a scenario. */
export interface Expectations {
  /** When the scenario ran, by the machine's clock, which is the database's. */
  readonly fromMs: number;
  readonly toMs: number;
  /** What a claim gives. */
  readonly leaseMs: number;
  /** A job that is lost more often has failed. */
  readonly maxLost: number;
  readonly limits?: readonly Limit[];
  /** Whether a process that lives hears what became of each claim: then it lets go of none before its lease ends. */
  readonly hearsAnswers?: boolean;
  /** Whether no caller may be told that something could not be done. */
  readonly refusesNothing?: boolean;
}

/** Something that must not be. */
export interface Violation {
  readonly rule: Rule;
  readonly text: string;
}

export const RULES = [
  'acknowledged jobs are there and ended',
  'nobody is refused',
  'nothing is stored twice',
  'a key names one job',
  'runs are counted without gaps',
  'runs do not overlap',
  'statuses change as they may',
  'a lease is kept',
  'a handler runs while its run holds the job',
  'handlers overlap only after a lost lease',
  'one outcome a run',
  'an outcome is the run’s own',
  'a job ends as its handler does',
  'a cancel that was granted holds',
  'times are the database’s',
  'limits hold',
  'a unique key has one job at a time',
  'a job waits for those it depends on',
] as const;

export type Rule = (typeof RULES)[number];
