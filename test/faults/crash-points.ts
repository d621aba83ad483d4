import { isDeepStrictEqual } from 'node:util';
import { expect, it } from 'vitest';
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
  type Kind,
} from './support/fault-database.js';
import { Party } from './support/party.js';

const FINAL: readonly string[] = ['canceled', 'failed', 'completed'];
const LEASE_MS = 60_000;
/** No deed has so many messages. */
const MOST_MESSAGES = 20;
/** How often it dies at each point, at full length; else at so many points by chance. */
const ROUNDS = 3;
const DEADLINE_MS = isFull ? 1_800_000 : 300_000;
const SOME = 4;
/** A new connection, on a machine that does much else, is there by then. */
const NEXT_MS = 60_000;
/** A message to SQLite is done within that: it dies before, in the middle of it, or after it. */
const WITHIN_MS = 0.6;

/** Where a job stands, what is done to it by a process that dies over it, and how it may end after that. */
type Deed = readonly [where: string, deed: string, ends: readonly string[]];

const DEEDS: readonly Deed[] = [
  ['nowhere', 'enqueue', ['completed']],
  ['waiting', 'claim', ['completed']],
  ['running', 'finish', ['completed']],
  ['running', 'fail', ['failed', 'completed']],
  ['running', 'renew', ['completed']],
  ['running', 'cancel', ['canceled', 'completed']],
  ['abandoned', 'reap', ['completed']],
];

/**
 * When it dies: before it sends a message; when it has sent it, and hears no answer, whatever the database makes of
 * it; and, where the database is in the process, also while that is at work.
 */
type Moment = 'before' | 'within' | 'unheard';

const moments = (kind: Kind): readonly Moment[] =>
  kind === 'sqlite' ? ['before', 'within', 'unheard'] : ['before', 'unheard'];

/** So many messages were answered, and it dies over the next one. */
interface Point {
  readonly answered: number;
  readonly moment: Moment;
  /** Whether the next one looks at what is stored first; else it begins while the server still works for the dead one. */
  readonly looks: boolean;
}

interface Place {
  readonly database: FaultDatabase;
  readonly random: () => number;
  /** Goes on with what the others leave. */
  readonly heir: Party;
}

interface Death {
  /** Whether it got that far before its deed was done. */
  readonly isThere: boolean;
  /** Whether something was stored that it had no answer to. */
  readonly isStored: boolean;
}

async function dieAt(
  { database, random, heir }: Place,
  victim: Party,
  [where, deed, ends]: Deed,
  { answered, moment, looks }: Point,
): Promise<Death> {
  const job = await victim.ask<{ readonly id: string }>(
    'arrange',
    where === 'nowhere' ? 'waiting' : where,
  );
  if (where === 'nowhere') {
    await victim.ask('sql', 'DELETE FROM jobs');
  }
  const sessions = await victim.ask<readonly number[]>('sessions');
  const done = victim.begin(deed, job).catch(() => undefined);
  await nextOf(victim);
  for (let n = 0; n < answered && !victim.isDone; n += 1) {
    victim.step();
    await nextOf(victim);
  }
  const isThere = !victim.isDone;
  const asks = isThere && moment === 'unheard' && looks;
  const before = asks ? await heir.ask('sql', STORED) : undefined;
  if (!isThere || moment === 'before') {
    await victim.kill();
  } else if (moment === 'unheard') {
    await victim.dieUnheard();
  } else {
    await victim.dieWithin(random() * WITHIN_MS);
  }
  await done;
  let isStored = false;
  if (asks) {
    await forgotten(database, sessions);
    isStored = !isDeepStrictEqual(before, await heir.ask('sql', STORED));
  }
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
    const how = `after ${answered} messages, ${moment} the next one`;
    throw new Error(`${where} × ${deed}, ${how}: ${String(error)}\n${JSON.stringify(rows)}`, {
      cause: error,
    });
  }
  return { isThere, isStored };
}

/** Until it has a message to send, or is done: nobody that is alive holds what it may wait for. */
const nextOf = (victim: Party): Promise<boolean> =>
  until(() => victim.isDone || victim.isWaiting, 'its next message', NEXT_MS);

