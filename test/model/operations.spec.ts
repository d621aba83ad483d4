import { describe, expect, it } from 'vitest';
import {
  canTransition,
  isFinal,
  JOB_STATUSES,
  RETRYABLE_STATUSES,
} from '../../lib/model/job-status.js';
import { effectOf, OPERATIONS, type JobOperation } from '../../lib/model/operations.js';

const OPERATION_NAMES = Object.keys(OPERATIONS) as JobOperation[];
const STORED = JOB_STATUSES.filter((status) => status !== 'initializing');
const CELLS = OPERATION_NAMES.flatMap((operation) =>
  STORED.map((status) => [operation, status] as const),
);

describe('the matrix of operations', () => {
  it('has a cell for every operation and every stored status', () => {
    expect(OPERATION_NAMES.sort()).toEqual([
      'cancel',
      'delete',
      'fail',
      'resume',
      'retry',
      'skip',
      'suspend',
    ]);
    for (const operation of OPERATION_NAMES) {
      expect(Object.keys(OPERATIONS[operation]).sort()).toEqual([...STORED].sort());
    }
  });

  it.each(CELLS)('%s of a %s job goes only where the transitions allow', (operation, status) => {
    const effect = effectOf(operation, status);
    const words: readonly string[] = ['same', 'gone', 'refused', 'later'];
    if (words.includes(effect)) {
      return;
    }
    const target = JOB_STATUSES.find((each) => each === effect);
    const isRetry =
      operation === 'retry' && (RETRYABLE_STATUSES as readonly string[]).includes(status);
    expect(target).toBeDefined();
    expect(isRetry || (target !== undefined && canTransition(status, target))).toBe(true);
  });

  it('leaves every final status alone but for retry and delete', () => {
    for (const [operation, status] of CELLS.filter(([, each]) => isFinal(each))) {
      if (operation !== 'retry' && operation !== 'delete') {
        expect(['same', 'refused']).toContain(effectOf(operation, status));
      }
    }
  });

  it('never touches a job that is not stored yet', () => {
    for (const operation of OPERATION_NAMES) {
      expect(effectOf(operation, 'initializing')).toBe('later');
    }
  });
});
