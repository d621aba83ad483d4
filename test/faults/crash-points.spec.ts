import { describe, expect, it } from 'vitest';
import { chance, seedOfRun } from '../support/chance.js';
import { until } from '../support/waiting.js';
import type { JobRow } from './history.js';
import { spansOf } from './run-spans.js';
import { isFull } from './scenarios.js';
import {
  createFaultDatabase,
  kindsHere,
  rowsOf,
  type FaultDatabase,
} from './support/fault-database.js';
import { Party } from './support/party.js';
import { settled } from './support/stepping.js';

const FINAL: readonly string[] = ['canceled', 'failed', 'completed'];
const LEASE_MS = 60_000;
/** Messages of a deed before which it dies, and how often at each, at full length; else so many points by chance. */
const MOST_MESSAGES = 20;
const ROUNDS = 3;
const SOME = 4;

/** Where a job stands, what is done to it by a process that dies over it, and how it may end after that. */
const DEEDS: readonly (readonly [where: string, deed: string, ends: readonly string[]])[] = [
  ['nowhere', 'enqueue', ['completed']],
  ['waiting', 'claim', ['completed']],
  ['running', 'finish', ['completed']],
  ['running', 'fail', ['failed', 'completed']],
  ['running', 'renew', ['completed']],
  ['running', 'cancel', ['canceled', 'completed']],
  ['abandoned', 'reap', ['completed']],
];

/** So many messages were answered; the next one is not sent, or is under way. */
interface Point {
  readonly answered: number;
  readonly isUnderWay: boolean;
}

interface Place {
  readonly database: FaultDatabase;
  /** Goes on with what the others leave. */
  readonly heir: Party;
}

/** Whether the process got that far before its deed was done. */
async function dieAt(
  { database, heir }: Place,
  victim: Party,
  [where, deed, ends]: (typeof DEEDS)[number],
  { answered, isUnderWay }: Point,
): Promise<boolean> {
  const job = await victim.ask<{ readonly id: string }>(
    'arrange',
    where === 'nowhere' ? 'waiting' : where,
  );
  if (where === 'nowhere') {
    await victim.ask('sql', 'DELETE FROM jobs');
  }
  const done = victim.begin(deed, job).catch(() => undefined);
  await settled(database, victim);
  for (let n = 0; n < answered && !victim.isDone; n += 1) {
    victim.step();
    await settled(database, victim);
  }
  const isThere = !victim.isDone;
  if (isThere && isUnderWay) {
    victim.step();
  }
  await victim.kill();
  await done;
  await inherit(heir, deed === 'enqueue');
  const rows = await rowsOf({ ask: (sql) => heir.ask('sql', sql) });
  const runs = [...spansOf(rows).values()].flat();
  const lost = runs.filter(({ outcome }) => outcome === 'lost').length;
  try {
    expect(rows.jobs).toHaveLength(1);
    const [{ status, revision, lost: counted }] = rows.jobs as [JobRow];
    expect(ends).toContain(status);
    expect(runs.map((run) => run.revision)).toEqual(runs.map((_, at) => at + 1));
    expect([revision, counted]).toEqual([runs.length, lost]);
    expect(runs.filter(({ outcome }) => outcome !== 'lost')).toHaveLength(1);
  } catch (error) {
    const how = `after ${answered} messages${isUnderWay ? ', the next one under way' : ''}`;
    throw new Error(`${where} × ${deed}, ${how}: ${String(error)}\n${JSON.stringify(rows)}`, {
      cause: error,
    });
  }
  return isThere;
}

/** Once the lease is over, and the server has let go of what the dead one had locked. */
async function inherit(heir: Party, isAsked: boolean): Promise<void> {
  if (isAsked) {
    await heir.ask('run', 'enqueue');
  }
  const isEnded = async (): Promise<boolean> => {
    const [row] = await heir.ask<readonly JobRow[]>('sql', 'SELECT job_id, status FROM jobs');
    if (row === undefined || FINAL.includes(row.status)) {
      return true;
    }
    await heir.ask('sql', 'UPDATE jobs SET lease_until_ms = 1 WHERE lease_until_ms IS NOT NULL');
    await heir.ask('run', 'reap');
    if ((await heir.ask('run', 'claim')) === 1) {
      await heir.ask('run', 'finish', await heir.ask('stored', row.job_id));
    }
    return false;
  };
  await until(isEnded, 'the job to end', 30_000);
}

describe.each(kindsHere)('a process that dies over a job on %s', (kind) => {
  it('before any of its messages or while one is under way leaves what another one can go on with', async () => {
    const seed = seedOfRun();
    console.log(`${kind}: JOBS_TEST_SEED=${seed}`);
    const random = chance(seed);
    const database = await createFaultDatabase(kind);
    const start = (worker: string): Promise<Party> =>
      Party.start(database, { worker, leaseMs: LEASE_MS });
    const place = { database, heir: await start('b') };
    await place.heir.ask('open');
    // The next one boots meanwhile.
    let next = start('a');
    const die = async (each: (typeof DEEDS)[number], point: Point): Promise<boolean> => {
      const victim = await next;
      next = start('a');
      await victim.ask('open');
      return dieAt(place, victim, each, point);
    };
    const counts: string[] = [];
    if (isFull) {
      for (const each of Array.from({ length: ROUNDS }, () => DEEDS).flat()) {
        let answered = 0;
        while (
          answered < MOST_MESSAGES &&
          (await die(each, { answered, isUnderWay: false })) &&
          (await die(each, { answered, isUnderWay: true }))
        ) {
          answered += 1;
        }
        // Else it would have gone through no point of it at all.
        expect(answered, each[1]).toBeGreaterThan(0);
        counts.push(`${each[1]}: ${answered}`);
      }
    } else {
      for (let n = 0; n < SOME; n += 1) {
        const each = DEEDS[Math.floor(random() * DEEDS.length)] as (typeof DEEDS)[number];
        const point = { answered: Math.floor(random() * 3), isUnderWay: random() < 0.5 };
        counts.push(`${each[1]}: ${point.answered} ${await die(each, point)}`);
      }
    }
    await (await next).kill();
    console.log(`${kind}, messages it died at: ${counts.join(', ')}`);
  }, 900_000);
});
