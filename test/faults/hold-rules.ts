import { groupBy, keyOf, notesOf, pairs, type Case } from './case.js';
import { endsHold, HOLDING } from './run-spans.js';

/**
 * Rules about who held a job when, by the database's time. They are exact: a job's changes follow each other
 * under the lock of its row, and each was written down at the server's time of that moment. Only what
 * the library rounds to milliseconds, and what a process notes by the machine's clock, which is the
 * server's, may be off by so much.
 */
export const ROUNDING_MS = 3;

/** What a status may become; a final one stays, since nobody retries here. */
const MAY_BECOME: Readonly<Record<string, readonly string[]>> = {
  waiting: ['running', 'suspended', 'canceled', 'skipped', 'failed'],
  running: ['completed', 'failed', 'timeout', 'skipped', 'locked', 'canceling', 'waiting'],
  canceling: ['canceled'],
};

/** Each run is over before the next one begins, and nobody takes a job from a run that holds it. */
export function* checkOverlaps({ changes, holds }: Case): Iterable<string> {
  for (const { job, before, status, runId, revision } of changes) {
    if (HOLDING.includes(before.status) && HOLDING.includes(status) && runId !== before.runId) {
      yield `run ${revision} of ${job} was claimed while run ${before.runId} was ${before.status}`;
    }
  }
  for (const [job, own] of holds) {
    for (const [before, after] of pairs(own)) {
      if (before.to === null || before.to > after.from) {
        yield `run ${before.revision} of ${job} ended at ${before.to ?? 'no time'}, and run ${after.revision} began at ${after.from}`;
      }
    }
  }
}

export function* checkStatuses({ changes }: Case): Iterable<string> {
  for (const change of changes) {
    const { job, before, status, runId, at } = change;
    const isAllowed = before.status === status || MAY_BECOME[before.status]?.includes(status);
    if (isAllowed !== true) {
      yield `job ${job} became ${status} from ${before.status} at ${new Date(at).toISOString()}`;
    }
    if (endsHold(change) && ![before.runId, null].includes(runId)) {
      yield `job ${job} was ended as ${status} by ${runId}, and held by ${before.runId}`;
    }
  }
}

/**
 * A claim gives a whole lease, and a run is lost only after the end of its lease as it then stood; but for
 * one whose claim was never answered: its own worker finds it in its name and lets go of it. Where all are
 * answered, there is none.
 */
export function* checkLease({ notes, spans, holds, expected }: Case): Iterable<string> {
  const { leaseMs } = expected;
  const begun = new Set(notesOf(notes, 'start').map(keyOf));
  for (const [job, own] of spans) {
    const held = new Map(holds.get(job)?.map((hold) => [hold.runId, hold]));
    for (const { runId, revision, outcome, claimedAt } of own) {
      const hold = held.get(runId);
      if (hold === undefined) {
        continue;
      }
      if ((hold.firstLease ?? 0) < claimedAt + leaseMs - ROUNDING_MS) {
        yield `run ${revision} of ${job} was given ${(hold.firstLease ?? 0) - claimedAt} ms of a lease of ${leaseMs} ms`;
      }
      const earlyMs = (hold.lastLease ?? Infinity) - (hold.to ?? Infinity);
      const isBegun = begun.has(keyOf({ job, attempt: revision }));
      const mayBeEarly = !isBegun && expected.hearsAnswers !== true;
      if (outcome === 'lost' && !mayBeEarly && earlyMs > ROUNDING_MS) {
        yield `run ${revision} of ${job} was taken back ${earlyMs} ms before its lease ended`;
      }
    }
  }
}

/** A handler is called after its run was claimed, and has returned before its outcome is stored. */
export function* checkHandlersHold({ notes, holds, spans }: Case): Iterable<string> {
  const ends = new Map(notesOf(notes, 'end').map((note) => [keyOf(note), note.at]));
  for (const [job, starts] of groupBy(notesOf(notes, 'start'), (note) => note.job)) {
    for (const start of starts) {
      const hold = holds
        .get(job)
        ?.findLast(
          ({ revision, from }) => revision === start.attempt && from <= start.at + ROUNDING_MS,
        );
      if (hold === undefined || hold.isUndone) {
        yield `the handler of run ${start.attempt} of ${job} was called ${hold === undefined ? 'before it was claimed' : 'when it had been given back'}`;
        continue;
      }
      const outcome = spans.get(job)?.find(({ runId }) => runId === hold.runId)?.outcome;
      const isOwn = outcome === 'completed' || outcome === 'failed';
      const end = ends.get(keyOf(start));
      if (isOwn && end !== undefined && hold.to !== null && end > hold.to + ROUNDING_MS) {
        yield `run ${start.attempt} of ${job} was stored as ${outcome} ${end - hold.to} ms before its handler returned`;
      }
    }
  }
}
