import { closedError, isJobsError } from '../model/errors.js';
import type { EngineLogger } from './engine-options.js';
import { within } from './within.js';

/** Between attempts; each waits half as long again as the one before, and up to half of it less by chance. */
const AGAIN_MS = { first: 1000, growth: 1.5, most: 15_000 };
/** Boot waits so long for the database, and then goes on without it. */
const BOOT_PATIENCE_MS = 900;
/** A server that is there may take so long to say which tables it has. */
const LOOK_PATIENCE_MS = 16_000;

/** Is given the look at the tables when it begins, which is once the server has answered. */
export type Looking = (look: Promise<unknown>) => void;

/** How an engine comes to its database: one attempt that all share, made again when it failed. */
export class Opening {
  readonly #connect: (looking: Looking) => Promise<void>;
  readonly #logger: EngineLogger;
  readonly #holdsProcess: boolean;
  readonly #random: () => number;
  #attempt: Promise<void> | undefined;
  /** The look at the tables, until they are known to fit. */
  #look: Promise<boolean> | undefined;
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
    connect: (looking: Looking) => Promise<void>,
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
   * reached; only a schema that does not fit throws, however long a server that is there takes to say so.
   */
  async start(begin: () => void): Promise<void> {
    try {
      const opening = this.open();
      if (!(await this.#isReadySoon(opening))) {
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

  async #isReadySoon(opening: Promise<void>): Promise<boolean> {
    if (await within(opening, BOOT_PATIENCE_MS)) {
      return true;
    }
    const look = this.#look;
    if (look === undefined || !(await within(look, LOOK_PATIENCE_MS))) {
      return false;
    }
    // What failed in the look is thrown by the attempt, as what it means.
    return within(opening, (await look) ? BOOT_PATIENCE_MS : LOOK_PATIENCE_MS);
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
      await this.#connect((look) => {
        this.#look = look.then(
          () => {
            this.#look = undefined;
            return true;
          },
          () => false,
        );
      });
      this.#isOpen = true;
    } catch (error) {
      this.#attempt = undefined;
      throw error;
    } finally {
      this.#look = undefined;
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
