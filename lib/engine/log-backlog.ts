import type { LogLine, RunLines, Store } from '../store/store.js';
import type { EngineLogger } from './engine-options.js';

/** One batch, which bounds how long its statement holds the write lock. */
const BATCH_LINES = 1000;
const BATCH_BYTES = 512 * 1024;
/** Above this no further handler is started, and a handler that awaits a write of its own waits. */
const FULL_BYTES = 8 * 1024 * 1024;
/** Above this lines are left out and counted. */
const MOST_BYTES = 64 * 1024 * 1024;
/** What a line takes in memory besides its text. */
const LINE_BYTES = 100;

const WARN = 3;

/** The lines of one run that wait to be written. */
export interface PendingLines {
  readonly seq: number;
  readonly runId: string;
  readonly jobId: string;
  readonly type: string;
  lines: LogLine[];
  /** Lines that a transaction of the handler, which has the lock, keeps back until its end. */
  held: LogLine[];
  /** How many lines were left out since the last one that waits. */
  leftOut: number;
  /** Whether what is logged now is held. */
  isHeld: boolean;
  isReported: boolean;
  /** Who waits for the last of them to be handed to the writer. */
  waiting: (() => void)[];
}

/**
 * The log lines of this process on their way to the database: a batch at a time, so that a flood
 * neither holds the lock for long nor keeps other writes waiting.
 *
 * A batch ranks before what ends runs: whoever writes the end of a run after its last line was
 * handed over finds that line in the same transaction or an earlier one.
 */
export class LogBacklog {
  readonly #store: Store;
  readonly #logger: EngineLogger;
  readonly #hasRoom: () => void;
  /** Runs with lines. Those that have ended go first, because their ends wait for them. */
  readonly #ended = new Set<PendingLines>();
  readonly #running = new Set<PendingLines>();
  #flight: { readonly done: Promise<void>; readonly runs: readonly PendingLines[] } | undefined;
  #isScheduled = false;
  #bytes = 0;
  #wasFull = false;

  constructor(store: Store, logger: EngineLogger, hasRoom: () => void) {
    this.#store = store;
    this.#logger = logger;
    this.#hasRoom = hasRoom;
  }

  /** Whether so much waits that nothing should be started that may log more. */
  get isFull(): boolean {
    return this.#bytes > FULL_BYTES;
  }

  /** Adds a line, or counts it when there is no room; false then. */
  add(run: PendingLines, line: LogLine): boolean {
    if (this.#bytes > (run.leftOut > 0 ? FULL_BYTES : MOST_BYTES)) {
      this.#leaveOut(run);
      return false;
    }
    this.#noteGap(run, line[0]);
    this.#push(line, current(run));
    if (!run.isHeld) {
      this.#running.add(run);
      this.#schedule();
    }
    return true;
  }

  /** The run writes no more. Resolves when its last line is ahead of what is written from then on. */
  end(run: PendingLines, nowMs: number): Promise<void> | undefined {
    this.#noteGap(run, nowMs);
    this.#unhold(run, 0);
    if (run.lines.length === 0) {
      return undefined;
    }
    this.#running.delete(run);
    this.#ended.add(run);
    return this.#handedOver(run);
  }

  /** Slows down a run that logs faster than its lines are written; undefined when it need not wait. */
  room(run: PendingLines): Promise<void> | undefined {
    return this.isFull && run.lines.length > 0 && !run.isHeld ? this.#handedOver(run) : undefined;
  }

  /** Stores what the run has logged so far, and keeps back what it logs from the call on. */
  async hold(run: PendingLines): Promise<void> {
    run.isHeld = true;
    while (run.lines.length > 0 || this.#flight?.runs.includes(run) === true) {
      this.#handOver();
      await this.#flight?.done;
    }
  }

  /** Lets the lines of a run go on, less those that were stored elsewhere. */
  release(run: PendingLines, stored: number): void {
    if (this.#unhold(run, stored)) {
      this.#running.add(run);
      this.#schedule();
    }
  }

  /** Leaves out all that waits, for an end that cannot wait any longer; each log says how much. */
  giveUp(nowMs: number): void {
    let lines = 0;
    for (const run of [...this.#ended, ...this.#running]) {
      lines += run.lines.length;
      run.leftOut += run.lines.length;
      this.#forget(run.lines.splice(0));
      this.#noteGap(run, nowMs, run.lines);
    }
    if (lines > 0) {
      this.#logger.warn(
        `${lines} log lines could not be written in the time that the shutdown has; their jobs' logs say how many are missing.`,
      );
      this.#schedule();
    }
  }

