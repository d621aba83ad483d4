import { describe, expect, it } from 'vitest';
import {
  ACTIVE_STATUSES,
  canTransition,
  FINAL_STATUSES,
  isActive,
  isFinal,
  isJobStatus,
  JOB_STATUSES,
  RETRYABLE_STATUSES,
  type JobStatus,
} from '../../lib/model/job-status.js';

// Written from the contract's table, not from the source: a change of one must be a change of both.
const ALLOWED: Readonly<Record<JobStatus, string>> = {
  initializing: 'waiting',
  waiting: 'running suspended canceled skipped failed',
  resuming: 'waiting canceled failed suspended',
  running: 'completed failed timeout skipped locked canceling suspending waiting',
  locked: 'running canceling suspending timeout failed waiting',
  canceling: 'canceled',
  suspending: 'suspended completed skipped timeout canceling',
  suspended: 'resuming canceled',
  skipped: '',
  canceled: '',
  failed: '',
  timeout: '',
  completed: '',
};

const PAIRS = JOB_STATUSES.flatMap((from) => JOB_STATUSES.map((to) => [from, to] as const));

describe('statuses', () => {
  it('are exactly thirteen words', () => {
    expect([...JOB_STATUSES].sort()).toEqual(Object.keys(ALLOWED).sort());
    expect(new Set(JOB_STATUSES).size).toBe(13);
  });

  it.each(PAIRS)('%s → %s is legal only if the table says so', (from, to) => {
    expect(canTransition(from, to)).toBe(from === to || ALLOWED[from].split(' ').includes(to));
  });

  it('that are final have no way out', () => {
    expect([...FINAL_STATUSES].sort()).toEqual([
      'canceled',
      'completed',
      'failed',
      'skipped',
      'timeout',
    ]);
    for (const status of JOB_STATUSES) {
      expect(isFinal(status)).toBe(ALLOWED[status] === '');
    }
  });

  it('that a worker holds are the running ones', () => {
    expect([...ACTIVE_STATUSES].sort()).toEqual(['canceling', 'locked', 'running', 'suspending']);
    expect(JOB_STATUSES.filter(isActive).sort()).toEqual([...ACTIVE_STATUSES].sort());
  });

  it('that a retry may leave are failed, timeout and canceled', () => {
    expect([...RETRYABLE_STATUSES].sort()).toEqual(['canceled', 'failed', 'timeout']);
  });

  it.each(['Waiting', 'done', '', 'constructor', '__proto__', undefined, null, 1, {}])(
    'do not include %j',
    (word) => {
      expect(isJobStatus(word)).toBe(false);
    },
  );
});
