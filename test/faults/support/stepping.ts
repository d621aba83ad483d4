import { isDeepStrictEqual } from 'node:util';
import type { FaultDatabase } from './fault-database.js';
import type { Party } from './party.js';

/** A message that is not answered so soon perhaps waits for a lock, and the server is asked. */
const LOOK_AFTER_MS = 5;
const DEADLINE_MS = 20_000;

/** How often the turns of a plan are taken before its order is left out. */
const TRIES = 3;
/** Of one meeting: else nearly all of it would be chance. */
const MOST_LEFT_OUT = 100;

/** How one run through went: at each fork who went first, and what each of them would have said. */
interface Fork {
  readonly chosen: number;
  readonly between: readonly string[];
}

/** Who goes next at the nth fork, of so many. */
type Choose = (fork: number, of: number) => number;

/** How many orders were gone through, and how many could not be had again in as many tries. */
export interface Orders {
  readonly tried: number;
  readonly leftOut: number;
}

/**
 * Runs two pieces of work in every order of their messages: each time it begins anew, takes the turns of
 * the last time up to the last fork with another way, and that way there. Some forks are chance: who waits for a lock
 * of a server is found by looking, and who is slow asks for the time once more. One that does not come again is left
 * out, and what comes in its place is gone through.
 */
export async function everyOrder(
  database: FaultDatabase,
  parties: readonly [Party, Party],
  once: (turns: () => Promise<void>) => Promise<void>,
): Promise<Orders> {
  let plan: readonly Fork[] = [];
  for (let tried = 0, leftOut = 0; ;) {
    let forks: readonly Fork[] = [];
    let differs = 0;
    for (let n = 0; n < TRIES && differs >= 0; n += 1) {
      const choose: Choose = (fork) => plan[fork]?.chosen ?? 0;
      await once(async () => {
        forks = await takeTurns(database, parties, choose);
      });
      differs = plan.findIndex((fork, at) => !isDeepStrictEqual(fork, forks[at]));
    }
    if (differs >= 0) {
      leftOut += 1;
      if (leftOut > MOST_LEFT_OUT) {
        throw new Error(`${leftOut} orders of ${tried + leftOut} could not be had again.`);
      }
      plan = plan.slice(0, differs);
      continue;
    }
    tried += 1;
    const last = forks.findLastIndex(({ chosen, between }) => chosen + 1 < between.length);
    const fork = forks[last];
    if (fork === undefined) {
      return { tried, leftOut };
    }
    plan = [...forks.slice(0, last), { ...fork, chosen: fork.chosen + 1 }];
  }
}

/** The same in so many orders, chosen by chance. */
export async function someOrders(
  database: FaultDatabase,
  parties: readonly [Party, Party],
  { most, random }: { readonly most: number; readonly random: () => number },
  once: (turns: () => Promise<void>) => Promise<void>,
): Promise<Orders> {
  const choose: Choose = (_, of) => Math.floor(random() * of);
  for (let count = 0; count < most; count += 1) {
    await once(async () => void (await takeTurns(database, parties, choose)));
  }
  return { tried: most, leftOut: 0 };
}

async function takeTurns(
  database: FaultDatabase,
  parties: readonly [Party, Party],
  choose: Choose,
): Promise<readonly Fork[]> {
  const forks: Fork[] = [];
  const end = performance.now() + DEADLINE_MS;
  await Promise.all(parties.map((party) => settled(database, party)));
  while (!parties.every((party) => party.isDone)) {
    const ready = parties.filter((party) => mayGo(party, parties));
    const chosen =
      ready.length > 1 ? Math.min(choose(forks.length, ready.length), ready.length - 1) : 0;
    if (ready.length > 1) {
      forks.push({ chosen, between: ready.map(({ next }) => withoutValues(next)) });
    }
    const next = ready[chosen];
    if (next === undefined) {
      // Both wait for a lock, or for the time until they try again.
      await Promise.race(parties.map((party) => party.change(LOOK_AFTER_MS)));
    } else {
      const wasLocked = parties.some((party) => party !== next && party.holdsLock);
      const { next: text } = next;
      next.step();
      noteRefusal(next, text, parties);
      await settled(database, next);
      noteLock(next, text, wasLocked, parties);
    }
    if (performance.now() > end) {
      throw new Error(
        `Nothing goes on: ${JSON.stringify(parties.map(({ said, isDone }) => ({ isDone, said })))}`,
      );
    }
  }
  return forks;
}

/** A message to MySQL has its values in it, which differ from one time to the next. */
function withoutValues(text: string): string {
  return text.replaceAll(/'(?:[^'\\]|\\.|'')*'|\b\d+\b/g, '?');
}

/**
 * Whoever was refused by SQLite's lock, or a row's on a server, tries again and again: once is enough until the lock is
 * free, and else there would be no end of orders.
 */
function mayGo(party: Party, parties: readonly Party[]): boolean {
  const isLocked = parties.some(
    (other) => other !== party && (party.kind === 'sqlite' ? other.holdsLock : !other.isDone),
  );
  return party.isWaiting && !(isLocked && party.wasRefused && party.next.startsWith('BEGIN'));
}

/** Who rolls back on a server did not get a row, which the other one lets go of at the end of its transaction. */
function noteRefusal(party: Party, text: string, parties: readonly Party[]): void {
  if (party.kind === 'sqlite' || !/^(COMMIT|ROLLBACK)/.test(text)) {
    return;
  }
  for (const each of parties) {
    each.wasRefused = each === party && text.startsWith('ROLLBACK');
  }
}

function noteLock(party: Party, text: string, wasLocked: boolean, parties: readonly Party[]): void {
  if (party.kind !== 'sqlite') {
    return;
  }
  if (text.startsWith('BEGIN')) {
    party.holdsLock = !wasLocked;
    party.wasRefused = wasLocked;
  } else if (/^(COMMIT|ROLLBACK)/.test(text) && party.holdsLock) {
    party.holdsLock = false;
    for (const each of parties) {
      each.wasRefused = false;
    }
  }
}

/**
 * Until it is done, has something to say, waits for a lock, or has put off what it does. Who was refused by a lock has
 * always put it off for a moment, and is waited for: else it would be chance whether it comes before the other one's
 * next message.
 */
export async function settled(database: FaultDatabase, party: Party): Promise<void> {
  while (!party.isDone && !party.isWaiting) {
    if (party.isUnderWay) {
      await party.change(LOOK_AFTER_MS);
      if (party.isUnderWay && (await waitsForLock(database, party))) {
        return;
      }
    } else if (party.kind === 'sqlite' || party.wasRefused) {
      await party.change(LOOK_AFTER_MS);
    } else {
      await party.look();
      if (!party.isUnderWay) {
        return;
      }
    }
  }
}

async function waitsForLock({ kind, ask }: FaultDatabase, party: Party): Promise<boolean> {
  if (kind === 'sqlite') {
    // It is told at once.
    return false;
  }
  const sessions = await party.ask<readonly number[]>('sessions');
  if (kind === 'postgres') {
    const rows = await ask(
      `SELECT 1 FROM pg_stat_activity WHERE pid IN (${sessions.join(', ')}) AND wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  }
  // Tables of transactions are made anew only for who has not read them for a tenth of a second; this is as it is now.
  const [row] = await ask('SHOW ENGINE INNODB STATUS');
  const [, present = ''] = String(row?.['Status']).split('\nTRANSACTIONS\n');
  return present.split('---TRANSACTION').some((each) => {
    const [, id] = /thread id (\d+),/.exec(each) ?? [];
    return each.includes('\nLOCK WAIT') && sessions.includes(Number(id));
  });
}