  /** Whether there were lines to let go. */
  #unhold(run: PendingLines, stored: number): boolean {
    const { held } = run;
    run.isHeld = false;
    run.held = [];
    this.#forget(held.splice(0, stored));
    run.lines = run.lines.concat(held);
    return held.length > 0;
  }

  #handedOver(run: PendingLines): Promise<void> {
    this.#schedule();
    return new Promise((resolve) => run.waiting.push(resolve));
  }

  #leaveOut(run: PendingLines): void {
    run.leftOut += 1;
    if (!run.isReported) {
      run.isReported = true;
      this.#logger.warn(
        `Job ${run.jobId} (${run.type}) logs faster than the database takes it; lines are left out, and its log says how many.`,
      );
    }
  }

  #noteGap(run: PendingLines, nowMs: number, into = current(run)): void {
    if (run.leftOut > 0) {
      const text = `${run.leftOut} lines were left out here: more was logged than could be written.`;
      run.leftOut = 0;
      this.#push([nowMs, WARN, text, null], into);
    }
  }

  #push(line: LogLine, into: LogLine[]): void {
    into.push(line);
    this.#bytes += sizeOf(line);
    this.#wasFull ||= this.isFull;
  }

  #forget(lines: readonly LogLine[]): void {
    for (const line of lines) {
      this.#bytes -= sizeOf(line);
    }
  }

  #schedule(): void {
    if (!this.#isScheduled && this.#flight === undefined) {
      this.#isScheduled = true;
      // Whatever handlers log, and whichever end, in this turn goes together.
      queueMicrotask(() => {
        this.#isScheduled = false;
        this.#handOver();
      });
    }
  }

  #handOver(): void {
    if (this.#flight !== undefined) {
      return;
    }
    const batch: RunLines[] = [];
    const runs: PendingLines[] = [];
    const room = { lines: BATCH_LINES, bytes: BATCH_BYTES };
    for (const set of [this.#ended, this.#running]) {
      for (const run of set) {
        if (room.lines <= 0 || room.bytes <= 0) {
          break;
        }
        batch.push({ seq: run.seq, runId: run.runId, lines: this.#take(run, room) });
        runs.push(run);
        set.delete(run);
        if (run.lines.length > 0) {
          // Behind the others: one that floods lets everybody have their turn.
          set.add(run);
        }
      }
    }
    if (batch.length === 0) {
      return;
    }
    this.#flight = { runs, done: this.#write(batch, runs) };
    for (const run of runs) {
      if (run.lines.length === 0 && run.waiting.length > 0) {
        const waiting = run.waiting;
        run.waiting = [];
        waiting.forEach((resolve) => resolve());
      }
    }
  }

  #take(run: PendingLines, room: { lines: number; bytes: number }): readonly LogLine[] {
    let count = 0;
    while (count < run.lines.length && room.lines > 0 && room.bytes > 0) {
      // The loop's condition holds the index within the array.
      room.bytes -= sizeOf(run.lines[count] as LogLine);
      room.lines -= 1;
      count += 1;
    }
    return run.lines.splice(0, count);
  }

  async #write(batch: readonly RunLines[], runs: readonly PendingLines[]): Promise<void> {
    try {
      await this.#store.history.log(batch);
    } catch (error) {
      this.#lost(batch, runs, error);
    }
    for (const { lines } of batch) {
      this.#forget(lines);
    }
    this.#flight = undefined;
    this.#handOver();
    if (this.#wasFull && !this.isFull) {
      this.#wasFull = false;
      this.#hasRoom();
    }
  }

  #lost(batch: readonly RunLines[], runs: readonly PendingLines[], error: unknown): void {
    if (runs.every((run) => run.isReported)) {
      return;
    }
    for (const run of runs) {
      run.isReported = true;
    }
    const lines = batch.reduce((sum, each) => sum + each.lines.length, 0);
    this.#logger.error(
      `${lines} log lines of ${runs.length} jobs, the first of them ${runs[0]?.jobId ?? '?'}, were lost: ${String(error)}`,
    );
  }
}

function current(run: PendingLines): LogLine[] {
  return run.isHeld ? run.held : run.lines;
}

function sizeOf([, , message, fields]: LogLine): number {
  return LINE_BYTES + message.length + (fields === null ? 0 : fields.length);
}
