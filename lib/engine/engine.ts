import type { Observable } from 'rxjs';
import type { JobEntity } from '../entities/job.entity.js';
import { newId } from '../model/id.js';
import type { JobEvent, JobRun } from '../model/job.js';
import type { Store } from '../store/store.js';
import { Announcer } from './announcer.js';
import { declaredTypes } from './declared-types.js';
import { drainQueues, LAST_WRITES_MS } from './drain.js';
import { dependents, expiry, promoter, reaper, retention } from './duties.js';
import type { EngineParts } from './engine-parts.js';
import type { EngineSources } from './engine-sources.js';
import { Enqueuer } from './enqueuer.js';
import { EventBus } from './event-bus.js';
import { FailedJobs, notStored } from './failed-jobs.js';
import { Heartbeat } from './heartbeat.js';
import { interruptRuns, type Interruption } from './interrupt.js';
import { LateRejections } from './late-rejections.js';
import { limitScopes } from './limit-scopes.js';
import { Limits } from './limits.js';
import { LogBacklog } from './log-backlog.js';
import { Loop } from './loop.js';
import { HookSending } from './hook-sending.js';
import { Opening, type Looking } from './opening.js';
import { Operations } from './operations.js';
import { PausedQueues } from './paused-queues.js';
import { QueueRunner } from './queue-runner.js';
import { RemoteWatch } from './remote-watch.js';
import { sendSignal, type Sending } from './steps-signal.js';
import { Scheduling } from './scheduling.js';
import { watchJob, type WatchOptions } from './watch.js';
import { within } from './within.js';

/** Boot waits so long for a record that others may do without. */
const DECLARE_PATIENCE_MS = 300;
/** Between looks for wanted stops while others write all the time. */
const ATTEND_LEAST_MS = 25;

