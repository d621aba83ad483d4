import { JobsError } from '../model/errors.js';
import { MOST_OPEN_READ } from '../model/schedule-decision.js';
import type { ClaimedSchedule, OpenJobs, ScheduleStore } from '../store/store.js';
import type { Operations } from './operations.js';

/** Cancels what has not ended; what ends meanwhile needs none. */
export async function cancelOlder(
  operations: Operations,
  schedules: ScheduleStore,
  { definition, open }: ClaimedSchedule,
): Promise<void> {
  const reason = `The schedule "${definition.name}" was due again.`;
  const cancel = (job: string): Promise<unknown> =>
    operations.cancel(job, { reason }).catch(ignoreGone);
  if (open.length < MOST_OPEN_READ) {
    for (const job of open) {
      await cancel(job);
    }
  } else {
    await forEachOpen(schedules, definition.id, cancel);
  }
}

/** Does something with each of a schedule's jobs that have not ended, page by page. */
async function forEachOpen(
  schedules: ScheduleStore,
  id: string,
  work: (job: string) => Promise<unknown>,
): Promise<void> {
  for (let after: number | undefined = 0; after !== undefined;) {
    const page: OpenJobs = await schedules.openJobs(id, after);
    for (const job of page.ids) {
      await work(job);
    }
    after = page.next;
  }
}

/** Cancels those that have not begun. */
export function cancelWaitingOf(
  operations: Operations,
  schedules: ScheduleStore,
  id: string,
  reason: string,
): Promise<void> {
  return forEachOpen(schedules, id, (job) =>
    operations.cancelWaiting(job, { reason }).catch(ignoreGone),
  );
}

function ignoreGone(error: unknown): void {
  if (!(error instanceof JobsError && error.code === 'not_found')) {
    throw error;
  }
}
