import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJobsError, JobType, type JobHandler } from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import { reaper } from '../../lib/engine/duties.js';
import { settleRun } from '../../lib/engine/run-settlement.js';
import type { ServedRun } from '../../lib/engine/run.js';
import type { JobEntity } from '../../lib/entities/job.entity.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import type { Ending } from '../../lib/model/outcome.js';
import { resolveBackoff } from '../../lib/model/retry-policy.js';
import type { ServerClock } from '../../lib/store/dialects/shared/server-clock.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { isFull } from './scenarios.js';
import { createFaultDatabase, kindsHere, type Kind } from './support/fault-database.js';
import * as model from './support/model.js';

@JobType({ name: 'work', suspendable: true, retryDelay: `${model.DELAY}s` })
class Work implements JobHandler {
  execute(): void {}
}

/** Two applications whose engines do nothing by themselves: the commands are their duties. */
interface Real {
  readonly apps: readonly [Node, Node];
  /** What each claim gave, in the order of claims: runs keep being told of, also when they are over. */
  readonly runs: JobEntity[];
}

interface Node {
  readonly app: BootedJobs;
  readonly engine: Engine;
  readonly clock: Pick<ServerClock, 'shiftMs'>;
}

interface Model {
  now: number;
  isPaused: boolean;
  /** By their ids; deleted ones are not there. */
  readonly jobs: Map<string, model.ModelJob>;
  readonly keys: Map<string, string>;
  readonly ids: string[];
  /** The job of each run. */
  readonly runs: string[];
}

type Command = fc.AsyncCommand<Model, Real>;

const ignore = (): void => undefined;

function command(name: string, run: (m: Model, r: Real) => Promise<void>): Command {
  return {
    check: () => true,
    async run(m, r) {
      await run(m, r);
      await compare(m, r);
    },
    toString: () => name,
  };
}

const node = (r: Real, at: number): Node => r.apps[at % 2] as Node;
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % (list.length || 1)];

const anyCommand = [
  fc
    .record({
      at: fc.nat(1),
      delay: fc.constantFrom(0, 0, model.DELAY),
      priority: fc.nat(2),
      expires: fc.constantFrom(undefined, undefined, model.LEASE),
      key: fc.constantFrom(undefined, undefined, 'k1', 'k2'),
      value: fc.nat(1),
      maxRetries: fc.nat(1),
    })
    .map((o) => command(`enqueue(${JSON.stringify(o)})`, (m, r) => enqueue(m, r, o))),
  fc
    .tuple(fc.nat(1), fc.integer({ min: 1, max: 3 }))
    .map(([at, limit]) => command(`claim(${at}, ${limit})`, (m, r) => claim(m, r, at, limit))),
  fc
    .tuple(fc.nat(1), fc.nat(20), fc.constantFrom('finish', 'finish', 'throw', 'stop'))
    .map(([at, run, how]) =>
      command(`${how}(${at}, run ${run})`, (m, r) => end(m, r, { at, run, how })),
    ),
  fc.nat(20).map((run) => command(`report(run ${run})`, (m, r) => report(m, r, run))),
  fc.nat(1).map((at) => command(`renew(${at})`, (m, r) => renew(m, r, at))),
  fc.nat(1).map((at) => command(`reap(${at})`, (m, r) => reap(m, r, at))),
  fc.nat(1).map((at) => command(`promote(${at})`, (m, r) => promote(m, r, at))),
  fc.nat(1).map((at) => command(`expire(${at})`, (m, r) => expire(m, r, at))),
  fc.integer({ min: 1, max: 4 }).map((ticks) =>
    command(`tick(${ticks})`, async (m, r) => {
      m.now += ticks * model.TICK;
      for (const { clock } of r.apps) {
        clock.shiftMs += ticks * model.TICK * 1000;
      }
    }),
  ),
  fc
    .tuple(
      fc.nat(1),
      fc.nat(20),
      fc.constantFrom(
        'cancel',
        'cancel',
        'suspend',
        'suspend',
        'resume',
        'resume',
        'skip',
        'fail',
        'retry',
        'retry',
        'delete',
      ),
    )
    .map(([at, job, what]) =>
      command(`${what}(${at}, job ${job})`, (m, r) => operate(m, r, { at, job, what })),
    ),
  fc.tuple(fc.nat(1), fc.boolean()).map(([at, isPaused]) =>
    command(`pause(${isPaused})`, async (m, r) => {
      await node(r, at).app.queues[isPaused ? 'pause' : 'resume']('default');
      m.isPaused = isPaused;
    }),
  ),
];