/** The engine: it owns the queues and the background duties, and knows neither SQL nor Nest. */
export class Engine {
  readonly store: Store;
  readonly bus = new EventBus();
  readonly enqueuer: Enqueuer;
  readonly operations: Operations;
  readonly queues: ReadonlyMap<string, QueueRunner>;
  readonly #queues = new Map<string, QueueRunner>();
  readonly workerId = newId();
  readonly #sources: EngineSources;
  readonly #parts: EngineParts;
  readonly #heartbeat: Heartbeat;
  readonly #remoteWatch: RemoteWatch;
  readonly #late: LateRejections;
  readonly #promoter: Loop;
  readonly #dependents: Loop;
  readonly scheduling: Scheduling;
  readonly #hookSending: HookSending;
  readonly #attend: Loop;
  readonly #loops: readonly Loop[];
  readonly #paused: PausedQueues;
  readonly #opening: Opening;
  #keepAlive: NodeJS.Timeout | undefined;
  #unhint: (() => void) | undefined;
  #isWorking = false;
  #attendedAt = 0;
  /** What the store has said last. */
  #caveat: string | undefined;
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(sources: EngineSources) {
    const { store, options, handlers, logger, sink, random = Math.random } = sources;
    this.#sources = sources;
    this.store = store;
    this.#opening = new Opening((looking) => this.#connect(looking), logger, {
      holdsProcess: options.role !== 'producer',
      random,
    });
    this.#hookSending = new HookSending(sources.hookSender, store, { logger, random });
    const announcer = this.#announcer();
    this.#paused = new PausedQueues(store, logger, {
      paused: (queue) => this.#queues.get(queue)?.giveBackBuffer(),
      resumed: (queue) => this.#queues.get(queue)?.wake(),
      limited: () => this.#wakeQueues(),
      sending: () => this.#hookSending.wake(),
    });
    const limits = new Limits(handlers, (queue) => sources.limitsOf(queue));
    this.enqueuer = new Enqueuer({
      store,
      options,
      handlers,
      limits,
      random,
      hearers: this.#hookSending.hearers,
      isPaused: (queue) => this.#paused.has(queue),
      enqueued: announcer.enqueued,
      stored: announcer.stored,
    });
    this.#parts = {
      store,
      options,
      handlers,
      limits,
      hearers: this.#hookSending.hearers,
      bus: this.bus,
      logger,
      sink,
      unstored: {
        start: new FailedJobs((text) => logger.warn(text), notStored('The start')),
        progress: new FailedJobs((text) => logger.warn(text), notStored('Progress')),
      },
      logs: new LogBacklog(store, logger, () => this.#wakeQueues()),
      random,
      workerId: this.workerId,
      enqueuer: this.enqueuer,
      changed: announcer.changed,
      stored: announcer.stored,
      told: announcer.told,
      claimed: this.#hookSending.claimed,
      progressed: announcer.progressed,
      announceProgress: announcer.announceProgress,
    };
    this.queues = this.#queues;
    for (const [name, capacity] of options.queues) {
      this.addQueue(name, capacity);
    }
    this.operations = new Operations(this.#parts, {
      abort: (job, code) => {
        for (const queue of this.queues.values()) {
          const execution = queue.executionOf(job.id);
          execution?.noted(job.status, job.sequence);
          execution?.abort(code);
          queue.dropBuffered(job.runId ?? '');
        }
      },
      unlock: (job) => this.#queues.forEach((queue) => queue.executionOf(job.id)?.unlock()),
      policyChanged: (job) =>
        this.#queues.forEach((queue) => queue.executionOf(job.id)?.timeoutChanged(job.timeoutSec)),
    });
    this.scheduling = new Scheduling(this, this.#parts, announcer.enqueued, sources);
    this.#heartbeat = new Heartbeat(this.#parts, this.queues, sources.version);
    this.#remoteWatch = new RemoteWatch(this.#parts);
    this.#late = new LateRejections(logger);
    const loop = (duty: ConstructorParameters<typeof Loop>[0]): Loop =>
      new Loop(duty, logger, random);
    this.#promoter = loop(promoter(this.#parts, () => this.#wakeQueues()));
    this.#dependents = loop(dependents(this.#parts));
    this.#attend = loop({
      name: 'remote control',
      everyMs: this.store.floorMs,
      runOnce: async () => {
        this.#attendedAt = performance.now();
        this.#tellCaveat();
        // The floor: no hint is needed for progress.
        this.#paused.hint();
        this.#queues.forEach((queue) => queue.hint());
        return this.#heartbeat.attend();
      },
    });
    this.#loops = [
      loop(this.#heartbeat.renewal()),
      loop(this.#heartbeat.registration()),
      loop(reaper(this.#parts)),
      loop(expiry(this.#parts)),
      loop(retention(this.#parts)),
      loop(
        limitScopes(
          this.#parts,
          () => this.#queues.keys(),
          () => this.#paused.limited,
          () => this.refreshPaused(),
        ),
      ),
      this.#promoter,
      this.#dependents,
      this.scheduling.scheduler.loop,
      this.#attend,
      ...this.#hookSending.loops,
    ];
  }

  get isOpen(): boolean {
    return this.#opening.isOpen;
  }

  get isWorking(): boolean {
    return this.#isWorking;
  }

  /** Duties that failed in their latest pass. */
  get failing(): readonly string[] {
    return this.#loops.filter((loop) => !loop.isAlive).map((loop) => loop.name);
  }

  /** Adds a queue, until the engine starts; one that is there gets the capacity. */
  addQueue(name: string, capacity: number): void {
    const known = this.#queues.get(name);
    if (known === undefined) {
      this.#queues.set(
        name,
        new QueueRunner(name, capacity, this.#parts, () => this.#paused.limited),
      );
    } else {
      known.resize(capacity);
    }
  }

  /** Connects once; calls share the attempt. @throws JobsError */
  open(): Promise<void> {
    return this.#opening.open();
  }

  /**
   * Connects and, unless this process only enqueues, starts to work. A database that cannot be
   * reached is tried again in the background; only a schema that does not fit throws.
   */
  start(): Promise<void> {
    return this.#opening.start(() => this.#beginWork());
  }

  #beginWork(): void {
    if (this.#sources.options.role !== 'producer' && this.#draining === undefined) {
      this.#work();
    }
  }

  /**
   * Stops gracefully: no more claims, handlers may end within the grace, the rest is signalled and
   * goes back to `waiting` at no cost. Enqueues go on until `close`.
   */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  /** Ends everything; nothing can be enqueued afterwards. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  watch(id: string, options: WatchOptions): Observable<JobEvent> {
    return watchJob(this.#parts, id, options);
  }

  /** Sends a job a signal. @throws JobsError */
  signal(id: string, sending: Sending): Promise<JobEntity> {
    return sendSignal(this.#parts, id, sending);
  }

  /** Takes runs from their workers; what became of them. */
  interruptRuns(which: Interruption): Promise<readonly JobRun[]> {
    return interruptRuns(this.#parts, [...this.queues.values()], which);
  }

  isPaused(queue: string): boolean {
    return this.#paused.has(queue);
  }

  /** Takes note of the queues that are paused for the cluster. */
  refreshPaused(): Promise<void> {
    return this.#paused.refresh();
  }

  async #connect(looking: Looking): Promise<void> {
    await this.#sources.explore();
    await this.scheduling.check();
    await this.store.open(looking);
    this.#tellCaveat();
    this.#unhint = this.store.onRemoteChange(() => this.#hint());
    await this.refreshPaused();
    // A record for people and other programs: a database that is busy now must not hold up the boot.
    const { handlers, groups } = this.#sources;
    const declared = this.store.catalog
      .declare(declaredTypes(handlers.all()), [...groups()], this.#parts.limits.scopes())
      .catch((error: unknown) =>
        this.#sources.logger.warn(
          `The job types could not be recorded in the database: ${String(error)}`,
        ),
      );
    await within(
      Promise.all([declared, this.#hookSending.opened().then(() => this.refreshPaused())]),
      DECLARE_PATIENCE_MS,
    );
    await this.scheduling.declareSoon();
  }

  #tellCaveat(): void {
    const { caveat } = this.store;
    if (caveat !== undefined && caveat !== this.#caveat) {
      this.#sources.logger.warn(caveat);
    }
    this.#caveat = caveat;
  }

  #work(): void {
    if (this.#isWorking) {
      return;
    }
    this.#isWorking = true;
    this.store.listenClosely();
    this.#late.start();
    // Background timers do not hold the process; a worker at its post does.
    this.#keepAlive = setInterval(() => undefined, 2 ** 30);
    for (const loop of this.#loops) {
      loop.start();
    }
    for (const queue of this.queues.values()) {
      queue.start();
    }
    const { lease } = this.#sources.options;
    this.#sources.logger.log(
      `Worker ${this.workerId} serves ${[...this.queues.values()].map((queue) => `${queue.name} (${queue.capacity})`).join(', ')}; a dead worker's jobs come back after at most ${(lease.durationMs + lease.sweepMs) / 1000} s.`,
    );
  }

  async #drain(): Promise<void> {
    this.#opening.stop();
    if (!this.#isWorking) {
      await this.#hookSending.stop();
      return;
    }
    void this.scheduling.scheduler.stop();
    const isSettled = await drainQueues([...this.queues.values()], this.#parts);
    // A database that cannot be written must not keep the process from ending.
    const patienceMs = isSettled ? LAST_WRITES_MS : 0;
    const stopped = Promise.all(this.#loops.map((loop) => loop.stop()));
    const isReachable = await within(stopped, patienceMs);
    await this.#hookSending.stop();
    clearInterval(this.#keepAlive);
    this.#isWorking = false;
    const forgotten = this.store.catalog
      .forgetWorker(this.workerId)
      .catch((error: unknown) =>
        this.#sources.logger.debug(
          `Worker ${this.workerId} stays on the list for an hour: ${String(error)}`,
        ),
      );
    await within(forgotten, isReachable ? patienceMs : 0);
  }

  async #close(): Promise<void> {
    await this.drain();
    this.#unhint?.();
    this.#remoteWatch.stop();
    this.#paused.stop();
    this.#late.stop();
    this.bus.close();
    for (const queue of this.queues.values()) {
      queue.close();
    }
    await this.#sources.sink?.close();
    await within(this.#opening.settled(), LAST_WRITES_MS);
    this.#opening.closed();
    await this.store.close();
  }

  #announcer(): Announcer {
    const { store, handlers, logger } = this.#sources;
    return new Announcer({
      store,
      handlers,
      logger,
      bus: this.bus,
      isWorking: () => this.#isWorking,
      isPaused: (queue) => this.#paused.has(queue),
      wakeQueue: (queue) => this.#queues.get(queue)?.wake(),
      lookAgain: () => this.#queues.forEach((queue) => queue.hint()),
      wakePromoter: () => this.#promoter.wake(),
      wakeDependents: () => this.#dependents.wake(),
      scheduledJobChanged: () => this.scheduling.scheduler.jobChanged(),
      wakeHookSender: () => this.#hookSending.wake(),
      slotBack: () => this.#queues.forEach((queue) => queue.slotBack()),
      progress: (event) => this.#queues.get(event.queue)?.announceProgress(event),
    });
  }

  /** Another connection may have written. */
  #hint(): void {
    this.#remoteWatch.hint();
    this.#paused.hint();
    if (!this.#isWorking) {
      return;
    }
    for (const queue of this.queues.values()) {
      queue.hint();
    }
    this.#promoter.wake();
    this.scheduling.scheduler.hint();
    // Of several hints in a row the last one counts as well.
    this.#attend.wake(Math.max(0, this.#attendedAt + ATTEND_LEAST_MS - performance.now()));
  }

  #wakeQueues(): void {
    for (const queue of this.queues.values()) {
      queue.wake();
    }
  }
}
