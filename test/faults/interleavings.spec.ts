import Sqlite from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import type { Engine } from '../../lib/engine/engine.js';
import type { EngineParts } from '../../lib/engine/engine-parts.js';
import { reaper } from '../../lib/engine/duties.js';
import { settleRun } from '../../lib/engine/run-settlement.js';
import type { ServedRun } from '../../lib/engine/run.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import type { JobEntity } from '../../lib/entities/job.entity.js';
import { BetterSqlite3Session } from '../../lib/store/dialects/sqlite/better-sqlite3.session.js';
import { DatabaseClock } from '../../lib/store/dialects/sqlite/sqlite-clock.js';
import { query } from '../../lib/store/dialects/sql.js';
import { resolveBackoff } from '../../lib/model/retry-policy.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { chance, seedOfRun } from '../support/chance.js';
import { isFull } from './scenarios.js';
import {
  createFaultDatabase,
  kindsHere,
  rowsOf,
  type FaultDatabase,
  type Kind,
} from './support/fault-database.js';
import { spansOf, type RunSpan } from './run-spans.js';
import type { JobRow } from './history.js';
import { everyOrder, Party, someOrders } from './support/stepping.js';

@JobType({ name: 'work', suspendable: true })
class Work implements JobHandler {
  execute(): void {}
}

const LEASE_MS = 60_000;
/** Every order of each pair, with --full and where a broken build must be caught; else so many by chance. */
const isEvery = isFull || process.env['JOBS_TEST_ORDERS'] === 'every';
const SOME = 15;

/** Where the job stands when two meet over it. */
type Situation = 'waiting' | 'running' | 'abandoned';

/** What somebody does to the job; gives what it was told. */
type Deed = 'claim' | 'finish' | 'fail' | 'reap' | 'renew' | 'cancel' | 'retake';

const MEETINGS: readonly (readonly [Situation, Deed, Deed])[] = [
  ['waiting', 'claim', 'claim'],
  ['waiting', 'claim', 'cancel'],
  ['running', 'finish', 'cancel'],
  ['running', 'finish', 'finish'],
  ['running', 'finish', 'fail'],
  ['running', 'fail', 'cancel'],
  ['running', 'renew', 'cancel'],
  ['running', 'cancel', 'cancel'],
  ['abandoned', 'reap', 'reap'],
  ['abandoned', 'reap', 'finish'],
  ['abandoned', 'reap', 'fail'],
  ['abandoned', 'reap', 'renew'],
  ['abandoned', 'reap', 'cancel'],
  ['abandoned', 'retake', 'finish'],
  ['abandoned', 'retake', 'fail'],
];

interface Side {
  readonly app: BootedJobs;
  readonly engine: Engine;
  readonly party: Party;
  readonly worker: string;
}

interface Meeting {
  readonly database: FaultDatabase;
  readonly sides: readonly [Side, Side];
}

/** Two applications, each with connections of its own, on one database. */
async function meeting(kind: Kind): Promise<Meeting> {
  const database = await createFaultDatabase(kind);
  const side = async (worker: string): Promise<Side> => {
    const party = new Party();
    const app = await bootJobs({
      types: [Work],
      database,
      ...(kind === 'sqlite' ? {} : { typeorm: { driver: party.driver(kind) } }),
      options: { role: 'producer' },
    });
    const made = { app, engine: app.get<Engine>(JOBS_ENGINE), party, worker };
    await open(made);
    return made;
  };
  return { database, sides: [await side('a'), await side('b')] };
}

/** Has every connection made that the deeds use, so that none is while they are stepped. */
async function open(side: Side): Promise<void> {
  const { id } = await side.app.jobs.enqueue(Work);
  await claim(side);
  const [job] = await Promise.all([stored(side, id), stored(side, id), stored(side, id)]);
  await act(side, 'finish', job);
  await side.app.jobs.cancel(id);
}

/** A new job in that situation, held by the first side if anybody holds it. */
async function arrange({ sides: [first] }: Meeting, where: Situation): Promise<JobEntity> {
  await first.app.sql('DELETE FROM jobs');
  await first.app.sql('DELETE FROM job_runs');
  const { id } = await first.app.jobs.enqueue(Work);
  if (where !== 'waiting') {
    await claim(first);
  }
  if (where === 'abandoned') {
    await first.app.sql('UPDATE jobs SET lease_until_ms = 1');
  }
  return stored(first, id);
}