async function enqueue(
  m: Model,
  r: Real,
  o: {
    at: number;
    delay: number;
    priority: number;
    expires: number | undefined;
    key: string | undefined;
    value: number;
    maxRetries: number;
  },
): Promise<void> {
  const { app, engine } = node(r, o.at);
  const known = o.key === undefined ? undefined : m.keys.get(o.key);
  const [holder = '', value] = known?.split(' ') ?? [];
  const expected =
    known === undefined
      ? 'created'
      : value === String(o.value)
        ? 'replayed'
        : 'idempotency_conflict';
  const told = await app.jobs
    .enqueue(Work, o.value, {
      delay: o.delay * 1000,
      priority: o.priority,
      maxRetries: o.maxRetries,
      ...(o.expires === undefined
        ? {}
        : { expiresAt: new Date((await engine.store.ping()) + o.expires * 1000) }),
      ...(o.key === undefined ? {} : { idempotencyKey: o.key }),
    })
    .then(({ id, outcome }) => ({ id, outcome: String(outcome) }), codeOf);
  expect(told.outcome).toBe(expected);
  if (expected === 'replayed') {
    expect(told.id).toBe(holder);
  }
  if (expected !== 'created') {
    return;
  }
  m.ids.push(told.id);
  m.jobs.set(told.id, {
    status: 'waiting',
    revision: 0,
    retries: 0,
    lost: 0,
    maxRetries: o.maxRetries,
    isReady: o.delay === 0,
    runAt: m.now + o.delay,
    expiresAt: o.expires === undefined ? undefined : m.now + o.expires,
    run: undefined,
    worker: undefined,
    leaseUntil: undefined,
  });
  if (o.key !== undefined) {
    m.keys.set(o.key, `${told.id} ${o.value}`);
  }
}

async function claim(m: Model, r: Real, at: number, limit: number): Promise<void> {
  const { engine, app } = node(r, at);
  // Which of those that may be taken come first goes by what is stored, in the contract's order.
  const rows = await app.sql<{ job_id: string }>(
    'SELECT job_id FROM jobs ORDER BY priority DESC, run_at_ms, seq',
  );
  const best = rows
    .map((row) => row.job_id)
    .filter((id) => !m.isPaused && model.mayClaim(m.jobs.get(id) as model.ModelJob, m.now))
    .slice(0, limit);
  const taken = await engine.store.jobs.claim({
    queue: 'default',
    types: ['default:work'],
    channels: [''],
    limit,
    workerId: `w${at}`,
    leaseMs: model.LEASE * 1000,
    starts: true,
    onlyIfReady: false,
  });
  expect(taken.map(({ id }) => id)).toEqual(best);
  for (const job of taken) {
    model.claim(m.jobs.get(job.id) as model.ModelJob, m.runs.length, `w${at}`, m.now);
    m.runs.push(job.id);
    r.runs.push(job);
  }
}

async function end(
  m: Model,
  r: Real,
  { at, run: n, how }: { at: number; run: number; how: string },
): Promise<void> {
  const id = pick(m.runs, n);
  const claimed = pick(r.runs, n);
  if (id === undefined || claimed === undefined) {
    return;
  }
  const number = n % m.runs.length;
  const job = m.jobs.get(id);
  const isHeld = job !== undefined && model.holds(job, number);
  const { engine } = node(r, at);
  const isPlain = how === 'finish' && job?.status === 'running';
  // What a run has completed is known as its own when it is told again, as after an answer that was lost.
  const isAgain = how === 'finish' && job?.status === 'completed' && job.run === number;
  if (how === 'finish') {
    const { seq, runId } = claimed;
    const completion = { seq, runId: runId ?? '', startedAtMs: 1, result: `${number}` };
    const won = await engine.store.jobs.complete(completion);
    // Servers tell it at once; on SQLite it shows where the end is settled, below.
    expect(won).toBe((isHeld && isPlain) || (isAgain && won));
  }
  if (how !== 'finish' || !isPlain) {
    const ending: Ending =
      how === 'finish'
        ? { kind: 'completed', result: `${number}` }
        : how === 'throw'
          ? { kind: 'failed', error: 'as told', isRetryable: true }
          : { kind: 'stopped' };
    let changed = false;
    const parts = { ...partsOf(engine), stored: () => (changed = true) };
    const rules = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };
    const run = { job: claimed, parts, runId: claimed.runId, type: { rules } };
    await settleRun(run as object as ServedRun, ending);
    expect(changed).toBe(isHeld || isAgain);
  }
  if (job !== undefined && isHeld) {
    model.end(job, how as 'finish' | 'throw' | 'stop', m.now);
  }
}

async function report(m: Model, r: Real, n: number): Promise<void> {
  const id = pick(m.runs, n);
  const claimed = pick(r.runs, n);
  if (id !== undefined && claimed !== undefined) {
    const job = m.jobs.get(id);
    const isHeld = job !== undefined && model.holds(job, n % m.runs.length);
    const said = { seq: claimed.seq, runId: claimed.runId ?? '', progress: 0.5 };
    expect(await node(r, n).engine.store.jobs.report(said)).toBe(isHeld);
  }
}

async function renew(m: Model, r: Real, at: number): Promise<void> {
  const { held } = await node(r, at).engine.store.jobs.renew(`w${at}`, model.LEASE * 1000);
  const own = [...m.jobs].filter(
    ([, job]) => job.worker === `w${at}` && job.leaseUntil !== undefined,
  );
  expect(held.map(({ id }) => id).sort()).toEqual(own.map(([id]) => id).sort());
  for (const [, job] of own) {
    job.leaseUntil = m.now + model.LEASE;
  }
}

