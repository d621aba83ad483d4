import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobsModuleOptions } from '../../../lib/index.js';
import { ChildApplication } from '../../support/children.js';
import { until } from '../../support/waiting.js';
import { violationsOf } from '../checker.js';
import { figuresOf, type Figure } from '../figures.js';
import type { Expectations, Note } from '../history.js';
import { rowsOf, type FaultDatabase } from './fault-database.js';
import { birthsOf, journalOf, keepJournal } from './journal.js';
import { PROOF, Producer, type Item } from './producer.js';

/** What is done to a cluster, and counted. */
export const FAULTS = [
  'kills',
  'restarts',
  'terminated sessions',
  'broken connections',
  'cuts before an answer',
  'cuts before the answer to a write',
  'copies',
  /** Transactions that read for seconds. */
  'readings',
] as const;
export type Fault = (typeof FAULTS)[number];

/** All that a scenario is measured by. */
export type Count =
  Fault | Figure | 'workers that warned of late renewals' | 'jobs after the last fault';

/** A clock that is wrong, see the fixture. */
export interface WrongClock {
  readonly shiftMs?: number;
  /** 1 is as fast as it should be, 0 stands still. */
  readonly rate?: number;
  readonly zone?: string;
}

/** A cluster of applications on one database. */
export interface ClusterPlan {
  readonly database: FaultDatabase;
  readonly workers: number;
  readonly options: JobsModuleOptions;
  /** More TypeORM options of each process: a proxy's address, or that of its own. */
  readonly typeorm?: object | ((at: number) => object);
  /** How wrong the clocks of the processes are, in turn. */
  readonly clocks?: readonly WrongClock[];
  readonly random: () => number;
  /** One more process, which works on nothing and is never killed: jobs are enqueued also when no worker has booted. */
  readonly hasProducer?: true;
  /** The code by which handlers end their process; else none may end by itself. */
  readonly endsWith?: number;
}

/** How long a cluster may take to come to rest when nobody disturbs it any more. */
const DRAIN_MS = 180_000;

/** How often it is looked whether it has. */
const LOOK_MS = 200;

/** On a machine that is busy with other things. */
const BOOT_MS = 90_000;

const RECENT = 20;

/** Jobs that prove that somebody is at work: so many come so often that all processes are needed. */
const PROOFS = 24;
const PROOF_MS = 400;

/** Processes that enqueue, work and are replaced when they die. */
export class Cluster {
  readonly #plan: ClusterPlan;
  readonly #file: string;
  readonly #startedMs = Date.now();
  readonly #epochMs = epoch();
  readonly #workers: ChildApplication[] = [];
  #enqueuer: ChildApplication | undefined;
  readonly #places = new Map<number, number>();
  readonly #producer: Producer;
  readonly #proofs: Promise<unknown>[] = [];
  readonly #deaths: string[] = [];
  /** What no process should have done. */
  readonly #troubles: string[] = [];
  #figures: Readonly<Partial<Record<Figure, number>>> = {};
  #isOver = false;
  readonly toll: Record<Fault, number>;
  /** How long it took after restarts until all were at work again. */
  readonly revivalsMs: number[] = [];

