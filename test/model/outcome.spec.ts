import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canTransition, isFinal, type JobStatus } from '../../lib/model/job-status.js';
import { decideOutcome, type Ending, type RunState } from '../../lib/model/outcome.js';
import { resolveBackoff } from '../../lib/model/retry-policy.js';

const NOW = 1_800_000_000_000;
const rules = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };
const retrying = { ...rules, retryOnTimeout: true };

function job(changes: Partial<RunState> = {}): RunState {
  return {
    status: 'running',
    retries: 0,
    maxRetries: 2,
    retryDelaySec: 10,
    timeoutSec: 60,
    lost: 0,
    revision: 1,
    ...changes,
  };
}

const decide = (state: RunState, ending: Ending, given = rules) =>
  decideOutcome(state, ending, given, NOW, () => 0);

const completed: Ending = { kind: 'completed', result: '{"a":1}' };
const failed: Ending = { kind: 'failed', error: 'Error: broke', isRetryable: true };
const hopeless: Ending = { ...failed, isRetryable: false };
const skipped: Ending = { kind: 'skipped', reason: 'nothing to do' };
const timeout: Ending = { kind: 'timeout' };
const stopped: Ending = { kind: 'stopped' };
const later: Ending = { kind: 'later', delayMs: 5000 };
const rescheduled: Ending = {
  kind: 'rescheduled',
  runAtMs: undefined,
  delayMs: 7000,
  state: '1',
  params: '{}',
};
const unstarted: Ending = { kind: 'unstarted' };
const lost: Ending = { kind: 'lost', maxLost: 3 };

const ENDINGS = [
  completed,
  failed,
  hopeless,
  skipped,
  timeout,
  stopped,
  later,
  rescheduled,
  unstarted,
  lost,
];
const HELD: readonly JobStatus[] = ['running', 'locked', 'canceling', 'suspending'];

