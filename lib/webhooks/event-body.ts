import { jobOf } from '../engine/job-view.js';
import type { JobEntity } from '../entities/job.entity.js';
import type { JobEventEntity } from '../entities/job-event.entity.js';
import { jobToWire } from '../model/job-wire.js';

interface Detail {
  readonly from?: string;
  readonly message?: string;
}

/** The body of an event: the same text at every try, worked out of what was stored with it. */
export function bodyOf(type: string, event: JobEventEntity): string {
  // Stored by this library, in the transaction of the event.
  const job = JSON.parse(event.job ?? 'null') as JobEntity;
  const { from, message } = JSON.parse(event.detail) as Detail;
  return JSON.stringify({
    type,
    timestamp: new Date(event.atMs).toISOString(),
    data: {
      job: jobToWire(jobOf(job, { isPaused: false, nowMs: event.atMs })),
      revision: job.revision,
      sequence: event.sequence,
      from: from ?? event.status,
      to: event.status,
      ...(message === undefined ? {} : { message }),
    },
  });
}
