import { closedError, isJobsError } from '../model/errors.js';
import type { EngineLogger } from './engine-options.js';
import { within } from './within.js';

/** Between attempts; each waits half as long again as the one before, and up to half of it less by chance. */
const AGAIN_MS = { first: 1000, growth: 1.5, most: 15_000 };
/** Boot waits so long for the database, and then goes on without it. */
const BOOT_PATIENCE_MS = 900;

/** How an engine comes to its database: one attempt that all share, made again when it failed. */
export class Opening {
  readonly #connect: () => Promise<void>;
  readonly #logger: EngineLogger;
  readonly #holdsProcess: boolean;
  readonly #random: () => number;
  #attempt: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  #isStopped = false;
  #isClosed = false;
  #isWaiting = false;
  #failures = 0;
  /** What went wrong last, which is said once. */
  #complaint: string | undefined;

  /** `holdsProcess`: whether a process that has nothing else to do waits for the next attempt. */
  constructor(
    connect: () => Promise<void>,
    logger: EngineLogger,
    { holdsProcess, random }: { readonly holdsProcess: boolean; readonly random: () => number },
  ) {
    this.#connect = connect;
    this.#logger = logger;
    this.#holdsProcess = holdsProcess;
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Connects once; calls share the attempt. @throws JobsError */
  open(): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(closedError());
    }
    this.#attempt ??= this.#open();
    return this.#attempt;
  }

  /**
   * Connects and begins the work, in the background when the database keeps boot waiting or cannot be
   * reached; only a schema that does not fit throws.
   */
  async start(begin: () => void): Promise<void> {
    try {
      const opening = this.open();
      if (!(await within(opening, BOOT_PATIENCE_MS))) {
        if (!this.#isWaiting) {
          this.#isWaiting = true;
          this.#logger.warn(
            'The jobs database is not ready yet, perhaps because another connection holds its lock. The application goes on; work begins when it is.',
          );
        }
        opening.then(begin, (error: unknown) => {
          if (this.#isForNow(error)) {
            this.#startLater(begin);
          } else {
            // Too late to refuse the boot.
            this.#logger.error(String(error));
          }
        });
        return;
      }
    } catch (error) {
      if (!this.#isForNow(error)) {
        throw error;
      }
      this.#startLater(begin);
      return;
    }
    begin();
  }

  /** Whether what went wrong may be right the next time; it is complained of then. */
  #isForNow(error: unknown): boolean {
    const isForNow =
      isJobsError(error) &&
      (error.code === 'database_unavailable' || error.code === 'database_busy');
    if (isForNow && !this.#isClosed) {
      this.#complain(`${error.message} Cause: ${String(error.cause)}`);
    }
    return isForNow;
  }

  /** No more attempts in the background. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Resolves when no attempt is under way; how it ended was told by who began it. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#attempt]);
  }

  /** Takes note that the database was closed. */
  closed(): void {
    this.#isOpen = false;
    this.#isClosed = true;
  }

  async #open(): Promise<void> {
    try {
      await this.#connect();
      this.#isOpen = true;
    } catch (error) {
      this.#attempt = undefined;
      throw error;
    }
  }

  #complain(text: string): void {
    if (text === this.#complaint) {
      this.#logger.debug(text);
    } else {
      this.#complaint = text;
      this.#logger.error(text);
    }
  }

  #startLater(begin: () => void): void {
    if (!this.#isStopped) {
      const { first, growth, most } = AGAIN_MS;
      const delayMs = Math.min(first * growth ** this.#failures, most);
      this.#failures += 1;
      this.#timer = setTimeout(
        () => {
          this.start(begin).catch((failure: unknown) => this.#logger.error(String(failure)));
        },
        delayMs * (0.5 + this.#random() / 2),
      );
      if (!this.#holdsProcess) {
        this.#timer.unref();
      }
    }
  }
}
