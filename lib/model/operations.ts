import type { JobStatus } from './job-status.js';

/** The operations of operators and applications on a job that exists. */
export type JobOperation = 'cancel' | 'suspend' | 'resume' | 'skip' | 'fail' | 'retry' | 'delete';

/**
 * What an operation does to a job in a status: the status it becomes, `same` (success, nothing
 * changes), `gone` (the row is deleted), `refused` (409) or `later` (423).
 */
export type OperationEffect = JobStatus | 'same' | 'gone' | 'refused' | 'later';

type Row = Readonly<Record<Exclude<JobStatus, 'initializing'>, OperationEffect>>;

function row(
  waiting: OperationEffect,
  resuming: OperationEffect,
  running: OperationEffect,
  canceling: OperationEffect,
  suspending: OperationEffect,
  suspended: OperationEffect,
  final: OperationEffect,
): Row {
  return {
    waiting,
    resuming,
    running,
    locked: running,
    canceling,
    suspending,
    suspended,
    skipped: final,
    canceled: final,
    failed: final,
    timeout: final,
    completed: final,
  };
}

/** The matrix of operations over statuses; the columns are those of docs/lifecycle.md. */
export const OPERATIONS: Readonly<Record<JobOperation, Row>> = {
  //            waiting      resuming    running       canceling  suspending   suspended   final
  cancel: row('canceled', 'canceled', 'canceling', 'same', 'canceling', 'canceled', 'same'),
  suspend: row('suspended', 'later', 'suspending', 'refused', 'same', 'same', 'refused'),
  resume: row('same', 'same', 'same', 'refused', 'later', 'resuming', 'refused'),
  skip: row('skipped', 'refused', 'refused', 'refused', 'refused', 'refused', 'refused'),
  fail: row('failed', 'refused', 'refused', 'refused', 'refused', 'refused', 'refused'),
  retry: {
    ...row('refused', 'refused', 'refused', 'refused', 'refused', 'refused', 'refused'),
    failed: 'waiting',
    timeout: 'waiting',
    canceled: 'waiting',
  },
  delete: row('gone', 'later', 'later', 'later', 'later', 'gone', 'gone'),
};

/** The effect of an operation on a job in a status; a job is never stored as `initializing`. */
export function effectOf(operation: JobOperation, status: JobStatus): OperationEffect {
  return status === 'initializing' ? 'later' : OPERATIONS[operation][status];
}
