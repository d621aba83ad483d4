import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** The result: bytes on disk before and after, pages now, and what the check said. */
export interface Compacted {
  readonly before: number;
  readonly after: number;
  readonly pages: number;
  readonly integrity: string;
}

/** What the thread says before each step. */
export interface Step {
  readonly done: number;
  readonly of: number;
  readonly step: string;
}

/** Why it did not go well; a busy database may be free later. */
export interface Refused {
  readonly error: string;
  readonly isBusy: boolean;
}

/** The last thing the thread says. */
export type Reply = Compacted | Refused;

/** What the thread is given: the file, and a cell that says 1 when it should stop. */
export interface Order {
  readonly file: string;
  readonly stop: Int32Array;
}

/**
 * Compacts in a thread of its own: SQLite works synchronously, and minutes of VACUUM would hold up
 * everything else in this process. An abort ends the thread after the statement that is under way;
 * `terminate()` in the middle of one makes better-sqlite3 12 abort the whole process.
 */
export async function inWorker(
  file: string,
  signal: AbortSignal,
  onStep: (step: Step) => void,
): Promise<Reply> {
  signal.throwIfAborted();
  const order: Order = { file, stop: new Int32Array(new SharedArrayBuffer(4)) };
  const worker = new Worker(new URL('./compact.worker.js', import.meta.url), { workerData: order });
  const stop = () => void Atomics.store(order.stop, 0, 1);
  signal.addEventListener('abort', stop, { once: true });
  let reply: Reply = { error: 'the thread ended without a word', isBusy: true };
  worker.on('message', (message: Step | Reply) => {
    if ('step' in message) onStep(message);
    else reply = message;
  });
  try {
    await once(worker, 'exit');
  } finally {
    signal.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
  return reply;
}
