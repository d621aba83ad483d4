import { JobsError } from '../../model/errors.js';
import type { FailureKind, ReadKind, Session } from '../dialects/session.js';
import { slowError } from '../dialects/write-errors.js';
import type { TimedScript } from '../dialects/sql.js';
import { unreachable } from './server-place.js';

/** After so long behind the locks of others a read is refused. */
const DEADLINE_MS = 5000;
const LONGEST_DELAY_MS = 25;

/**
 * Reads of the store that is open by then. Readers of SQLite's write-ahead log wait for nobody, except
 * while it is being recovered or reset; on a server only for whoever locks whole tables.
 */
export function readsOf(session: () => Session): Session['read'] {
  return async (script, kind) => readInTime(session(), script, kind);
}

async function readInTime<T>(
  session: Session,
  script: TimedScript<T>,
  kind: ReadKind | undefined,
): Promise<T> {
  const until = performance.now() + DEADLINE_MS;
  for (let tries = 1; ; tries += 1) {
    try {
      return await session.read(script, kind);
    } catch (error) {
      const failure = session.classify(error);
      const isHeld = failure === 'busy' || failure === 'held';
      if (!isHeld || performance.now() > until) {
        throw readFailure(error, failure);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(tries, LONGEST_DELAY_MS)));
    }
  }
}

function readFailure(error: unknown, failure: FailureKind): unknown {
  switch (failure) {
    case 'error':
      return error;
    case 'unavailable':
      return unreachable(error);
    case 'slow':
      return slowError(error);
    case 'busy':
    case 'held':
      return new JobsError(
        'database_busy',
        `The jobs database was locked by another connection for ${DEADLINE_MS / 1000} s, so nothing was read. Look for who locks whole tables, such as a change of the schema, then try again.`,
        { cause: error, retryAfterSec: 1 },
      );
  }
}
