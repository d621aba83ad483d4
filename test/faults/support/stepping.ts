import type { FaultDatabase } from './fault-database.js';
import type { Party } from './party.js';

/** A message that is not answered so soon perhaps waits for a lock, and the server is asked. */
const LOOK_AFTER_MS = 5;
const DEADLINE_MS = 20_000;

/** How one run through went: at each fork who went first, of how many. */
interface Fork {
  readonly chosen: number;
  readonly of: number;
}

/** Who goes next at the nth fork, of so many. */
type Choose = (fork: number, of: number) => number;

/**
 * Runs two pieces of work in every order of their messages: each time it begins anew, takes the turns of
 * the last time up to the last fork with another way, and that way there.
 */
export async function everyOrder(
  database: FaultDatabase,
  parties: readonly [Party, Party],
  once: (turns: () => Promise<void>) => Promise<void>,
): Promise<number> {
  let plan: readonly number[] = [];
  for (let count = 1; ; count += 1) {
    let forks: readonly Fork[] = [];
    const choose: Choose = (fork) => plan[fork] ?? 0;
    await once(async () => {
      forks = await takeTurns(database, parties, choose);
    });
    const last = forks.findLastIndex(({ chosen, of }) => chosen + 1 < of);
    if (last < 0) {
      return count;
    }
    plan = [...forks.slice(0, last).map(({ chosen }) => chosen), (forks[last]?.chosen ?? 0) + 1];
  }
}

/** The same in so many orders, chosen by chance. */
export async function someOrders(
  database: FaultDatabase,
  parties: readonly [Party, Party],
  { most, random }: { readonly most: number; readonly random: () => number },
  once: (turns: () => Promise<void>) => Promise<void>,
): Promise<number> {
  const choose: Choose = (_, of) => Math.floor(random() * of);
  for (let count = 0; count < most; count += 1) {
    await once(async () => void (await takeTurns(database, parties, choose)));
  }
  return most;
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
      forks.push({ chosen, of: ready.length });
    }
    const next = ready[chosen];
    if (next === undefined) {
      // Both wait for a lock, or for the time until they try again.
      await Promise.race(parties.map((party) => party.change(LOOK_AFTER_MS)));
    } else {
      const wasLocked = parties.some((party) => party !== next && party.holdsLock);
      const { next: text } = next;
      next.step();
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

/**
 * Whoever was refused by SQLite's lock tries again and again: once is enough until the lock is free, and
 * else there would be no end of orders.
 */
function mayGo(party: Party, parties: readonly Party[]): boolean {
  const isLocked = parties.some((other) => other !== party && other.holdsLock);
  return party.isWaiting && !(isLocked && party.wasRefused && party.next.startsWith('BEGIN'));
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

/** Until it is done, has something to say, waits for a lock, or has put off what it does. */
export async function settled(database: FaultDatabase, party: Party): Promise<void> {
  while (!party.isDone && !party.isWaiting) {
    if (party.isUnderWay) {
      await party.change(LOOK_AFTER_MS);
      if (party.isUnderWay && (await waitsForLock(database, party))) {
        return;
      }
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
  const sessions = (await party.ask<readonly number[]>('sessions')).join(', ');
  const rows = await ask(
    kind === 'postgres'
      ? `SELECT 1 FROM pg_stat_activity WHERE pid IN (${sessions}) AND wait_event_type = 'Lock'`
      : `SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id IN (${sessions}) AND trx_state = 'LOCK WAIT'`,
  );
  return rows.length > 0;
}
