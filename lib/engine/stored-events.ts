import type { JobEntity } from '../entities/job.entity.js';
import type { JobEventEntity } from '../entities/job-event.entity.js';
import { EXTRA, hasExtra } from '../model/extras.js';
import type { JobEvent } from '../model/job.js';
import type { JobStatus } from '../model/job-status.js';
import type { Store } from '../store/store.js';

interface Detail {
  readonly from?: JobStatus;
  readonly message?: string;
  readonly actor?: string;
  readonly progress: number;
  readonly run_id: string | null;
}

/** Whether events of a job are stored, which its present status does not tell. */
export function hasEvents(job: JobEntity): boolean {
  return hasExtra(job.extras, EXTRA.events | EXTRA.hook);
}

/**
 * Some of what is stored of a job after a sequence, up to another, and whether there is more. Changes of its status that nobody noted may be missing in
 * between; where one is missing in front of a check-in, the status as of then takes its place.
 */
export async function storedEvents(
  store: Store,
  { seq, upTo }: { readonly seq: number; readonly upTo: number },
  after: number,
): Promise<{ readonly events: readonly JobEvent[]; readonly isMore: boolean }> {
  const events: JobEvent[] = [];
  let last = after;
  const page = await store.webhooks.events(seq, after, upTo);
  for (const stored of page.events) {
    if (stored.kind !== 'status' && stored.sequence > last + 1) {
      events.push(statusBefore(stored));
    }
    events.push(eventOf(stored));
    last = stored.sequence;
  }
  return { events, isMore: page.isMore };
}

function eventOf(stored: JobEventEntity): JobEvent {
  const { from, message, actor } = detailOf(stored);
  return {
    ...commonOf(stored),
    sequence: stored.sequence,
    type: stored.kind === 'check_in' ? 'check_in' : 'status',
    ...(from === undefined ? {} : { from }),
    ...(message === undefined ? {} : { message }),
    ...(actor === undefined ? {} : { actor }),
  };
}

function statusBefore(stored: JobEventEntity): JobEvent {
  return { ...commonOf(stored), sequence: stored.sequence - 1, type: 'status' };
}

function commonOf(
  stored: JobEventEntity,
): Pick<JobEvent, 'jobId' | 'runId' | 'at' | 'status' | 'progress'> {
  const { progress, run_id: runId } = detailOf(stored);
  return {
    jobId: stored.jobId,
    runId,
    at: new Date(stored.atMs),
    status: stored.status,
    progress,
  };
}

function detailOf({ detail }: JobEventEntity): Detail {
  return JSON.parse(detail) as Detail;
}
