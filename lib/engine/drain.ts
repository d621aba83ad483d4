import type { EngineParts } from './engine-parts.js';
import type { QueueRunner } from './queue-runner.js';
import { within } from './within.js';

/** How long a stopping engine waits for the database to take what is left. */
export const LAST_WRITES_MS = 5000;

/**
 * Ends what the queues hold: no more claims, handlers may end within the grace, the rest is
 * signalled and settled. Whether every outcome is stored.
 */
export async function drainQueues(
  queues: readonly QueueRunner[],
  { options, logger, logs, store }: Pick<EngineParts, 'options' | 'logger' | 'logs' | 'store'>,
): Promise<boolean> {
  const { grace } = options;
  const givenBack = Promise.all(queues.map((queue) => queue.stopClaiming()));
  const empty = Promise.all(queues.map((queue) => queue.empty()));
  if (await within(empty, grace.shutdownMs)) {
    return within(givenBack, LAST_WRITES_MS);
  }
  const running = queues.reduce((sum, queue) => sum + queue.running, 0);
  const after = `after ${grace.shutdownMs / 1000} s`;
  if (running > 0) {
    logger.warn(
      `[drain_grace_over] ${running} handlers were still at work ${after}; they are told to stop, and their jobs go back to waiting.`,
    );
  } else {
    logger.warn(
      `[drain_unstored] What handlers ended with was not stored ${after}; the database is given a few seconds more.`,
    );
  }
  queues.forEach((queue) => queue.abortAll());
  // Each is settled by force after its own grace; storing that may wait for the database.
  if (await within(empty, grace.signalMs + LAST_WRITES_MS / 2)) {
    return within(givenBack, LAST_WRITES_MS / 2);
  }
  // Outcomes that wait for the lines before them: they matter more.
  logs.giveUp(store.estimateNowMs());
  if (await within(empty, LAST_WRITES_MS / 2)) {
    return within(givenBack, 0);
  }
  logger.error(
    '[drain_failed] Some runs could not be settled; their jobs come back when their leases end.',
  );
  return false;
}