describe('what the end of a run makes of its job', () => {
  it.each<[string, RunState, Ending, JobStatus, string | undefined]>([
    ['a return', job(), completed, 'completed', 'completed'],
    ['a skip', job(), skipped, 'skipped', 'skipped'],
    ['a failure within the budget', job(), failed, 'waiting', 'failed'],
    ['the last failure of the budget', job({ retries: 1 }), failed, 'waiting', 'failed'],
    ['a failure beyond it', job({ retries: 2 }), failed, 'failed', 'failed'],
    ['a failure without a budget', job({ maxRetries: 0 }), failed, 'failed', 'failed'],
    ['a hopeless failure', job(), hopeless, 'failed', 'failed'],
    ['a timeout', job(), timeout, 'timeout', 'timeout'],
    ['a stop', job(), stopped, 'waiting', 'released'],
    ['RetryLater', job({ retries: 2 }), later, 'waiting', 'released'],
    ['a reschedule', job(), rescheduled, 'waiting', 'released'],
    ['a claim given back', job(), unstarted, 'waiting', undefined],
    ['a lost lease', job({ lost: 2 }), lost, 'waiting', 'lost'],
    ['a lease lost once too often', job({ lost: 3 }), lost, 'failed', 'lost'],
    [
      'a return of a suspending job',
      job({ status: 'suspending' }),
      completed,
      'completed',
      'completed',
    ],
    ['a skip of a suspending job', job({ status: 'suspending' }), skipped, 'skipped', 'skipped'],
    ['a timeout of a suspending job', job({ status: 'suspending' }), timeout, 'timeout', 'timeout'],
    [
      'a stop of a suspending job',
      job({ status: 'suspending' }),
      stopped,
      'suspended',
      'suspended',
    ],
    [
      'a failure of a suspending job',
      job({ status: 'suspending' }),
      failed,
      'suspended',
      'suspended',
    ],
    [
      'a lease lost while suspending',
      job({ status: 'suspending' }),
      lost,
      'suspended',
      'suspended',
    ],
    ['a timeout while locked', job({ status: 'locked' }), timeout, 'timeout', 'timeout'],
    ['a lease lost while locked', job({ status: 'locked' }), lost, 'waiting', 'lost'],
  ])('%s', (_, state, ending, status, run) => {
    const outcome = decide(state, ending);
    expect(outcome.set.status).toBe(status);
    if (state.status === 'suspending' && status === 'completed') {
      // It was not suspended, whatever for.
      expect(outcome.set.details).toBeNull();
    }
    expect(outcome.run).toBe(run);
  });

  it.each(ENDINGS.map((ending) => [ending.kind, ending] as const))(
    'a cancel wins over %s',
    (_, ending) => {
      const outcome = decide(job({ status: 'canceling' }), ending);
      expect(outcome).toMatchObject({
        run: 'canceled',
        set: { status: 'canceled', finishedAtMs: NOW },
      });
      expect(outcome.set.result).toBe(ending.kind === 'completed' ? '{"a":1}' : undefined);
      expect(outcome.set.retries).toBeUndefined();
    },
  );

  it('a retry counts, keeps its error in sight, and moves run_at by its delay', () => {
    expect(decide(job({ retries: 1 }), failed).set).toMatchObject({
      retries: 2,
      error: 'Error: broke',
      runAtMs: NOW + 10_000,
      progress: 0,
    });
  });

  it('a retry later, a stop, a lost lease and a claim given back cost no retry', () => {
    for (const ending of [later, stopped, lost, unstarted]) {
      expect(decide(job({ retries: 1 }), ending).set.retries).toBeUndefined();
    }
    expect(decide(job(), later).set.runAtMs).toBe(NOW + 5000);
    expect(decide(job({ lost: 1 }), lost).set.lost).toBe(2);
    expect(decide(job({ revision: 4 }), unstarted).set.revision).toBe(3);
    expect(decide(job({ status: 'suspending', revision: 4 }), unstarted)).toMatchObject({
      run: undefined,
      set: { status: 'suspended', revision: 3 },
    });
  });

  it('a reschedule starts with a fresh budget and what it was given', () => {
    expect(decide(job({ retries: 2 }), rescheduled).set).toMatchObject({
      retries: 0,
      error: null,
      runAtMs: NOW + 7000,
      state: '1',
      params: '{}',
    });
    const plain = decide(job(), { ...rescheduled, state: undefined, params: undefined }).set;
    expect('state' in plain || 'params' in plain).toBe(false);
  });

  it('what a suspending handler asked for holds when it is resumed', () => {
    const suspending = job({ status: 'suspending', retries: 2 });
    expect(decide(suspending, rescheduled)).toMatchObject({
      run: 'suspended',
      set: { status: 'suspended', runAtMs: NOW + 7000, state: '1', params: '{}', retries: 0 },
    });
    const { set } = decide(suspending, later);
    expect(set).toMatchObject({ status: 'suspended', runAtMs: NOW + 5000 });
    expect(set.retries).toBeUndefined();
  });

  it('a timeout is retried only where the type says so, within the same budget', () => {
    expect(decide(job(), timeout, retrying)).toMatchObject({
      run: 'timeout',
      set: { status: 'waiting', retries: 1 },
    });
    expect(decide(job({ retries: 2 }), timeout, retrying).set.status).toBe('timeout');
    expect(decide(job({ status: 'suspending' }), timeout, retrying).set.status).toBe('timeout');
  });

  it('completed has progress 1, no error, and keeps the earlier result when it returned nothing', () => {
    expect(decide(job(), completed).set).toMatchObject({
      progress: 1,
      error: null,
      result: '{"a":1}',
    });
    expect('result' in decide(job(), { kind: 'completed', result: null }).set).toBe(false);
  });

  it('a worker lost too often is named', () => {
    expect(decide(job({ lost: 3 }), lost).set).toMatchObject({ error: 'worker lost', lost: 4 });
  });

  it('is always a legal transition that releases the lease, and final exactly when it is dated', () => {
    const states = fc.record({
      status: fc.constantFrom(...HELD),
      retries: fc.nat(5),
      maxRetries: fc.nat(5),
      retryDelaySec: fc.nat(1e6),
      timeoutSec: fc.nat(1e6),
      lost: fc.nat(5),
      revision: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(
        states,
        fc.constantFrom(...ENDINGS),
        fc.boolean(),
        (state, ending, retryOnTimeout) => {
          // A locked handler comes back to running before it returns, throws or steers.
          fc.pre(
            state.status !== 'locked' ||
              ['timeout', 'failed', 'stopped', 'lost'].includes(ending.kind),
          );
          const { set } = decideOutcome(
            state,
            ending,
            { ...rules, retryOnTimeout },
            NOW,
            Math.random,
          );
          expect(canTransition(state.status, set.status)).toBe(true);
          expect(set.status).not.toBe(state.status);
          expect(set.leaseUntilMs).toBeNull();
          expect(set.lockedBy).toBeNull();
          expect(isFinal(set.status)).toBe(set.finishedAtMs === NOW);
          expect(set.retries ?? state.retries).toBeLessThanOrEqual(
            Math.max(state.retries, state.maxRetries),
          );
        },
      ),
      { numRuns: 3000 },
    );
  });
});