  constructor(plan: ClusterPlan) {
    this.#plan = plan;
    this.#file = path.join(plan.database.folder, 'history.jsonl');
    this.toll = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
    this.#producer = new Producer(
      {
        any: () => this.#booted(),
        replaceDead: () => this.#replaceDead(),
        notes: () => this.notes(),
      },
      plan.random,
    );
  }

  get acknowledged(): readonly string[] {
    return this.#producer.acknowledged;
  }

  /** Where in the cluster each process has its place, by pid; those that died too. */
  get places(): ReadonlyMap<number, number> {
    return this.#places;
  }

  async start(): Promise<void> {
    for (let at = 0; at < this.#plan.workers; at += 1) {
      this.#workers[at] = this.#spawn(at);
    }
    if (this.#plan.hasProducer === true) {
      this.#enqueuer = this.#child(this.#plan.workers, { role: 'producer' });
    }
    await Promise.all(this.#all.map((child) => child.booted(BOOT_MS)));
    this.#all.forEach((child) => this.#examine(child));
    if (this.#troubles.length > 0) {
      throw new Error(this.#troubles.join('\n'));
    }
    await until(() => this.#areTablesThere(), 'the tables', BOOT_MS);
    await keepJournal(this.#plan.database);
  }

  /** Enqueues all items over that time, or as long as it takes, by so many calls at once. */
  produce(items: readonly Item[], seconds: number, callers = 3): Promise<void> {
    return this.#producer.produce(items, seconds, callers);
  }

  /** Ends a process that is at work as a crash does, if there is one; another one takes its place. */
  async kill(): Promise<void> {
    const victims = this.#workers.filter((each) => each.exit === undefined && isReady(each));
    const worker = victims[Math.floor(this.#plan.random() * victims.length)];
    if (worker === undefined) {
      return;
    }
    const at = this.#workers.indexOf(worker);
    this.toll.kills += 1;
    await worker.kill('SIGKILL');
    this.#bury(worker);
    this.#workers[at] = this.#spawn(at);
  }

  /**
   * Each process calls handlers again, of jobs that were acknowledged since, by so long after that moment: there
   * is work for all of them until then. Nobody is killed meanwhile.
   */
  async revive(sinceMs: number, withinMs: number): Promise<void> {
    const pids = this.#workers.map(({ pid }) => pid);
    for (;;) {
      const firsts = new Map<number, number>();
      const notes = this.notes();
      // What they had claimed before may begin while the server is away.
      const fresh = new Set(
        notes.flatMap((note) => (note.what === 'acked' && note.at > sinceMs ? [note.id] : [])),
      );
      for (const note of notes) {
        if (note.what === 'start' && fresh.has(note.job) && !firsts.has(note.pid)) {
          firsts.set(note.pid, note.at);
        }
      }
      const lateMs = Math.max(...pids.map((pid) => firsts.get(pid) ?? Date.now())) - sinceMs;
      if (lateMs > withinMs) {
        const idle = pids.filter((pid) => !firsts.has(pid)).join(', ');
        throw new Error(
          `Not all processes were at work ${withinMs} ms after a restart${idle === '' ? '' : `; ${idle} were not`}.`,
        );
      }
      if (pids.every((pid) => firsts.has(pid))) {
        this.revivalsMs.push(Math.round(lateMs));
        return;
      }
      const proofs = Array.from({ length: PROOFS }, (_, n) => ({
        token: `${PROOF}${this.#proofs.length}-${n}`,
        keyed: true,
        first: true,
        params: { ms: PROOF_MS },
      }));
      this.#proofs.push(this.#producer.ask(proofs).catch(() => undefined));
      await pause(PROOF_MS);
    }
  }

  /** Asks for a cancel of a job that was acknowledged, whatever has become of it. */
  async cancelSome(): Promise<void> {
    const all = this.acknowledged;
    // Mostly one that may not have ended.
    const ids = this.#plan.random() < 0.8 ? all.slice(-RECENT) : all;
    const id = ids[Math.floor(this.#plan.random() * ids.length)];
    const worker = this.#booted();
    if (id !== undefined && worker !== undefined) {
      // Refused, or lost with its process: then it was not granted.
      await worker.call('process', 'cancel', id).catch(() => undefined);
    }
  }

  /** Waits until nothing is left to do, then ends all processes. */
  async rest(): Promise<void> {
    await Promise.all(this.#proofs);
    await until(
      async () => {
        this.#replaceDead();
        if ((await this.#unfinished()) === 0) {
          return true;
        }
        // Each look has a connection of its own, and takes from those who work.
        await pause(LOOK_MS);
        return false;
      },
      'the cluster to come to rest',
      DRAIN_MS,
    );
    this.#isOver = true;
    this.#all.forEach((child) => this.#examine(child));
    const living = this.#all.filter(({ exit }) => exit === undefined);
    await Promise.all(living.map((child) => child.kill('SIGTERM')));
    living.forEach((child) => this.#examineEnd(child));
  }

  /** Everything that is not as promised, in words; empty when nothing is. */
  async judge(expected: Omit<Expectations, 'fromMs' | 'toMs'>): Promise<readonly string[]> {
    const rows = await rowsOf(this.#plan.database);
    const changes = await journalOf(this.#plan.database);
    const births = await birthsOf(this.#plan.database);
    const history = { ...rows, changes, births, notes: this.notes() };
    const within = { fromMs: this.#startedMs, toMs: Date.now(), ...expected };
    this.#figures = figuresOf(history, within);
    const broken = violationsOf(history, within);
    return [...this.#troubles, ...broken.map(({ rule, text }) => `${rule}: ${text}`)];
  }

  /** What was done to it, and what came of that; the latter is known when it was judged. */
  get counts(): Readonly<Partial<Record<Count, number>>> {
    const warned = this.#workers.filter(({ output }) => output.includes('Leases were renewed'));
    return {
      ...this.toll,
      ...this.#figures,
      'workers that warned of late renewals': warned.length,
    };
  }

  /** What the processes wrote down. */
  notes(): readonly Note[] {
    const text = existsSync(this.#file) ? readFileSync(this.#file, 'utf8') : '';
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Note);
  }

  /** What the processes said, the last of each. */
  story(): string {
    const said = this.#workers.map((worker) => worker.output.slice(-2000));
    return [...this.#deaths.slice(-5), ...said].join('\n---\n');
  }

  #booted(): ChildApplication | undefined {
    const booted = this.#workers.filter((worker) => worker.exit === undefined && isReady(worker));
    return booted[Math.floor(this.#plan.random() * booted.length)] ?? this.#enqueuer;
  }

  get #all(): readonly ChildApplication[] {
    return this.#enqueuer === undefined ? this.#workers : [...this.#workers, this.#enqueuer];
  }

  #replaceDead(): void {
    for (const [at, worker] of this.#workers.entries()) {
      if (worker.exit !== undefined && !this.#isOver) {
        this.#bury(worker);
        this.#workers[at] = this.#spawn(at);
      }
    }
  }

  #bury(worker: ChildApplication): void {
    const { pid, exit, output } = worker;
    const died: Note = { what: 'died', pid, at: exit?.at ?? Date.now() };
    appendFileSync(this.#file, `${JSON.stringify(died)}\n`);
    this.#examine(worker);
    if (exit?.signal !== 'SIGKILL') {
      this.#deaths.push(
        `${pid} ended by itself (${exit?.code ?? exit?.signal}):\n${output.slice(-2000)}`,
      );
    }
  }

  /** Nobody may be refused when it boots, or end by itself unless a handler has it do so. */
  #examine({ pid, exit, messages, output }: ChildApplication): void {
    const refused = messages.find(({ event }) => event === 'refused');
    if (refused !== undefined) {
      this.#troubles.push(
        `process ${pid} was refused when it booted: ${refused.code ?? ''} ${refused.message ?? ''}`,
      );
    } else if (exit !== undefined && exit.signal !== 'SIGKILL') {
      if (exit.code === null || exit.code !== this.#plan.endsWith) {
        this.#troubles.push(
          `process ${pid} ended by itself (${exit.code ?? exit.signal}): ${output.slice(-500)}`,
        );
      }
    }
  }

  /** Whoever is told to end does so in order, unless a handler whose run was lost is quicker. */
  #examineEnd({ pid, exit, output }: ChildApplication): void {
    const isInOrder = exit?.signal === 'SIGTERM' || exit?.code === 0;
    if (!isInOrder && (exit?.code === undefined || exit.code !== this.#plan.endsWith)) {
      this.#troubles.push(
        `process ${pid} was told to end, and did so by ${exit?.code ?? exit?.signal}: ${output.slice(-500)}`,
      );
    }
  }

  #spawn(at: number): ChildApplication {
    const child = this.#child(at);
    this.#places.set(child.pid, at);
    return child;
  }

  #child(at: number, more: JobsModuleOptions = {}): ChildApplication {
    const { database, options, typeorm, clocks = [] } = this.#plan;
    return ChildApplication.spawn({
      database,
      ...(database.fixtures === undefined ? {} : { fixtures: database.fixtures }),
      options: { ...options, ...more },
      typeorm:
        typeof typeorm === 'function' ? (typeorm as (at: number) => object)(at) : (typeorm ?? {}),
      fixture: {
        history: this.#file,
        epochMs: this.#epochMs,
        clock: clocks[at % clocks.length],
      },
    });
  }

  async #areTablesThere(): Promise<boolean> {
    return this.#unfinished().then(
      () => true,
      () => pause(LOOK_MS, false),
    );
  }

  async #unfinished(): Promise<number> {
    const [row] = await this.#plan.database.ask(
      `SELECT count(*) AS n FROM jobs WHERE finished_at_ms IS NULL`,
    );
    return Number(row?.['n']);
  }
}

function isReady({ messages }: ChildApplication): boolean {
  return messages.some(({ event }) => event === 'ready');
}

/**
 * When the machine's monotonic clock began to count, which is the same for all its processes. `Date`
 * counts whole milliseconds, and a process may be put aside between two looks: the last of many is right.
 */
function epoch(): number {
  const looks = Array.from(
    { length: 200 },
    () => Date.now() - Number(process.hrtime.bigint()) / 1e6,
  );
  return Math.max(...looks);
}
