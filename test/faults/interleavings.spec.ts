import Sqlite from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { BetterSqlite3Session } from '../../lib/store/dialects/sqlite/better-sqlite3.session.js';
import { DatabaseClock } from '../../lib/store/dialects/sqlite/sqlite-clock.js';
import { query } from '../../lib/store/dialects/sql.js';
import { chance, seedOfRun } from '../support/chance.js';
import { isFull } from './scenarios.js';
import {
  createFaultDatabase,
  kindsHere,
  rowsOf,
  type FaultDatabase,
} from './support/fault-database.js';
import { spansOf, type RunSpan } from './run-spans.js';
import type { JobRow } from './history.js';
import { Party } from './support/party.js';
import { everyOrder, someOrders } from './support/stepping.js';

const LEASE_MS = 60_000;
/** Every order of each pair, with --full and where a broken build must be caught; else so many by chance. */
const isEvery = isFull || process.env['JOBS_TEST_ORDERS'] === 'every';
const SOME = 8;
/** Of all orders; 1 to 2 % of them were chance. */
const MOST_LEFT_OUT = 0.1;

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
  ['running', 'finish', 'renew'],
  ['running', 'renew', 'cancel'],
  ['running', 'cancel', 'cancel'],
  ['abandoned', 'reap', 'reap'],
  ['abandoned', 'reap', 'finish'],
  ['abandoned', 'reap', 'fail'],
  ['abandoned', 'reap', 'renew'],
  ['abandoned', 'reap', 'cancel'],
  ['abandoned', 'reap', 'claim'],
  ['abandoned', 'retake', 'cancel'],
  ['abandoned', 'retake', 'finish'],
  ['abandoned', 'retake', 'fail'],
];

/** A job as the library has it, which only the parties read. */
interface HeldJob {
  readonly id: string;
}

/** What must be true of the job, whoever was quicker. */
function judge(
  [where, first, second]: (typeof MEETINGS)[number],
  told: readonly [unknown, unknown],
  job: JobRow,
  runs: readonly RunSpan[],
  [one, other]: readonly [Party, Party],
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
  // Where both want to, nothing keeps the quicker one from it.
  if (deeds.every((deed) => deed === 'claim')) {
    expect(claimed).toHaveLength(1);
  }
  if (deeds.every((deed) => ['finish', 'fail', 'reap'].includes(deed))) {
    expect(ends).toBe(1);
  }
  if (wins('finish') > 0) {
    expect(job).toMatchObject({ status: 'completed', lost: 0, result: '1' });
  }
  if (wins('fail') === 1) {
    const isCanceled = of('cancel') === 'canceling';
    expect(job).toMatchObject({ status: isCanceled ? 'canceled' : 'failed', lost: 0 });
  }
  const isTaken = deeds.includes('retake') && claimed.length === 1;
  if (String(of('cancel')).startsWith('cancel')) {
    const isEnded = of('cancel') === 'canceled' || ends > 0;
    // Who reaps ends it too, or passes it over while it is being canceled.
    const mayBoth = deeds.includes('retake') && !isTaken && !isEnded;
    expect(mayBoth ? ['canceled', 'canceling'] : [isEnded ? 'canceled' : 'canceling']).toContain(
      job.status,
    );
  }
  if (isTaken) {
    const status = of('cancel') === 'canceling' ? 'canceling' : 'running';
    expect(job).toMatchObject({ status, worker_id: 'b', lost: 1 });
  }
  if (first === 'reap' && second === 'claim') {
    expect(of('reap')).toBe(true);
    const stands =
      claimed.length === 1 ? { status: 'running', worker_id: 'b' } : { status: 'waiting' };
    expect(job).toMatchObject({ ...stands, lost: 1 });
  }
  if (first === 'finish' && second === 'renew') {
    expect(wins('finish')).toBe(1);
  }
  // Nobody's lease is left behind, or taken away.
  expect(job.lease_until_ms !== null).toBe(['running', 'canceling'].includes(job.status));
  // Its first message finds the job; what has been renewed before it looks again is held.
  if (second === 'renew' && first === 'reap' && other.doneAt < (one.steppedAt[1] ?? 0)) {
    expect(lost).toBe(0);
  }
  if (second === 'renew' && first === 'reap' && lost === 0) {
    expect(job).toMatchObject({ status: 'running', worker_id: 'a' });
    expect(job.lease_until_ms).toBeGreaterThan(1);
  }
}

interface Meeting {
  readonly database: FaultDatabase;
  /** The first one holds the job, if anybody does. */
  readonly sides: readonly [Party, Party];
}

/** Lets both do their deeds, in turns, and judges. */
async function meet(
  { sides }: Meeting,
  each: (typeof MEETINGS)[number],
  inOrder: readonly [Party, Party],
  turns: () => Promise<void>,
): Promise<void> {
  const [where, ...deeds] = each;
  const job = await sides[0].ask<HeldJob>('arrange', where);
  await Promise.all(sides.map((party) => party.ask('ping')));
  const told = inOrder.map((party, at) => party.begin(deeds[at] ?? '', job));
  await Promise.all([turns(), ...told]);
  const answers = [await told[0], await told[1]] as const;
  const rows = await rowsOf({ ask: (sql) => sides[0].ask('sql', sql) });
  try {
    const [stands] = rows.jobs as [JobRow];
    judge(each, answers, stands, spansOf(rows).get(job.id) ?? [], inOrder);
  } catch (error) {
    throw new Error(
      `${each.join(' × ')}, told ${answers.join()}: ${String(error)}\n${JSON.stringify(sides.map(({ said }) => said))}`,
      { cause: error },
    );
  }
}

describe.each(kindsHere)('two processes that meet on %s', (kind) => {
  it('over one job, in every order of their messages, agree on what has become of it', async () => {
    const seed = seedOfRun();
    console.log(`${kind}: JOBS_TEST_SEED=${seed}`);
    const random = chance(seed);
    const database = await createFaultDatabase(kind);
    const start = async (worker: string): Promise<Party> => {
      const party = await Party.start(database, { worker, leaseMs: LEASE_MS });
      await party.ask('open');
      return party;
    };
    const place = { database, sides: [await start('a'), await start('b')] } as const;
    const counts: string[] = [];
    let [tries, leftOuts] = [0, 0];
    for (const each of MEETINGS) {
      const [first, second] = place.sides;
      // The run's own worker is the first side; who takes over is the second one.
      const inOrder = each[1] === 'retake' ? ([second, first] as const) : place.sides;
      const once = (turns: () => Promise<void>): Promise<void> => meet(place, each, inOrder, turns);
      const { tried, leftOut } = isEvery
        ? await everyOrder(database, inOrder, once)
        : await someOrders(database, inOrder, { most: SOME, random }, once);
      counts.push(`${each.join(' × ')}: ${tried}${leftOut > 0 ? ` and ${leftOut} left out` : ''}`);
      tries += tried;
      leftOuts += leftOut;
    }
    console.log(`${kind}, ${tries} orders tried, ${leftOuts} left out: ${counts.join(', ')}`);
    expect(leftOuts / tries).toBeLessThan(MOST_LEFT_OUT);
  }, 900_000);
});

describe('two transactions on sqlite', () => {
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
