import { defer, filter, map, startWith, Subject, type Observable } from 'rxjs';
import type { JobEntity } from '../entities/job.entity.js';
import type { JobEvent, JobProgressEvent } from '../model/job.js';
import { ClaimBuffer, type HeldJob } from './claim-buffer.js';
import type { EngineParts } from './engine-parts.js';
import { Execution, type ExecutionHost } from './execution.js';
import { comesBack, FailedJobs } from './failed-jobs.js';
import { QueueLimits } from './queue-limits.js';
import { Slots } from './slots.js';
import { StartMarks } from './start-marks.js';

/** The most jobs claimed ahead of the handlers. */
const LONGEST_BUFFER = 500;
/** Only queues whose runs are shorter than this claim ahead. */
const FAST_RUN_MS = 100;
/** The buffer holds about so much work. */
const BUFFER_MS = 200;
/** Runs that ended but are not stored yet, beyond which no handler is started. */
const MOST_UNSTORED = 2000;

/** One queue of this worker: takes jobs, holds them ready, and keeps its handlers at capacity. */
export class QueueRunner implements ExecutionHost {
  readonly name: string;
  readonly #parts: EngineParts;
  readonly #slots: Slots;
  readonly #running = new Map<string, Execution>();
  readonly #unstored = new Set<Execution>();
  readonly #progress = new Subject<JobProgressEvent>();
  readonly #runningCount = new Subject<number>();
  readonly #buffer: ClaimBuffer;
  readonly #limits: QueueLimits;
  #types: readonly string[] = [];
  #isClaiming = false;
  #mayHaveMore = false;
  #isHintOnly = false;
  #isPaused = false;
  #isStopped = true;
  #averageRunMs = FAST_RUN_MS;
  readonly #marks = new StartMarks();
  #isPumping = false;
  readonly #unsettled: FailedJobs;
  #emptied: (() => void)[] = [];

  /** @param limited the scopes of limits that anybody has declared */
  constructor(
    name: string,
    capacity: number,
    parts: EngineParts,
    limited: () => ReadonlySet<string>,
  ) {
    this.name = name;
    this.#parts = parts;
    this.#slots = new Slots(capacity, () => this.#pump());
    this.#buffer = new ClaimBuffer(parts);
    this.#limits = new QueueLimits(name, parts, limited, () => this.wake());
    this.#unsettled = new FailedJobs((text) => parts.logger.error(text), comesBack('settled'));
  }

  /** Handlers at once in this process. */
  get capacity(): number {
    return this.#slots.capacity;
  }

  /** How many handlers are at work: now, and at each change. */
  get running$(): Observable<number> {
    return defer(() => this.#runningCount.pipe(startWith(this.#running.size)));
  }

  get progress$(): Observable<JobProgressEvent> {
    return this.#progress.asObservable();
  }

  get events$(): Observable<JobEvent> {
    return this.#parts.bus.all$.pipe(
      filter(({ queue }) => queue === this.name),
      map(({ event }) => event),
    );
  }

  get running(): number {
    return this.#running.size;
  }

  get isHolding(): boolean {
    return this.#running.size > 0 || this.#unstored.size > 0 || this.#buffer.size > 0;
  }