async function reap(m: Model, r: Real, at: number): Promise<void> {
  await reaper(partsOf(node(r, at).engine)).runOnce();
  for (const job of m.jobs.values()) {
    if (model.isAbandoned(job, m.now)) {
      model.end(job, 'lose', m.now);
    }
  }
}

async function promote(m: Model, r: Real, at: number): Promise<void> {
  await node(r, at).engine.store.jobs.promote(500);
  for (const job of m.jobs.values()) {
    job.isReady ||= job.status === 'waiting' && job.runAt <= m.now;
  }
}

async function expire(m: Model, r: Real, at: number): Promise<void> {
  await node(r, at).engine.store.jobs.expire(500);
  for (const job of m.jobs.values()) {
    const isOver = job.expiresAt !== undefined && job.expiresAt <= m.now;
    if (isOver && job.status === 'waiting' && job.revision === 0) {
      model.become(job, 'skipped', m.now);
    }
  }
}

async function operate(
  m: Model,
  r: Real,
  { at, job: n, what }: { at: number; job: number; what: string },
): Promise<void> {
  const id = pick(m.ids, n);
  if (id === undefined) {
    return;
  }
  const { jobs } = node(r, at).app;
  const job = m.jobs.get(id);
  const told = await jobs[what as 'cancel'](id).then(() => ({ outcome: 'ok' }), codeOf);
  if (job === undefined) {
    expect(told.outcome).toBe('not_found');
    return;
  }
  const effect = model.effectOf(what, job);
  expect(told.outcome).toBe(effect.includes('_') ? effect : 'ok');
  model.operate(what, job, m.now);
  if (effect === 'gone') {
    m.jobs.delete(id);
    for (const [key, holder] of m.keys) {
      if (holder.startsWith(id)) {
        m.keys.delete(key);
      }
    }
  }
}

function codeOf(error: unknown): { id: string; outcome: string } {
  if (!isJobsError(error) || error.code === 'internal_error') {
    throw error;
  }
  return { id: '', outcome: error.code };
}

function partsOf(engine: Engine): EngineParts {
  return {
    store: engine.store,
    options: { lease: { sweepMs: 1000, maxLost: model.MAX_LOST } },
    random: () => 0,
    logger: { debug: ignore, log: ignore, warn: ignore, error: ignore },
    stored: ignore,
  } as object as EngineParts;
}

/** Every job stands as the model says, and every run it had is in its history. */
async function compare(m: Model, { apps: [{ app }] }: Real): Promise<void> {
  const rows = await app.sql<Record<string, unknown>>(
    `SELECT job_id, status, revision, retries, lost, ready, worker_id, lease_until_ms IS NOT NULL AS held,
       (SELECT count(*) FROM job_runs WHERE job_runs.job_id = jobs.job_id)
         + CASE WHEN run_id IS NULL THEN 0 ELSE 1 END AS runs FROM jobs`,
  );
  const stored = rows.map((row) => [
    String(row['job_id']),
    [
      row['status'],
      ...['revision', 'retries', 'lost', 'ready', 'runs'].map((name) => Number(row[name])),
    ],
    // A worker of an ended job stays in its row.
    Number(row['held']) === 1 ? row['worker_id'] : undefined,
  ]);
  const expected = [...m.jobs].map(([id, job]) => [
    id,
    [job.status, job.revision, job.retries, job.lost, job.isReady ? 1 : 0, job.revision],
    job.leaseUntil === undefined ? undefined : job.worker,
  ]);
  const byId = (a: unknown[], b: unknown[]): number => (String(a[0]) < String(b[0]) ? -1 : 1);
  expect(stored.sort(byId)).toEqual(expected.sort(byId));
}

/** `.ci/run` tries a thousand on SQLite; servers, which take ten times as long, all of it with --full. */
const RUNS: Readonly<Record<Kind, number>> = {
  sqlite: isFull ? 5000 : 1000,
  postgres: isFull ? 1000 : 100,
  mariadb: isFull ? 1000 : 100,
};

describe.each(kindsHere)('any commands in any order on %s', (kind) => {
  it(`leave every job as the model says, ${RUNS[kind]} times`, async () => {
    const database = await createFaultDatabase(kind);
    const boot = async (): Promise<Node> => {
      const app = await bootJobs({ types: [Work], database, options: { role: 'producer' } });
      const engine = app.get<Engine>(JOBS_ENGINE);
      return { app, engine, clock: (engine.store as object as { clock: ServerClock }).clock };
    };
    const apps = [await boot(), await boot()] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.commands(anyCommand, { maxCommands: 50, size: 'max' }),
        async (commands) => {
          await apps[0].app.sql('DELETE FROM jobs');
          await apps[0].app.sql('DELETE FROM job_runs');
          await apps[0].app.queues.resume('default');
          const start = (): { model: Model; real: Real } => ({
            model: { now: 0, isPaused: false, jobs: new Map(), keys: new Map(), ids: [], runs: [] },
            real: { apps, runs: [] },
          });
          await fc.asyncModelRun(start, commands);
        },
      ),
      { numRuns: RUNS[kind], interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
    );
  }, 900_000);
});
