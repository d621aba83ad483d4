import { AnswerLost, ScriptFailure, type Session } from '../dialects/session.js';
import { quietly, type TimedScript } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { JobStore } from '../store.js';
import type { Writer } from '../writer.js';
import type { DutyScripts } from './duty.scripts.js';
import type { JobScripts } from './job.scripts.js';
import { LeaseScripts } from './lease.scripts.js';
import { readsOf } from './reads.js';
import type { TableNames } from './table-names.js';

/** How often a taking back is done again at once that stood in the way of others. */
const MOST_TRIES = 5;

interface LeaseStoreParts {
  readonly tables: TableNames;
  readonly scripts: JobScripts;
  readonly duties: DutyScripts;
  /** What waits for a row has a transaction of its own there, and keeps nobody for long. */
  readonly session: () => Session;
  readonly writer: () => Writer;
  readonly aside: () => Writer;
}

/** What the store does for leases. */
export function leaseStore({
  tables,
  scripts,
  duties,
  session,
  writer,
  aside,
}: LeaseStoreParts): Pick<
  JobStore,
  'renew' | 'renewMissed' | 'disturbed' | 'expiredLeases' | 'takeBack'
> {
  const leases = new LeaseScripts(tables, scripts);
  const read = readsOf(session);
  const asideWriter = async (): Promise<Writer> => Promise.resolve(aside());
  return {
    renew: async (workerId, leaseMs) =>
      (await asideWriter()).write(
        quietly((now) => scripts.renew(workerId, leaseMs, now)),
        'engine',
      ),
    renewMissed: async (missed, leaseMs, waitMs) => {
      const writing = await asideWriter();
      const free = await writing.write(
        quietly((now) => leases.renewFree(missed, leaseMs, now)),
        'engine',
      );
      const [next, ...others] = missed.filter(({ runId }) => !free.includes(runId));
      if (next === undefined) {
        return { renewed: free, missed: [] };
      }
      let renewed = free;
      const script = quietly(function* (now) {
        renewed = [...free, ...(yield* leases.renewLocked(next, leaseMs, waitMs, now))];
      });
      return (await inVain(session(), script)) === undefined
        ? { renewed, missed: others }
        : { renewed: free, missed: [...others, next] };
    },
    disturbed: (workerId, withinMs, held) =>
      read((now) => scripts.disturbed(workerId, now - withinMs, held)),
    expiredLeases: (limit) => read((now) => duties.expiredLeases(limit, now)),
    takeBack: async (id, decide, waitMs) => {
      if (tables.words.forUpdate === '') {
        // One writes at a time.
        return Promise.resolve(writer()).then((to) =>
          to.write((now) => scripts.change(id, decide, undefined, now), 'engine', seqOfId(id)),
        );
      }
      let result: Awaited<ReturnType<JobStore['takeBack']>>;
      let hasRow = false;
      const locked = (): void => void (hasRow = true);
      for (let tries = 0; tries < MOST_TRIES; tries += 1) {
        hasRow = false;
        const kind = await inVain(session(), function* (now) {
          result = yield* leases.takeBack(id, decide, waitMs, locked, now);
        });
        if (kind === undefined) {
          return result;
        }
        if (kind !== 'busy') {
          break;
        }
      }
      // Somebody else's row stood in the way if it had its own: the next sweep tries again.
      return hasRow ? undefined : 'locked';
    },
  };
}

/** Runs a script in a transaction of its own; what of others stood in its way, if anything. */
async function inVain(
  session: Session,
  script: TimedScript<void>,
): Promise<'busy' | 'held' | 'slow' | undefined> {
  try {
    await session.transact([script]);
    return undefined;
  } catch (error) {
    const thrown = error instanceof ScriptFailure ? error.cause : error;
    const cause = thrown instanceof AnswerLost ? thrown.cause : thrown;
    const kind = session.classify(cause);
    if (kind === 'busy' || kind === 'held' || kind === 'slow') {
      return kind;
    }
    throw cause;
  }
}
