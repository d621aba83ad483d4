import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';
import type { FaultDatabase } from './fault-database.js';

/** What others do in the background is none of the steps: hints, and looks for paused queues. */
const IN_THE_BACKGROUND = /pg_notify|LISTEN|paused = 1$/;
/** A message that is not answered so soon perhaps waits for a lock, and the server is asked. */
const LOOK_AFTER_MS = 5;
const DEADLINE_MS = 20_000;

interface Message {
  readonly text: string;
  readonly go: () => void;
}

/** Orders what all parties do. */
let moment = 0;

/** One of those who use the database at once: every message of its engine waits here for its turn. */
export class Party {
  /** Numbers of its sessions at the server. */
  readonly sessions = new Set<() => number>();
  readonly said: string[] = [];
  /** When each of its messages went off, and when it was done. */
  readonly steppedAt: number[] = [];
  doneAt = 0;
  #isStepped = false;
  #underWay = 0;
  #waiting: Message[] = [];
  #isDone = true;
  #changed: () => void = () => undefined;

  /** TypeORM's option `driver`: the package, with connections that wait for their turn. */
  driver(kind: 'postgres' | 'mariadb'): object {
    return kind === 'postgres' ? gatedPg(this) : gatedMysql(this);
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get isUnderWay(): boolean {
    return this.#underWay > 0;
  }

  /** Begins work that is stepped from here on. */
  begin<T>(work: () => Promise<T>): Promise<T> {
    this.#isStepped = true;
    this.#isDone = false;
    this.said.length = 0;
    this.steppedAt.length = 0;
    return work().finally(() => {
      this.#isDone = true;
      this.#isStepped = false;
      this.doneAt = moment += 1;
      this.#changed();
    });
  }

  /** Lets the next message go to the server. */
  step(): void {
    const message = this.#waiting.shift();
    if (message !== undefined) {
      this.steppedAt.push((moment += 1));
      this.said.push(message.text.replaceAll(/\s+/g, ' ').slice(0, 60));
      message.go();
    }
  }

  async send<T>(text: string, query: () => Promise<T>): Promise<T> {
    if (!this.#isStepped || IN_THE_BACKGROUND.test(text)) {
      return query();
    }
    await new Promise<void>((go) => {
      this.#waiting.push({ text, go });
      this.#changed();
    });
    this.#underWay += 1;
    try {
      return await query();
    } finally {
      this.#underWay -= 1;
      this.#changed();
    }
  }

  /** Resolves at the next change, or after so long. */
  async change(ms: number): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => (this.#changed = resolve)), pause(ms)]);
  }
}

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
    const ready = parties.filter((party) => party.isWaiting);
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
      next.step();
      await settled(database, next);
    }
    if (performance.now() > end) {
      throw new Error(
        `Nothing goes on: ${JSON.stringify(parties.map(({ said, isDone }) => ({ isDone, said })))}`,
      );
    }
  }
  return forks;
}

/** Until it is done, has something to say, waits for a lock, or has put off what it does. */
async function settled(database: FaultDatabase, party: Party): Promise<void> {
  while (!party.isDone && !party.isWaiting) {
    if (party.isUnderWay) {
      await party.change(LOOK_AFTER_MS);
      if (party.isUnderWay && (await waitsForLock(database, party))) {
        return;
      }
    } else {
      for (let turns = 0; turns < 4 && !party.isDone && !party.isWaiting; turns += 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (!party.isUnderWay) {
        return;
      }
    }
  }
}

async function waitsForLock({ kind, ask }: FaultDatabase, party: Party): Promise<boolean> {
  const sessions = [...party.sessions].map((session) => session()).join(', ');
  const rows = await ask(
    kind === 'postgres'
      ? `SELECT 1 FROM pg_stat_activity WHERE pid IN (${sessions}) AND wait_event_type = 'Lock'`
      : `SELECT 1 FROM information_schema.innodb_trx WHERE trx_mysql_thread_id IN (${sessions}) AND trx_state = 'LOCK WAIT'`,
  );
  return rows.length > 0;
}

interface PgClient {
  readonly processID?: number;
  query(config: { readonly text: string }): Promise<unknown>;
}

interface MysqlClient {
  readonly threadId?: number;
  query(options: { readonly sql: string }, done: (...answer: unknown[]) => void): unknown;
}

const require = createRequire(import.meta.url);

function gatedPg(party: Party): object {
  const pg = require('pg') as { readonly Client: new (config: object) => PgClient };
  class Client extends pg.Client {
    constructor(config: object) {
      super(config);
      party.sessions.add(() => this.processID ?? 0);
    }
    override query(config: { readonly text: string }): Promise<unknown> {
      return party.send(config.text, () => super.query(config));
    }
  }
  return Object.assign(Object.create(pg) as object, { Client });
}

function gatedMysql(party: Party): object {
  const mysql = require('mysql2') as { createConnection(options: object): MysqlClient };
  const createConnection = (options: object): MysqlClient => {
    const client = mysql.createConnection(options);
    party.sessions.add(() => client.threadId ?? 0);
    const query = client.query.bind(client);
    client.query = (said, done) =>
      void party.send(
        said.sql,
        () =>
          new Promise<void>((resolve) => {
            query(said, (...answer) => {
              resolve();
              done(...answer);
            });
          }),
      );
    return client;
  };
  return Object.assign(Object.create(mysql) as object, { createConnection });
}
