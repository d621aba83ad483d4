import { decideOutcome } from '../model/outcome.js';
import { resolveBackoff } from '../model/retry-policy.js';
import type { Decide } from '../store/store.js';
import type { EngineParts } from './engine-parts.js';
import type { Duty } from './loop.js';

const BATCH = 100;
/** So long a row is waited for that somebody else has; in one pass so often, when it was in vain. */
const ROW_PATIENCE_MS = 200;
const WAITS_IN_VAIN = 5;
const PROMOTE_BATCH = 500;
const EXPIRE_BATCH = 500;
const PURGE_EVERY_MS = 60_000;
const PURGE_PAUSE_MS = 20;
/** Retention rests so many times as long as it took, at least. */
const PURGE_RESTS = 100;
const LONGEST_PROMOTE_WAIT_MS = 60_000;

/** For jobs whose type this process does not know; nothing that the reaper decides depends on it. */
const ANY_RULES = { backoff: resolveBackoff('fixed', 'backoff'), retryOnTimeout: false };

/** Takes jobs back from workers that are not heard any more. */
export function reaper(parts: EngineParts): Duty {
  const { store, options, random } = parts;
  /** Jobs whose rows others had, and when that was seen last. */
  const locked = new Map<string, number>();
  return {
    name: 'reaper',
    everyMs: options.lease.sweepMs,
    async runOnce() {
      for (const [id, seenAt] of locked) {
        if (performance.now() - seenAt > options.lease.durationMs) {
          locked.delete(id);
        }
      }
      const limit = BATCH + locked.size;
      const ids = await store.jobs.expiredLeases(limit);
      const expired = new Set(ids);
      for (const id of locked.keys()) {
        if (!expired.has(id)) {
          // It was extended, or the job has got on: the next time that it ends is another matter.
          locked.delete(id);
        }
      }
      let isMore = false;
      let inVain = 0;
      for (const id of ids) {
        // Its worker could not extend the lease either: it has as long for that as a lease lasts.
        const isSpared = locked.has(id);
        const waitMs = isSpared || inVain === WAITS_IN_VAIN ? 0 : ROW_PATIENCE_MS;
        const decide: Decide = (job, nowMs) => {
          if (isSpared || job.leaseUntilMs === null || job.leaseUntilMs >= nowMs) {
            return undefined;
          }
          if (job.status === 'resuming') {
            return { set: { status: 'suspended', workerId: null, leaseUntilMs: null } };
          }
          const ending = { kind: 'lost' as const, maxLost: options.lease.maxLost };
          const { set, run, runError } = decideOutcome(job, ending, ANY_RULES, nowMs, random);
          return {
            set,
            ...(set.finishedAtMs === undefined && run !== undefined
              ? { archiveRun: { outcome: run, error: runError } }
              : {}),
          };
        };
        const result = await store.jobs.takeBack(id, decide, waitMs);
        if (result === 'locked') {
          isMore ||= !isSpared;
          inVain += waitMs > 0 ? 1 : 0;
          locked.set(id, performance.now());
        } else if (result?.changed === true) {
          isMore = true;
          parts.logger.warn(
            `Job ${id} (${result.before.type}) was taken back: worker ${result.before.workerId ?? '?'} was not heard until its lease ended. It is ${result.after.status} now.`,
          );
          parts.stored(result);
        }
      }
      return isMore && ids.length === limit ? 0 : undefined;
    },
  };
}

/** Skips jobs that have not started by their `expires_at`. */
export function expiry(parts: EngineParts): Duty {
  const { store, options } = parts;
  return {
    name: 'expiry',
    // Claims pass over what has expired; this only says so.
    everyMs: Math.min(options.lease.sweepMs, Math.max(1000, store.floorMs)),
    async runOnce() {
      const expired = await store.jobs.expire(EXPIRE_BATCH);
      for (const job of expired.jobs) {
        parts.changed(job, 'waiting');
      }
      expired.results.forEach((each) => parts.stored(each));
      return expired.jobs.length + expired.results.length >= EXPIRE_BATCH ? 0 : undefined;
    },
  };
}

/** Makes jobs ready whose time has come, and sleeps until the next one is due. */
export function promoter(parts: EngineParts, wakeQueues: () => void): Duty {
  return {
    name: 'promoter',
    everyMs: LONGEST_PROMOTE_WAIT_MS,
    async runOnce() {
      const { promoted, nextInMs } = await parts.store.jobs.promote(PROMOTE_BATCH);
      if (promoted > 0) {
        wakeQueues();
      }
      return Math.min(nextInMs ?? LONGEST_PROMOTE_WAIT_MS, LONGEST_PROMOTE_WAIT_MS);
    },
  };
}

/** Tells jobs that the ones they wait for have ended, where one transaction had too many to tell. */
export function dependents(parts: EngineParts): Duty {
  const { store, options } = parts;
  return {
    name: 'dependents',
    everyMs: options.lease.sweepMs,
    async runOnce() {
      const result = await store.jobs.tellDependents();
      parts.told(result);
      return result.isMore === true ? 0 : undefined;
    },
  };
}

/** Deletes jobs that ended long ago, and what is left of deleted ones, with pauses for other work. */
export function retention(parts: EngineParts): Duty {
  const { store, options } = parts;
  let tookMs = 0;
  return {
    name: 'retention',
    everyMs: PURGE_EVERY_MS,
    async runOnce() {
      const began = performance.now();
      let isMore = await store.jobs.sweep();
      for (const [status, ageMs] of options.retention) {
        isMore = (await store.jobs.purge(status, ageMs)) || isMore;
      }
      tookMs += performance.now() - began;
      if (isMore) {
        return PURGE_PAUSE_MS;
      }
      // Each walk passes by all that must stay.
      const restMs = tookMs * PURGE_RESTS;
      tookMs = 0;
      return restMs > PURGE_EVERY_MS ? restMs : undefined;
    },
  };
}

/** Deletes what is left of a job that was deleted just now; the duty goes on where this ends. */
export async function sweepDeleted({ store, logger }: EngineParts): Promise<void> {
  try {
    while (await store.jobs.sweep()) {
      await new Promise((resolve) => setTimeout(resolve, PURGE_PAUSE_MS));
    }
  } catch (error) {
    logger.debug(`The history of deleted jobs is deleted later: ${String(error)}`);
  }
}
