import { setTimeout as pause } from 'node:timers/promises';
import { filter, firstValueFrom, timeout } from 'rxjs';
import type { Job, JobEvent, JobStatus, JobsService } from '../../lib/index.js';

/** How long a test waits for something that should come at once. */
export const DEADLINE_MS = 8000;

/** What a probe gives once it is content. */
type Truthy<T> = Exclude<NonNullable<T>, false | 0 | ''>;

/** Asks again and again until the answer is truthy, and gives that answer. */
export async function until<T>(
  probe: () => T | Promise<T>,
  what = 'the condition',
  deadlineMs = DEADLINE_MS,
): Promise<Truthy<T>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await probe();
    if (answer) {
      return answer as Truthy<T>;
    }
    if (performance.now() > end) {
      throw new Error(
        `Waited ${deadlineMs} ms for ${what}; the last answer was ${String(answer)}.`,
      );
    }
    await pause(10);
  }
}

/** Resolves with the job once `watch` shows it in one of the statuses; a failure tells its history. */
export async function waitForStatus(
  jobs: JobsService,
  id: string,
  status: JobStatus | readonly JobStatus[],
  deadlineMs = DEADLINE_MS,
): Promise<Job> {
  const wanted = typeof status === 'string' ? [status] : status;
  const seen: JobEvent[] = [];
  const reached$ = jobs.watch(id).pipe(
    filter((event) => seen.push(event) > 0 && wanted.includes(event.status)),
    timeout(deadlineMs),
  );
  try {
    await firstValueFrom(reached$);
  } catch (error) {
    throw new Error(
      `${id} did not become ${wanted.join(' or ')}.\n${await history(jobs, id, seen)}`,
      {
        cause: error,
      },
    );
  }
  return jobs.get(id);
}

/** Waits for the end of the job, whichever it is. */
export async function waitForEnd(
  jobs: JobsService,
  id: string,
  deadlineMs = DEADLINE_MS,
): Promise<Job> {
  try {
    return await jobs.wait(id, { timeout: deadlineMs });
  } catch (error) {
    throw new Error(`${id} did not end.\n${await history(jobs, id, [])}`, { cause: error });
  }
}

/** Gives back what the promise gives, or fails with the words given when it takes too long. */
export async function within<T>(
  promise: Promise<T>,
  what: string,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  const stop = new AbortController();
  const late = pause(deadlineMs, undefined, { signal: stop.signal }).then(
    () => Promise.reject(new Error(`${what} took longer than ${deadlineMs} ms.`)),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

async function history(jobs: JobsService, id: string, seen: readonly JobEvent[]): Promise<string> {
  try {
    const [job, runs] = await Promise.all([jobs.get(id), jobs.runs(id)]);
    const events = seen.map((event) => `${event.sequence}:${event.status}`).join(' ');
    return `seen: ${events}\njob: ${JSON.stringify(job, null, 1)}\nruns: ${JSON.stringify(runs, null, 1)}`;
  } catch (error) {
    return `its history cannot be read: ${String(error)}`;
  }
}
