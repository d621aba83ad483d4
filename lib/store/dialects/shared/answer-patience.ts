/** A second look after so long: what came while the event loop was blocked is read first. */
const SECOND_LOOK_MS = 1000;
/** How long a connection that is closed may take its leave. */
const LEAVE_MS = 2000;

/**
 * How long an answer is waited for. A server that vanished without a word, because its machine or the
 * way to it is gone, shows only by its silence: the operating system would wait for a quarter of an hour.
 */
export class AnswerPatience {
  #ms = Infinity;
  #silentAt = -Infinity;

  /** From now on statements are short. */
  limit(ms: number): void {
    this.#ms = ms;
  }

  /** While the schema is made, statements last as long as they must. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    const ms = this.#ms;
    this.#ms = Infinity;
    try {
      return await work();
    } finally {
      this.#ms = ms;
    }
  }

  /** Whether a connection of that age can be trusted: one that was silent speaks for its elders. */
  trusts(openedAt: number): boolean {
    return openedAt > this.#silentAt;
  }

  /** @throws an error of the network when no answer comes */
  async wait<T>(answer: Promise<T>): Promise<T> {
    if (this.#ms === Infinity) {
      return answer;
    }
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      const late = (): void => {
        this.#silentAt = performance.now();
        reject(new SilentServer(this.#ms));
      };
      timer = setTimeout(() => {
        timer = setTimeout(late, SECOND_LOOK_MS);
      }, this.#ms);
    });
    try {
      return await Promise.race([answer, silence]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * The most that a statement of the engine's takes on a server that is there: short enough that a lease
 * of the default length, renewed three times within it, outlives one silence.
 */
export const ANSWER_MS = 15_000;

/**
 * The server is told to end a statement of the engine's that takes so long: well before the silence
 * that a slow one is would be taken for a dead server's, and cost every connection.
 */
export const STATEMENT_MS = 10_000;

/** So long a transaction of the engine's may idle, and hold its locks, while its process is stuck. */
export const IDLE_MS = 5000;

class SilentServer extends Error {
  override readonly name: string = 'SilentServer';
  /** As the operating system calls it. */
  readonly code = 'ETIMEDOUT';

  constructor(ms: number) {
    super(`The server did not answer for ${ms / 1000} s; the connection is given up.`);
  }
}

/** Waits for the end of something that has only so long for it. */
export async function soon(end: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LEAVE_MS);
  });
  await Promise.race([end, late]);
  clearTimeout(timer);
}