  /** Every run that this queue holds, buffered ones included. */
  heldRunIds(): readonly string[] {
    return [
      ...this.#running.keys(),
      ...[...this.#unstored].map((each) => each.runId),
      ...this.#buffer.runIds(),
    ];
  }

  /** The rows of the jobs whose handlers are at work, or wait to be called. */
  heldSeqs(): readonly number[] {
    return [...[...this.#running.values()].map(({ job }) => job.seq), ...this.#buffer.seqs()];
  }

  execution(runId: string): Execution | undefined {
    return this.#running.get(runId);
  }

  executionOf(jobId: string): Execution | undefined {
    return [...this.#running.values()].find((each) => each.job.id === jobId);
  }

  /** Another capacity, before it starts. */
  resize(capacity: number): void {
    this.#slots.capacity = capacity;
  }

  start(): void {
    this.#types = this.#parts.handlers.idsOf(this.name);
    this.#isStopped = false;
    this.wake();
  }

  /** Takes no new jobs in this process; running ones go on. */
  pause(): void {
    this.#isPaused = true;
    this.giveBackBuffer();
  }

  /** Jobs that are claimed and whose handlers have not been called go back in line. */
  giveBackBuffer(): void {
    void this.#buffer.giveBackAll();
  }

  resume(): void {
    this.#isPaused = false;
    this.wake();
  }

  /** There are jobs to take. */
  wake(): void {
    this.#mayHaveMore = true;
    this.#isHintOnly = false;
    this.#pump();
  }

  /** Something was written by somebody: there may be jobs to take, which a look finds out. */
  hint(): void {
    if (!this.#mayHaveMore && !this.#limits.defersHint(() => this.hint())) {
      this.#mayHaveMore = true;
      this.#isHintOnly = true;
      this.#pump();
    }
  }

  /** A job is held by no worker any more: limits may let another one through. */
  slotBack(): void {
    this.#limits.slotBack();
  }

  announceProgress(event: JobProgressEvent): void {
    this.#progress.next(event);
  }

  /** Stops claiming and gives the buffer back. */
  async stopClaiming(): Promise<void> {
    this.#isStopped = true;
    await this.#buffer.giveBackAll();
  }

  /** Signals every handler at work. */
  abortAll(): void {
    for (const execution of this.#running.values()) {
      execution.abort('shutdown');
    }
  }

  /** A claim under way does not count: what it still takes is given back. */
  #isEmpty(): boolean {
    return this.#running.size === 0 && this.#unstored.size === 0;
  }

  /** Resolves when no handler is at work and every outcome is stored. */
  empty(): Promise<void> {
    if (this.#isEmpty()) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#emptied.push(resolve));
  }

  close(): void {
    this.#marks.close();
    this.#limits.close();
    this.#progress.complete();
    this.#runningCount.complete();
  }

  /** Takes a buffered job that is to be canceled out of the buffer; its handler is not called. */
  dropBuffered(runId: string): boolean {
    return this.#buffer.drop(runId);
  }

  /** The leases of those runs last until then at least. */
  renewed(heldUntil: number, runIds: ReadonlySet<string>): void {
    this.#buffer.renewed(heldUntil, runIds);
    for (const execution of this.#running.values()) {
      if (runIds.has(execution.runId)) {
        execution.heldUntil = heldUntil;
      }
    }
  }

  /** Drops a buffered job that this worker holds no more. */
  forget(runId: string): void {
    this.#buffer.forget(runId);
  }

  slotFreed(execution: Execution): void {
    if (execution.isSettled) {
      this.#running.delete(execution.runId);
      this.#unstored.add(execution);
      this.#observe(execution.elapsedMs);
      this.#countChanged();
    }
    this.#marks.delete(execution);
    this.#slots.release();
    if (!execution.isSettled) {
      // It is locked, which is stored already.
      this.#limits.slotBack();
    }
  }

  takeSlot(signal: AbortSignal): Promise<void> {
    return this.#slots.take(signal);
  }

  unsettled({ job, runId }: Execution, error: unknown): void {
    this.#unsettled.add(`${job.id} (${job.type}, run ${runId})`, error);
  }

  ended(execution: Execution): void {
    this.#running.delete(execution.runId);
    this.#unstored.delete(execution);
    if (this.#isEmpty()) {
      this.#tellEmpty();
    }
    this.#limits.slotBack();
    this.#pump();
  }

  /** Whether so much waits to be written that no handler is started, and so nothing claimed. */
  get #mayNotStart(): boolean {
    return this.#unstored.size >= MOST_UNSTORED || this.#parts.logs.isFull;
  }

  #pump(): void {
    // Starting a handler may end it at once and come back here: one loop does for both.
    if (this.#isPumping || this.#isStopped) {
      return;
    }
    this.#isPumping = true;
    try {
      while (this.#buffer.size > 0 && !this.#mayNotStart && this.#slots.tryTake()) {
        if (this.#buffer.isOver) {
          this.#slots.release();
          this.giveBackBuffer();
          break;
        }
        const next = this.#buffer.take();
        if (next === undefined) {
          this.#slots.release();
          break;
        }
        this.#start(next);
      }
    } finally {
      this.#isPumping = false;
    }
    this.#claimIfRoom();
  }

  #claimIfRoom(): void {
    if (
      this.#isClaiming ||
      !this.#mayHaveMore ||
      this.#isPaused ||
      this.#isStopped ||
      this.#types.length === 0
    ) {
      return;
    }
    const ahead = this.#ahead();
    const room = Math.max(0, this.#slots.free) + ahead - this.#buffer.size;
    // A buffer that is still half full waits: fewer and larger claims.
    if (
      room <= 0 ||
      (this.#buffer.size > 0 && this.#buffer.size > ahead / 2) ||
      this.#mayNotStart
    ) {
      return;
    }
    void this.#claim(room);
  }

  async #claim(limit: number): Promise<void> {
    const onlyIfReady = this.#isHintOnly;
    const { durationMs } = this.#parts.options.lease;
    const heldUntil = performance.now() + durationMs;
    this.#isClaiming = true;
    this.#mayHaveMore = false;
    this.#isHintOnly = false;
    try {
      const { jobs, isMore } = await this.#limits.claim({
        queue: this.name,
        types: this.#types,
        channels: this.#parts.options.channels,
        limit,
        workerId: this.#parts.workerId,
        leaseMs: durationMs,
        starts: limit <= this.#slots.free,
        onlyIfReady,
      });
      if (isMore) {
        this.#mayHaveMore = true;
      }
      this.#parts.claimed(jobs);
      await this.#take(jobs, heldUntil);
    } catch (error) {
      this.#parts.logger.warn(`Queue "${this.name}" could not take jobs: ${String(error)}`);
    } finally {
      this.#isClaiming = false;
      if (this.#isEmpty()) {
        this.#tellEmpty();
      }
      this.#pump();
    }
  }

