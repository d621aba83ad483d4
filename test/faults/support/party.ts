import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { QUICK } from '../../support/boot.js';
import { closeLater } from '../../support/cleanup.js';
import { until } from '../../support/waiting.js';
import type { FaultDatabase } from './fault-database.js';

const FIXTURE = path.resolve('test/faults/fixtures/stepped.mjs');
const BOOT_MS = 60_000;

interface Said {
  readonly event?: 'ready' | 'waits' | 'sent' | 'answered';
  readonly text?: string;
  readonly n?: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** Orders what all parties do. */
let moment = 0;

/**
 * A process that uses the database beside others: every message of its engine waits for its turn. With a
 * synchronous driver the whole process waits, in the middle of its transaction.
 */
export class Party {
  readonly kind: FaultDatabase['kind'];
  readonly said: string[] = [];
  /** When each of its messages went off, and when it was done. */
  readonly steppedAt: number[] = [];
  doneAt = 0;
  isDone = true;
  /** Whether it has a transaction open that locks all others out, as SQLite's do. */
  holdsLock = false;
  /** Whether it was told so by a lock that is still held. */
  wasRefused = false;
  readonly #child: ChildProcess;
  readonly #pipe: Duplex;
  readonly #calls = new Map<number, (said: Said) => void>();
  readonly #waiting: string[] = [];
  #isReady = false;
  #underWay = 0;
  #sent = 0;
  #count = 0;
  #output = '';
  #changed: () => void = () => undefined;

  private constructor(kind: FaultDatabase['kind'], child: ChildProcess) {
    this.kind = kind;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    }
    this.#pipe = child.stdio[4] as Duplex;
    const lines = createInterface(this.#pipe);
    lines.on('line', (line) => this.#hear(JSON.parse(line) as Said));
    for (const each of [this.#pipe, lines, child]) {
      // It was killed with something unread.
      each.on('error', () => undefined);
    }
    child.on('exit', () => {
      for (const answer of this.#calls.values()) {
        answer({ error: this.#farewell });
      }
      this.#changed();
    });
  }

  static async start(
    database: FaultDatabase,
    { worker, leaseMs }: { readonly worker: string; readonly leaseMs: number },
  ): Promise<Party> {
    const { kind } = database;
    const plan = { kind, typeorm: database.options(), options: QUICK, leaseMs, worker };
    const child = spawn(process.execPath, [FIXTURE, JSON.stringify(plan)], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
    const party = new Party(kind, child);
    closeLater(() => party.kill(), 'test');
    await until(() => party.#isReady || child.exitCode !== null, 'a party to boot', BOOT_MS);
    return party;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** What it would say next. */
  get next(): string {
    return this.#waiting[0] ?? '';
  }

  get isUnderWay(): boolean {
    return this.#underWay > 0;
  }

  /** Has it do something that is not stepped, and gives the answer. */
  async ask<T>(command: string, ...args: readonly unknown[]): Promise<T> {
    const n = (this.#count += 1);
    const answer = new Promise<Said>((resolve) => this.#calls.set(n, resolve));
    if (this.#hasEnded) {
      throw new Error(this.#farewell);
    }
    this.#child.send({ n, command, args });
    const { value, error } = await answer;
    if (error !== undefined) {
      throw new Error(error);
    }
    return value as T;
  }

  /** Begins a deed that is stepped from here on. */
  begin(deed: string, job: unknown): Promise<unknown> {
    this.isDone = false;
    this.wasRefused = false;
    this.said.length = 0;
    this.steppedAt.length = 0;
    this.#sent = 0;
    return this.ask('act', deed, job).finally(() => {
      this.isDone = true;
      this.doneAt = moment += 1;
      this.#changed();
    });
  }

  /** Lets the next message go to the database; the last one is sent, and its answer never heard. */
  step({ isLast = false }: { readonly isLast?: boolean } = {}): void {
    const text = this.#waiting.shift();
    if (text === undefined) {
      throw new Error('It has nothing to say.');
    }
    this.#underWay += 1;
    this.steppedAt.push((moment += 1));
    this.said.push(text.replaceAll(/\s+/g, ' ').slice(0, 60));
    if (this.kind === 'sqlite') {
      this.#pipe.write(isLast ? '!' : '.');
    } else {
      this.#child.send({ command: 'go', isLast });
    }
  }

  /** Lets the next message go, and dies before it has heard what became of it. */
  async dieUnheard(): Promise<void> {
    this.step({ isLast: true });
    await this.#ended();
  }

  /** Lets the next message go, and is killed so long after it has begun to send it. */
  async dieWithin(ms: number): Promise<void> {
    const { length } = this.steppedAt;
    this.step();
    while (this.#sent <= length && !this.isDone) {
      await this.change(BOOT_MS);
    }
    const end = performance.now() + ms;
    while (performance.now() < end) {
      // Shorter than any timer.
    }
    await this.kill();
  }

  /** Resolves when something has happened to it, or after so long. */
  async change(ms: number): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => (this.#changed = resolve)), pause(ms)]);
  }

  /** Resolves when what goes on by itself has gone on; or it waits, and may be unable to answer. */
  async look(): Promise<void> {
    await Promise.race([
      this.ask('look'),
      new Promise<void>((resolve) => (this.#changed = resolve)),
    ]);
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended();
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  get #farewell(): string {
    return `It ended: ${this.#output}`;
  }

  async #ended(): Promise<void> {
    if (!this.#hasEnded) {
      await new Promise((resolve) => this.#child.once('exit', resolve));
    }
  }

  #hear(said: Said): void {
    if (said.event === 'ready') {
      this.#isReady = true;
    } else if (said.event === 'waits') {
      this.#waiting.push(said.text ?? '');
    } else if (said.event === 'sent') {
      this.#sent += 1;
    } else if (said.event === 'answered') {
      this.#underWay -= 1;
    } else if (said.n !== undefined) {
      this.#calls.get(said.n)?.(said);
      this.#calls.delete(said.n);
    }
    this.#changed();
  }
}