async function stored({ engine }: Side, id: string): Promise<JobEntity> {
  const found = await engine.store.jobs.find(id);
  if (found === undefined) {
    throw new Error(`${id} is not there`);
  }
  return found.job;
}

function claim({ engine, worker }: Side): Promise<readonly JobEntity[]> {
  return engine.store.jobs.claim({
    queue: 'default',
    types: ['default:work'],
    channels: [''],
    limit: 1,
    workerId: worker,
    leaseMs: LEASE_MS,
    starts: true,
    onlyIfReady: false,
  });
}

/** What each deed needs of an engine, told to nobody. */
function partsOf({ engine }: Side): EngineParts {
  return {
    store: engine.store,
    options: { lease: { durationMs: LEASE_MS, sweepMs: 1000, maxLost: 3 } },
    random: () => 0,
    logger: { debug: ignore, log: ignore, warn: ignore, error: ignore },
    stored: ignore,
  } as object as EngineParts;
}

const ignore = (): void => undefined;

/** Does it as the engine does; gives whether it was told that its outcome counts. */
async function act(side: Side, deed: Deed, job: JobEntity): Promise<unknown> {
  const { jobs } = side.engine.store;
  switch (deed) {
    case 'claim':
      return (await claim(side)).length;
    case 'finish': {
      const completion = { seq: job.seq, runId: job.runId ?? '', startedAtMs: 1, result: '1' };
      return jobs.complete(completion);
    }
    case 'fail': {
      let changed = false;
      const parts = { ...partsOf(side), stored: () => (changed = true) };
      const rules = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };
      const run = { job, parts, runId: job.runId, type: { rules } } as object as ServedRun;
      await settleRun(run, { kind: 'failed', error: 'as asked', isRetryable: false });
      return changed;
    }
    case 'reap': {
      let changed = false;
      await reaper({ ...partsOf(side), stored: () => (changed = true) }).runOnce();
      return changed;
    }
    case 'retake':
      await act(side, 'reap', job);
      return (await claim(side)).length;
    case 'renew':
      // The run's own worker, whichever side asks.
      return (await jobs.renew('a', LEASE_MS)).length;
    case 'cancel':
      return (await side.app.jobs.cancel(job.id)).status;
  }
}

/** What must be true of the job, whoever was quicker. */
function judge(
  [where, first, second]: (typeof MEETINGS)[number],
  told: readonly [unknown, unknown],
  job: JobRow,
  runs: readonly RunSpan[],
  [one, other]: Meeting['sides'],
): void {
  const deeds = [first, second] as const;
  const of = (deed: Deed): unknown => told[deeds.indexOf(deed)];
  const wins = (deed: Deed): number =>
    deeds.filter((each, at) => each === deed && told[at] === true).length;
  const lost = runs.filter(({ outcome }) => outcome === 'lost').length;
  expect(job.revision).toBe(runs.length);
  expect(runs.map(({ revision }) => revision)).toEqual(runs.map((_, at) => at + 1));
  expect(job.lost).toBe(lost);
  const claimed = told.filter((each, at) => /claim|retake/.test(deeds[at] ?? '') && each === 1);
  const taken = (where === 'waiting' ? 0 : 1) + claimed.length;
  expect(job.revision).toBe(taken);
  // Of two who end the same run in different ways one at most is told that it counts; the same end twice
  // is what a worker does whose first answer was lost.
  const ends = Math.min(1, wins('finish')) + wins('fail') + wins('reap');
  expect(ends).toBeLessThanOrEqual(1);
  if (wins('finish') > 0) {
    expect(job).toMatchObject({ status: 'completed', lost: 0, result: '1' });
  }
  if (wins('fail') === 1) {
    const isCanceled = of('cancel') === 'canceling';
    expect(job).toMatchObject({ status: isCanceled ? 'canceled' : 'failed', lost: 0 });
  }
  if (String(of('cancel')).startsWith('cancel')) {
    expect(job.status).toBe(of('cancel') === 'canceled' || ends > 0 ? 'canceled' : 'canceling');
  }
  if (deeds.includes('retake') && claimed.length === 1) {
    expect(job).toMatchObject({ status: 'running', worker_id: 'b', lost: 1 });
  }
  // Its first message finds the job; what has been renewed before it looks again is held.
  if (
    second === 'renew' &&
    first === 'reap' &&
    other.party.doneAt < (one.party.steppedAt[1] ?? 0)
  ) {
    expect(lost).toBe(0);
  }
  if (second === 'renew' && first === 'reap' && lost === 0) {
    expect(job).toMatchObject({ status: 'running', worker_id: 'a' });
    expect(job.lease_until_ms).toBeGreaterThan(1);
  }
}