  async #take(jobs: readonly JobEntity[], heldUntil: number): Promise<void> {
    // A log that filled up meanwhile lets nothing start for a while: others may have the jobs.
    if (this.#isStopped || this.#isPaused || this.#parts.logs.isFull) {
      await this.#buffer.giveBack(jobs);
    } else {
      this.#buffer.add(jobs, heldUntil);
    }
  }

  #start({ job, until }: HeldJob): void {
    const type = this.#parts.handlers.get(job.type);
    if (type === undefined) {
      // Only registered types are claimed, so this cannot be; the job goes back untouched.
      this.#slots.release();
      void this.#buffer.giveBack([job]);
      return;
    }
    const wasMarked = job.startedAtMs !== null;
    const execution = new Execution(this.#parts, type, job, this);
    execution.heldUntil = until;
    this.#running.set(execution.runId, execution);
    this.#countChanged();
    if (!wasMarked) {
      this.#marks.add(execution);
    }
    execution.start();
  }

  #ahead(): number {
    if (this.#averageRunMs >= FAST_RUN_MS || !this.#limits.mayClaimAhead) {
      return 0;
    }
    const fits = Math.floor((this.capacity * BUFFER_MS) / Math.max(this.#averageRunMs, 0.1));
    return Math.min(LONGEST_BUFFER, fits);
  }

  #observe(runMs: number): void {
    this.#averageRunMs += (runMs - this.#averageRunMs) * 0.2;
  }

  #countChanged(): void {
    if (this.#runningCount.observed) {
      this.#runningCount.next(this.#running.size);
    }
  }

  #tellEmpty(): void {
    const waiting = this.#emptied;
    this.#emptied = [];
    for (const resolve of waiting) {
      resolve();
    }
  }
}
