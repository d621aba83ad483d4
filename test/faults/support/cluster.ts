import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobsModuleOptions } from '../../../lib/index.js';
import { ChildApplication } from '../../support/children.js';
import { until } from '../../support/waiting.js';
import { violationsOf } from '../checker.js';
import type { Expectations, Note } from '../history.js';
import { rowsOf, type FaultDatabase } from './fault-database.js';
import { journalOf, keepJournal } from './journal.js';

/** One enqueue; the token is in its params, so that it is known again. */
export interface Item {
  readonly token: string;
  readonly keyed: boolean;
  readonly tenant?: string;
  readonly timeout?: number;
  readonly params: {
    readonly ms?: number;
    readonly fails?: number;
    readonly blockMs?: number;
    /** What its handler does instead, see the fixture. */
    readonly how?: string;
    /** The status that it must end with. */
    readonly ends?: string;
  };
}

/** A cluster of applications on one database. */
export interface ClusterPlan {
  readonly database: FaultDatabase;
  readonly workers: number;
  readonly options: JobsModuleOptions;
  /** More TypeORM options of each process: a proxy's address, or that of its own. */
  readonly typeorm?: object | ((at: number) => object);
  /** How wrong the clocks of the processes are, in turn. */
  readonly clockShiftsMs?: readonly number[];
  readonly random: () => number;
}

interface Produced {
  readonly acked: readonly { readonly token: string; readonly id: string }[];
  readonly doubtful: readonly { readonly token: string; readonly code: string }[];
}

const BATCH = 5;
const PRODUCERS = 3;
/** How long a cluster may take to come to rest when nobody disturbs it any more. */
const DRAIN_MS = 180_000;

/** On a machine that is busy with other things. */
const BOOT_MS = 90_000;

/** Processes that enqueue, work and are replaced when they die. */
export class Cluster {
  readonly #plan: ClusterPlan;
  readonly #file: string;
  readonly #startedMs = Date.now();
  readonly #epochMs = epoch();
  readonly #workers: ChildApplication[] = [];
  readonly #acked = new Map<string, string>();
  readonly #deaths: string[] = [];
  #isOver = false;
  kills = 0;

  constructor(plan: ClusterPlan) {
    this.#plan = plan;
    this.#file = path.join(plan.database.folder, 'history.jsonl');
  }

  get acknowledged(): readonly string[] {
    return [...this.#acked.values()];
  }

  async start(): Promise<void> {
    for (let at = 0; at < this.#plan.workers; at += 1) {
      this.#workers[at] = this.#spawn(at);
    }
    await Promise.all(this.#workers.map((worker) => worker.booted(BOOT_MS)));
    await until(() => this.#areTablesThere(), 'the tables', BOOT_MS);
    await keepJournal(this.#plan.database);
  }

  /**
   * Enqueues all items over that time, each once as far as anybody can know, while processes come
   * and go.
   */
  async produce(items: readonly Item[], seconds: number): Promise<void> {
    const left = [...items];
    const everyMs = (seconds * 1000 * PRODUCERS * BATCH) / items.length;
    const produceSome = async (): Promise<void> => {
      while (left.length > 0) {
        const batch = left.splice(0, BATCH);
        await pause(everyMs * this.#plan.random() * 2);
        left.push(...(await this.#produceBatch(batch)));
      }
    };
    await Promise.all(Array.from({ length: PRODUCERS }, produceSome));
  }

  /** Ends a process as a crash does; another one takes its place. */
  async kill(at = Math.floor(this.#plan.random() * this.#workers.length)): Promise<void> {
    const worker = this.#workers[at] as ChildApplication;
    await worker.kill('SIGKILL');
    this.kills += 1;
    this.#bury(worker);
    this.#workers[at] = this.#spawn(at);
  }

  /** Asks for a cancel of a job that was acknowledged, whatever has become of it. */
  async cancelSome(): Promise<void> {
    const ids = this.acknowledged;
    const id = ids[Math.floor(this.#plan.random() * ids.length)];
    const worker = this.#booted();
    if (id !== undefined && worker !== undefined) {
      // Refused, or lost with its process: then it was not granted.
      await worker.call('process', 'cancel', id).catch(() => undefined);
    }
  }

  /** Waits until nothing is left to do, then ends all processes. */
  async rest(): Promise<void> {
    await until(
      async () => {
        this.#replaceDead();
        return (await this.#unfinished()) === 0;
      },
      'the cluster to come to rest',
      DRAIN_MS,
    );
    this.#isOver = true;
    await Promise.all(this.#workers.map((worker) => worker.kill('SIGTERM')));
  }

  /** Everything that is not as promised, in words; empty when nothing is. */
  async judge(expected: Omit<Expectations, 'fromMs' | 'toMs'>): Promise<readonly string[]> {
    const rows = await rowsOf(this.#plan.database);
    const changes = await journalOf(this.#plan.database);
    const window = { fromMs: this.#startedMs, toMs: Date.now() };
    const history = { ...rows, changes, notes: this.notes() };
    return violationsOf(history, { ...window, ...expected }).map(
      ({ rule, text }) => `${rule}: ${text}`,
    );
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

  async #produceBatch(batch: readonly Item[]): Promise<readonly Item[]> {
    const worker = this.#booted();
    if (worker === undefined) {
      this.#replaceDead();
      await pause(20);
      return batch;
    }
    try {
      const { acked, doubtful } = await worker.call<Produced>('process', 'produce', batch);
      for (const { token, id } of acked) {
        this.#acked.set(token, id);
      }
      const again = new Set(doubtful.map(({ token }) => token));
      return batch.filter(({ token, keyed }) => keyed && again.has(token));
    } catch {
      // It died: what it asked for without a key must not be asked for again.
      await until(() => worker.exit !== undefined, 'the end of a process', 60_000);
      const notes = this.notes();
      const asked = new Set(notes.flatMap((note) => (note.what === 'asked' ? [note.token] : [])));
      return batch.filter(({ token, keyed }) => keyed || !asked.has(token));
    }
  }

  #booted(): ChildApplication | undefined {
    const booted = this.#workers.filter(
      (worker) =>
        worker.exit === undefined && worker.messages.some(({ event }) => event === 'ready'),
    );
    return booted[Math.floor(this.#plan.random() * booted.length)];
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
    if (exit?.signal !== 'SIGKILL') {
      this.#deaths.push(
        `${pid} ended by itself (${exit?.code ?? exit?.signal}):\n${output.slice(-2000)}`,
      );
    }
  }

  #spawn(at: number): ChildApplication {
    const { database, options, typeorm, clockShiftsMs = [0] } = this.#plan;
    return ChildApplication.spawn({
      database,
      ...(database.fixtures === undefined ? {} : { fixtures: database.fixtures }),
      options,
      typeorm:
        typeof typeorm === 'function' ? (typeorm as (at: number) => object)(at) : (typeorm ?? {}),
      fixture: {
        history: this.#file,
        epochMs: this.#epochMs,
        clockShiftMs: clockShiftsMs[at % clockShiftsMs.length],
      },
    });
  }

  async #areTablesThere(): Promise<boolean> {
    return this.#unfinished().then(
      () => true,
      () => false,
    );
  }

  async #unfinished(): Promise<number> {
    const [row] = await this.#plan.database.ask(
      `SELECT count(*) AS n FROM jobs WHERE finished_at_ms IS NULL`,
    );
    return Number(row?.['n']);
  }
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