/** Lets both do their deeds, stepped by `turns` where there are steps, and judges. */
async function meet(
  place: Meeting,
  each: (typeof MEETINGS)[number],
  turns: (deeds: readonly (() => Promise<unknown>)[]) => Promise<readonly [unknown, unknown]>,
): Promise<void> {
  const [where, ...deeds] = each;
  const { sides } = place;
  const job = await arrange(place, where);
  // The clock is asked now, so that it is not asked in between.
  await Promise.all(sides.map(({ engine }) => engine.store.ping()));
  // The run's own worker is the first side; who takes over is the second one.
  const order = deeds[0] === 'retake' ? ([1, 0] as const) : ([0, 1] as const);
  const told = await turns(
    deeds.map((deed, at) => () => act(sides[order[at] ?? 0] as Side, deed, job)),
  );
  const rows = await rowsOf({ ask: (sql) => sides[0].app.sql(sql) });
  try {
    const [stands] = rows.jobs as [JobRow];
    judge(each, told, stands, spansOf(rows).get(job.id) ?? [], sides);
  } catch (error) {
    throw new Error(
      `${each.join(' × ')}, told ${told.join()}: ${String(error)}\n${JSON.stringify(sides.map(({ party }) => party.said))}`,
      { cause: error },
    );
  }
}

describe.each(kindsHere.filter((kind) => kind !== 'sqlite'))('two that meet on %s', (kind) => {
  it('over one job, in every order of their messages, agree on what has become of it', async () => {
    const seed = seedOfRun();
    console.log(`${kind}: JOBS_TEST_SEED=${seed}`);
    const random = chance(seed);
    const place = await meeting(kind);
    const counts: string[] = [];
    for (const each of MEETINGS) {
      const [first, second] = [place.sides[0].party, place.sides[1].party];
      const inOrder =
        each[1] === 'retake' ? ([second, first] as const) : ([first, second] as const);
      const once = (turns: () => Promise<void>): Promise<void> =>
        meet(place, each, async (deeds) => {
          const told = inOrder.map((party, at) => party.begin(deeds[at] ?? nothing));
          await Promise.all([turns(), ...told]);
          return [await told[0], await told[1]];
        });
      const count = isEvery
        ? await everyOrder(place.database, inOrder, once)
        : await someOrders(place.database, inOrder, { most: SOME, random }, once);
      counts.push(`${each.join(' × ')}: ${count}`);
    }
    console.log(`${kind}, orders tried: ${counts.join(', ')}`);
  }, 900_000);
});

const nothing = (): Promise<unknown> => Promise.resolve();

describe('two that meet on sqlite', () => {
  it('over one job, one before the other or both at once, agree on what has become of it', async () => {
    const place = await meeting('sqlite');
    for (const each of MEETINGS) {
      await meet(place, each, async ([a = nothing, b = nothing]) => [await a(), await b()]);
      await meet(place, each, async ([a = nothing, b = nothing]) => {
        const second = await b();
        return [await a(), second];
      });
      await meet(place, each, async ([a = nothing, b = nothing]) => Promise.all([a(), b()]));
    }
  });

  it('cannot write between the statements of each other’s transactions', async () => {
    const { file } = await createFaultDatabase('sqlite');
    const [own, others] = [new Sqlite(file, { timeout: 0 }), new Sqlite(file, { timeout: 0 })];
    try {
      own.exec('PRAGMA journal_mode = WAL; CREATE TABLE counter (n INTEGER)');
      const session = new BetterSqlite3Session(own, new DatabaseClock());
      session.transact([
        function* () {
          yield* query('SELECT n FROM counter');
          expect(() => others.exec('INSERT INTO counter VALUES (1)')).toThrow(/locked/);
          yield* query('INSERT INTO counter VALUES (2)');
        },
      ]);
      expect(others.prepare('SELECT n FROM counter').all()).toEqual([{ n: 2 }]);
    } finally {
      own.close();
      others.close();
    }
  });
});
