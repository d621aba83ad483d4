import { describe, expect, it } from 'vitest';
import { violationsOf } from './checker.js';
import { HOLDING } from './run-spans.js';
import {
  RULES,
  type Change,
  type Expectations,
  type History,
  type JobRow,
  type Limit,
  type Note,
  type Rule,
  type RunRow,
} from './history.js';

const T0 = Date.UTC(2026, 0, 1);
const LEASE = 1000;

/** Ids as they are stored: the time is in their first 48 bits. */
function idAt(ms: number, end: number): string {
  const hex = (T0 + ms).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${end.toString(16).padStart(12, '0')}`;
}

const PLAIN = idAt(0, 1);
const LOST = idAt(0, 2);
const CANCELED = idAt(0, 3);
const NEXT = idAt(0, 4);

function job(id: string, token: string, more: Partial<JobRow>): JobRow {
  return {
    job_id: id,
    type: 'default:work',
    queue: 'default',
    tenant_id: 'tenant',
    idempotency_key: null,
    status: 'completed',
    revision: 1,
    retries: 0,
    lost: 0,
    max_retries: 1,
    run_id: idAt(10, 11),
    run_outcome: null,
    worker_id: 'a',
    scheduled_at_ms: T0,
    started_at_ms: T0 + 12,
    finished_at_ms: T0 + 50,
    lease_until_ms: null,
    result: '1',
    params: JSON.stringify({ token }),
    ...more,
  };
}

const note = (at: number, pid: number, what: object): Note =>
  ({ at: T0 + at, pid, ...what }) as Note;

function changed(
  job: string,
  ms: number,
  runId: string | null,
  [before, status]: readonly [string, string],
  revision = 1,
): Change {
  const [hadLease, hasLease] = [before, status].map((each) =>
    HOLDING.includes(each) ? T0 + (revision === 1 ? 1020 : 2200) : null,
  );
  const wasRunId = before === 'waiting' ? null : runId;
  return {
    at: T0 + ms,
    job,
    before: { status: before, runId: wasRunId, leaseUntil: hadLease ?? null },
    status,
    runId,
    leaseUntil: hasLease ?? null,
    revision,
  };
}

const claimed = (job: string, ms: number, runId: string, revision = 1): Change =>
  changed(job, ms, runId, ['waiting', 'running'], revision);

/** Of the one that has the key of the first, and waits for the first and the canceled one. */
function paramsOfNext(onFailure: 'run' | 'fail'): string {
  const parents = [
    { id: PLAIN, onFailure: 'fail' },
    { id: CANCELED, onFailure },
  ];
  return JSON.stringify({ token: 'next', unique: 'k', parents });
}

interface SoundHistory {
  jobs: JobRow[];
  runs: RunRow[];
  changes: Change[];
  births: Map<string, number>;
  notes: Note[];
}

/**
 * Four jobs: one that ran once, one whose worker was killed, one that was canceled at work, and one
 * that has to do with others.
 */
function sound(): SoundHistory {
  return {
    jobs: [
      job(PLAIN, 'one', {
        idempotency_key: 'one',
        params: JSON.stringify({ token: 'one', unique: 'k' }),
      }),
      job(LOST, 'two', {
        revision: 2,
        lost: 1,
        run_id: idAt(1200, 22),
        worker_id: 'b',
        finished_at_ms: T0 + 1300,
        result: '2',
      }),
      job(CANCELED, 'three', { status: 'canceled', run_id: idAt(20, 33), result: null }),
      job(NEXT, 'next', {
        run_id: idAt(70, 44),
        finished_at_ms: T0 + 90,
        params: paramsOfNext('run'),
      }),
    ],
    runs: [
      {
        run_id: idAt(10, 21),
        job_id: LOST,
        revision: 1,
        worker_id: 'a',
        started_at_ms: T0 + 12,
        ended_at_ms: T0 + 1100,
        outcome: 'lost',
      },
    ],
    changes: [
      claimed(PLAIN, 10.2, idAt(10, 11)),
      claimed(LOST, 10.3, idAt(10, 21)),
      claimed(CANCELED, 20.1, idAt(20, 33)),
      changed(CANCELED, 30.5, idAt(20, 33), ['running', 'canceling']),
      changed(PLAIN, 50.2, idAt(10, 11), ['running', 'completed']),
      changed(CANCELED, 50.4, idAt(20, 33), ['canceling', 'canceled']),
      { ...changed(LOST, 1100.3, idAt(10, 21), ['running', 'waiting']), runId: null },
      claimed(LOST, 1200.1, idAt(1200, 22), 2),
      changed(LOST, 1300.6, idAt(1200, 22), ['running', 'completed'], 2),
      { ...claimed(NEXT, 70.1, idAt(70, 44)), leaseUntil: T0 + 1080 },
      changed(NEXT, 90.2, idAt(70, 44), ['running', 'completed']),
    ],
    births: new Map([
      [PLAIN, T0],
      [NEXT, T0 + 60],
    ]),
    notes: [
      ...['one', 'two', 'three', 'next'].map((token) =>
        note(-1, 1, { what: 'asked', token, keyed: token === 'one' }),
      ),
      note(1, 1, { what: 'acked', token: 'one', keyed: true, id: PLAIN }),
      note(1, 1, { what: 'acked', token: 'two', keyed: false, id: LOST }),
      note(1, 1, { what: 'acked', token: 'three', keyed: false, id: CANCELED }),
      note(12, 1, { what: 'start', job: PLAIN, attempt: 1 }),
      note(45, 1, { what: 'end', job: PLAIN, attempt: 1 }),
      note(50, 1, { what: 'stored', job: PLAIN, status: 'completed', attempt: 1 }),
      note(12, 1, { what: 'start', job: LOST, attempt: 1 }),
      note(60, 1, { what: 'died' }),
      note(1205, 2, { what: 'start', job: LOST, attempt: 2 }),
      note(1290, 2, { what: 'end', job: LOST, attempt: 2 }),
      note(1300, 2, { what: 'stored', job: LOST, status: 'completed', attempt: 2 }),
      note(22, 2, { what: 'start', job: CANCELED, attempt: 1 }),
      note(30, 2, { what: 'canceled', job: CANCELED, status: 'canceling' }),
      note(61, 2, { what: 'acked', token: 'next', keyed: false, id: NEXT }),
      note(72, 2, { what: 'start', job: NEXT, attempt: 1 }),
      note(88, 2, { what: 'end', job: NEXT, attempt: 1 }),
      note(90, 2, { what: 'stored', job: NEXT, status: 'completed', attempt: 1 }),
    ],
  };
}

const expected: Expectations = {
  fromMs: T0 - 10,
  toMs: T0 + 2000,
  leaseMs: LEASE,
  maxLost: 3,
  refusesNothing: true,
  hearsAnswers: true,
  limits: [
    { name: 'three of a type', most: 3, keyOf: ({ type }) => type },
    { name: 'two in a time', most: 2, perMs: 12.8, keyOf: ({ type }) => type },
  ],
};

type Sound = ReturnType<typeof sound>;

const at = (history: Sound, index: number, change: Partial<JobRow>): void => {
  history.jobs[index] = { ...(history.jobs[index] as JobRow), ...change };
};
const run = (history: Sound, change: Partial<RunRow>): void => {
  history.runs[0] = { ...(history.runs[0] as RunRow), ...change };
};
/** The nth change that was written down, made another one. */
const rewrite = (history: Sound, index: number, change: Partial<Change>): void => {
  history.changes[index] = { ...(history.changes[index] as Change), ...change };
};
const say = (history: Sound, ...notes: Note[]): unknown => history.notes.push(...notes);

/** The first job failed after so many losses, and was to time out. */
const beLost = (history: Sound, lost: number): void => {
  const params = { token: 'one', how: 'never returns', ends: 'timeout' };
  at(history, 0, { status: 'failed', lost, params: JSON.stringify(params) });
};

/** What goes wrong, and the rule that must see it. Others may see it too. */
const CORRUPTIONS: readonly (readonly [Rule, string, (history: Sound) => unknown])[] = [
  ['acknowledged jobs are there and ended', 'a lost job', (h) => h.jobs.shift()],
  [
    'acknowledged jobs are there and ended',
    'a job that is still at work',
    (h) => at(h, 0, { status: 'running', finished_at_ms: null, lease_until_ms: T0 + 1050 }),
  ],
  [
    'acknowledged jobs are there and ended',
    'a job that waits for ever',
    (h) => at(h, 1, { status: 'waiting', run_id: null, revision: 1 }),
  ],
  [
    'nothing is stored twice',
    'an enqueue that was done again',
    (h) => h.jobs.push(job(idAt(3, 9), 'two', { run_id: idAt(10, 99) })),
  ],
  [
    'nothing is stored twice',
    'a job of nobody',
    (h) => h.jobs.push(job(idAt(3, 9), 'four', { run_id: idAt(10, 99) })),
  ],
  [
    'a key names one job',
    'a key of two jobs',
    (h) => h.jobs.push(job(idAt(3, 9), 'two', { idempotency_key: 'one', run_id: idAt(10, 99) })),
  ],
  ['a key names one job', 'a key that was dropped', (h) => at(h, 0, { idempotency_key: null })],
  [
    'a key names one job',
    'an acknowledgement of another job',
    (h) => say(h, note(2, 1, { what: 'acked', token: 'one', keyed: true, id: LOST })),
  ],
  ['runs are counted without gaps', 'a run that left no trace', (h) => h.runs.pop()],
  ['runs are counted without gaps', 'a run counted twice', (h) => run(h, { revision: 2 })],
  ['runs are counted without gaps', 'a loss that was not counted', (h) => at(h, 1, { lost: 0 })],
  ['runs are counted without gaps', 'a loss that cost a retry', (h) => at(h, 1, { retries: 1 })],
  [
    'runs are counted without gaps',
    'more retries than allowed',
    (h) => at(h, 1, { retries: 3, max_retries: 2 }),
  ],
  [
    'runs are counted without gaps',
    'a run that its history does not name',
    (h) => h.changes.push(claimed(PLAIN, 1400, idAt(1400, 12), 2)),
  ],
  ['runs do not overlap', 'a claim before the end', (h) => rewrite(h, 7, { at: T0 + 1100.2 })],
  ['runs do not overlap', 'a run without an end', (h) => h.changes.splice(6, 1)],
  [
    'runs do not overlap',
    'a claim of what somebody holds',
    (h) =>
      h.changes.push({
        ...changed(PLAIN, 40, idAt(10, 11), ['running', 'running'], 2),
        runId: idAt(40, 12),
      }),
  ],
  [
    'statuses change as they may',
    'an end that was followed by another one',
    (h) => h.changes.push(changed(PLAIN, 60, idAt(10, 11), ['completed', 'failed'])),
  ],
  [
    'statuses change as they may',
    'an end by a run that did not hold the job',
    (h) => rewrite(h, 4, { runId: idAt(9, 9) }),
  ],
  [
    'a lease is kept',
    'a job taken back while its lease was renewed',
    (h) => {
      const change = h.changes[6] as Change;
      rewrite(h, 6, { before: { ...change.before, leaseUntil: T0 + 1104 } });
    },
  ],
  [
    'a lease is kept',
    'a job taken back before its handler was called, where claims are answered',
    (h) => {
      h.notes = h.notes.filter((each) => each.what !== 'start' || each.job !== LOST);
      const change = h.changes[6] as Change;
      rewrite(h, 6, { before: { ...change.before, leaseUntil: T0 + 1104 } });
    },
  ],
  [
    'a lease is kept',
    'a lease that was too short',
    (h) => rewrite(h, 1, { leaseUntil: T0 + 1000 }),
  ],
  [
    'a handler runs while its run holds the job',
    'a handler that was called before the claim',
    (h) => rewrite(h, 0, { at: T0 + 15.1 }),
  ],
  [
    'a handler runs while its run holds the job',
    'a handler of a claim that was given back',
    (h) => {
      const back = changed(CANCELED, 8, idAt(7, 8), ['running', 'waiting'], 0);
      h.changes.splice(0, 3, claimed(CANCELED, 7, idAt(7, 8)), { ...back, runId: null });
    },
  ],
  [
    'a handler runs while its run holds the job',
    'an outcome that was stored before the handler returned',
    (h) => rewrite(h, 4, { at: T0 + 41.9 }),
  ],
  [
    'handlers overlap only after a lost lease',
    'two handlers at once without a loss',
    (h) => {
      run(h, { outcome: 'released' });
      at(h, 1, { lost: 0 });
      say(h, note(1250, 1, { what: 'end', job: LOST, attempt: 1 }));
    },
  ],
  [
    'handlers overlap only after a lost lease',
    'a run that was begun twice',
    (h) => say(h, note(40, 2, { what: 'start', job: PLAIN, attempt: 1 })),
  ],
  [
    'handlers overlap only after a lost lease',
    'a handler without a run',
    (h) => say(h, note(1700, 2, { what: 'start', job: PLAIN, attempt: 2 })),
  ],
  [
    'one outcome a run',
    'two processes whose outcomes were accepted',
    (h) => say(h, note(51, 2, { what: 'stored', job: PLAIN, status: 'completed', attempt: 1 })),
  ],
  [
    'one outcome a run',
    'an outcome that did not last',
    (h) => say(h, note(51, 2, { what: 'stored', job: CANCELED, status: 'failed', attempt: 1 })),
  ],
  [
    'one outcome a run',
    'an ended job with a lease',
    (h) => at(h, 0, { lease_until_ms: T0 + 1010 }),
  ],
  ['an outcome is the run’s own', 'the result of a stale run', (h) => at(h, 1, { result: '1' })],
  [
    'an outcome is the run’s own',
    'a completed job whose handler did not end',
    (h) => (h.notes = h.notes.filter((each) => each.what !== 'end' || each.job !== PLAIN)),
  ],
  [
    'an outcome is the run’s own',
    'a completed job whose last run failed',
    (h) => at(h, 0, { run_outcome: 'failed' }),
  ],
  [
    'a job ends as its handler does',
    'a job that failed by the fault of another one',
    (h) => at(h, 0, { params: JSON.stringify({ token: 'one', ends: 'failed' }) }),
  ],
  [
    'a job ends as its handler does',
    'a job that failed and was lost once less than it may be',
    (h) => beLost(h, expected.maxLost),
  ],
  [
    'nobody is refused',
    'a caller that was told of a lock',
    (h) => say(h, note(1, 1, { what: 'refused', token: 'one', code: 'database_unavailable' })),
  ],
  [
    'a cancel that was granted holds',
    'a canceled job that completed all the same',
    (h) => at(h, 2, { status: 'completed', result: '1' }),
  ],
  [
    'times are the database’s',
    'a claim tomorrow',
    (h) => at(h, 0, { run_id: idAt(86_400_000, 11), finished_at_ms: T0 + 86_400_100 }),
  ],
  ['times are the database’s', 'an end that is to come', (h) => run(h, { ended_at_ms: T0 + 1104 })],
  ['times are the database’s', 'a job of yesterday', (h) => at(h, 0, { scheduled_at_ms: 1 })],
  [
    'limits hold',
    'four runs at once where three may be',
    (h) => {
      h.jobs.push(job(idAt(3, 9), 'four', { run_id: idAt(30, 99) }));
      h.changes.push(claimed(idAt(3, 9), 30, idAt(30, 99)));
    },
  ],
  [
    'limits hold',
    'three runs that began within a period for two',
    (h) => rewrite(h, 2, { at: T0 + 19.9 }),
  ],
  [
    'a unique key has one job at a time',
    'a job that was stored while another one had its key',
    (h) => h.births.set(NEXT, T0 + 50.1),
  ],
  [
    'a unique key has one job at a time',
    'a job of which nobody knows when it was stored',
    (h) => h.births.delete(NEXT),
  ],
  [
    'a job waits for those it depends on',
    'a job that began before one of two had ended',
    (h) => rewrite(h, 9, { at: T0 + 50.3 }),
  ],
  [
    'a job waits for those it depends on',
    'a job that ran though one had not completed',
    (h) => at(h, 3, { params: paramsOfNext('fail') }),
  ],
  [
    'a job waits for those it depends on',
    'a job that was forgotten',
    (h) => at(h, 3, { status: 'waiting', finished_at_ms: null }),
  ],
  [
    'a job waits for those it depends on',
    'a job that failed for nothing',
    (h) => {
      at(h, 3, { status: 'failed' });
      h.changes.splice(9, 2, changed(NEXT, 60.1, null, ['waiting', 'failed']));
    },
  ],
];

describe('the checker', () => {
  it('finds nothing in a sound history', () => {
    expect(violationsOf(sound(), expected)).toEqual([]);
  });

  it('allows a handler beside another one only after a lost lease', () => {
    const history = sound();
    // The process was not dead, only silent.
    history.notes = history.notes.filter(({ what }) => what !== 'died');
    say(history, note(1250, 1, { what: 'end', job: LOST, attempt: 1 }));
    expect(violationsOf(history, expected)).toEqual([]);
  });

  it('does not count a claim that was given back before its handler was called', () => {
    const history = sound();
    const back = changed(PLAIN, 8, idAt(7, 8), ['running', 'waiting'], 0);
    history.changes.unshift(claimed(PLAIN, 7, idAt(7, 8)), { ...back, runId: null });
    expect(violationsOf(history, { ...expected, limits: [] })).toEqual([]);
  });

  it('lets a job that misbehaves fail once it was lost more often than it may be', () => {
    const history = sound();
    beLost(history, expected.maxLost + 1);
    expect(rulesBroken(history)).not.toContain('a job ends as its handler does');
  });

  it.each(CORRUPTIONS)('sees by "%s" %s', (rule, _what, corrupt) => {
    const history = sound();
    corrupt(history);
    expect(rulesBroken(history)).toContain(rule);
  });

  it('has a corrupted history for each of its rules', () => {
    expect(new Set(CORRUPTIONS.map(([rule]) => rule))).toEqual(new Set(RULES));
  });

  it('lets a limit be reached at the moment at which a place becomes free', () => {
    const history = sound();
    const limits = [{ name: 'one of a queue', most: 1, keyOf: (each: JobRow) => each.queue }];
    const claim = (ms: number): void => {
      const other = job(LOST, 'two', { run_id: idAt(50, 11), finished_at_ms: T0 + 70 });
      history.jobs.splice(1, 2, other);
      history.changes = history.changes.filter(({ job: id }) => id === PLAIN);
      history.changes.push(claimed(LOST, ms, idAt(50, 11)));
    };
    claim(50.2);
    expect(broken(history, limits)).toEqual([]);
    claim(50.1);
    expect(broken(history, limits)).toHaveLength(1);
  });
});

function broken(history: History, limits: readonly Limit[]): readonly string[] {
  return violationsOf(history, { ...expected, limits })
    .filter(({ rule }) => rule === 'limits hold')
    .map(({ text }) => text);
}

function rulesBroken(history: History): readonly Rule[] {
  return violationsOf(history, expected).map(({ rule }) => rule);
}