/** What each of the deeds changes something of. */
const STORED = 'SELECT job_id, status, revision, run_id, lease_until_ms FROM jobs';

/** Until the server has done what it was asked for by a process that is dead, and let go of it. */
async function forgotten({ kind, ask }: FaultDatabase, sessions: readonly number[]): Promise<void> {
  if (kind === 'sqlite') {
    return;
  }
  const [place, id] =
    kind === 'postgres' ? ['pg_stat_activity', 'pid'] : ['information_schema.processlist', 'id'];
  const left = `SELECT 1 FROM ${place} WHERE ${id} IN (${sessions.join(', ')})`;
  await until(async () => (await ask(left)).length === 0, 'the sessions to end', 30_000);
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

/** Kills one process after the other over a job, and has another one go on. */
class Deaths {
  /** Of each deed, how often something was stored that the dead one had no answer to. */
  readonly stored = new Map<string, number>();
  #next: Promise<Party>;

  private constructor(
    private readonly place: Place,
    private readonly start: () => Promise<Party>,
  ) {
    this.#next = start();
  }

  static async over(database: FaultDatabase, random: () => number): Promise<Deaths> {
    const start = (worker: string): Promise<Party> =>
      Party.start(database, { worker, leaseMs: LEASE_MS });
    const heir = await start('b');
    await heir.ask('open');
    return new Deaths({ database, random, heir }, () => start('a'));
  }

  /** One more; the next one boots meanwhile. */
  async one(each: Deed, point: Point): Promise<Death> {
    const victim = await this.#next;
    this.#next = this.start();
    await victim.ask('open');
    const death = await dieAt(this.place, victim, each, point);
    const [, deed] = each;
    this.stored.set(deed, (this.stored.get(deed) ?? 0) + Number(death.isStored));
    return death;
  }

  /** At each moment of each message of a deed; gives how many messages those were. */
  async all(each: Deed, these: readonly Moment[], looks: boolean): Promise<number> {
    for (let answered = 0; answered < MOST_MESSAGES; answered += 1) {
      for (const moment of these) {
        const { isThere } = await this.one(each, { answered, moment, looks });
        if (!isThere) {
          return answered;
        }
      }
    }
    throw new Error(`${each[1]} has more than ${MOST_MESSAGES} messages.`);
  }

  async end(): Promise<void> {
    await (await this.#next).kill();
  }
}

export function testCrashPoints(kind: Kind): void {
  if (!kindsHere.includes(kind)) {
    return;
  }
  it(
    `a process that dies over a job on ${kind}, before any of its messages or while one is not answered, leaves what another one can go on with`,
    async () => {
      const seed = seedOfRun();
      console.log(`${kind}: JOBS_TEST_SEED=${seed}`);
      const random = chance(seed);
      const some = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
      const deaths = await Deaths.over(await createFaultDatabase(kind), random);
      const counts: string[] = [];
      const count = (each: Deed, messages: number): unknown =>
        counts.push(`${each[1]}: ${messages} messages`);
      const looked = isFull ? DEEDS : [some(DEEDS)];
      for (const each of looked) {
        count(each, await deaths.all(each, isFull ? moments(kind) : ['unheard'], true));
      }
      for (const each of Array.from({ length: isFull ? ROUNDS - 1 : 0 }, () => DEEDS).flat()) {
        count(each, await deaths.all(each, moments(kind), false));
      }
      for (let n = 0; n < (isFull ? 0 : SOME); n += 1) {
        const answered = Math.floor(random() * 3);
        const each = some(DEEDS);
        const moment = some(moments(kind));
        const { isThere } = await deaths.one(each, { answered, moment, looks: false });
        counts.push(`${each[1]}: ${isThere ? moment : 'done before'} ${answered}`);
      }
      await deaths.end();
      const stored = [...deaths.stored].map(([deed, times]) => `${deed}: ${times}`);
      console.log(`${kind}, died: ${counts.join(', ')}; stored unheard: ${stored.join(', ')}`);
      for (const [, deed] of looked) {
        expect(deaths.stored.get(deed), `${deed}, stored and not heard`).toBeGreaterThan(0);
      }
    },
    DEADLINE_MS,
  );
}
