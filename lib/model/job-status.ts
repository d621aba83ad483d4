/** The thirteen statuses, in the order of a job's life. Stored, shown and filtered by these words. */
export const JOB_STATUSES = [
  'initializing',
  'waiting',
  'resuming',
  'running',
  'canceling',
  'suspending',
  'locked',
  'suspended',
  'skipped',
  'canceled',
  'failed',
  'timeout',
  'completed',
] as const;

/** One of the thirteen words in {@link JOB_STATUSES}. */
export type JobStatus = (typeof JOB_STATUSES)[number];

/** The statuses that end a job. */
export const FINAL_STATUSES = ['skipped', 'canceled', 'failed', 'timeout', 'completed'] as const;

/** One of {@link FINAL_STATUSES}. */
export type FinalStatus = (typeof FINAL_STATUSES)[number];

/** The statuses in which a worker holds a run of the job. */
export const ACTIVE_STATUSES = ['running', 'canceling', 'suspending', 'locked'] as const;

/** One of {@link ACTIVE_STATUSES}. */
export type ActiveStatus = (typeof ACTIVE_STATUSES)[number];

/**
 * Who may go where: the only copy of the matrix (docs/lifecycle.md is tested against it).
 * A final status is left only by an explicit retry, which {@link RETRYABLE_STATUSES} names.
 */
export const TRANSITIONS: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  initializing: ['waiting'],
  waiting: ['running', 'suspended', 'canceled', 'skipped', 'failed'],
  resuming: ['waiting', 'canceled', 'failed', 'suspended'],
  running: [
    'completed',
    'failed',
    'timeout',
    'skipped',
    'locked',
    'canceling',
    'suspending',
    'waiting',
  ],
  locked: ['running', 'canceling', 'suspending', 'timeout', 'failed', 'waiting'],
  canceling: ['canceled'],
  suspending: ['suspended', 'completed', 'skipped', 'timeout', 'canceling'],
  suspended: ['resuming', 'canceled'],
  skipped: [],
  canceled: [],
  failed: [],
  timeout: [],
  completed: [],
};

/** The final statuses that an explicit retry may leave. */
export const RETRYABLE_STATUSES = ['failed', 'timeout', 'canceled'] as const;

/** Whether a job in `from` may become `to`; a status may always stay what it is. */
export function canTransition(from: JobStatus, to: JobStatus): boolean {
  return from === to || TRANSITIONS[from].includes(to);
}

/** Whether the status ends the job. */
export function isFinal(status: JobStatus): status is FinalStatus {
  return (FINAL_STATUSES as readonly string[]).includes(status);
}

/** Whether a worker holds a run of a job in this status. */
export function isActive(status: JobStatus): status is ActiveStatus {
  return (ACTIVE_STATUSES as readonly string[]).includes(status);
}

/** Whether the word is one of the thirteen. */
export function isJobStatus(word: unknown): word is JobStatus {
  return typeof word === 'string' && (JOB_STATUSES as readonly string[]).includes(word);
}
