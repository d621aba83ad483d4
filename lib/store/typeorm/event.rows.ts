import { JobEventEntity } from '../../entities/job-event.entity.js';
import type { JobStatus } from '../../model/job-status.js';
import type { Row } from '../dialects/sql.js';

/** The columns of `job_events`, in the order in which they are read and written. */
export const EVENT_COLUMNS = {
  job_seq: 'number',
  sequence: 'number',
  job_id: 'text',
  at_ms: 'number',
  kind: 'text',
  status: 'text',
  detail: 'text',
  job: 'text',
} as const;

/** An event of a row whose columns begin there; the last one, the job as it was, may be left out. */
export function eventOfRow(row: Row, from = 0): JobEventEntity {
  const [jobSeq, sequence, jobId, atMs, kind, status, detail, job = null] = row.slice(from);
  const event = new JobEventEntity();
  event.jobSeq = Number(jobSeq);
  event.sequence = Number(sequence);
  event.jobId = String(jobId);
  event.atMs = Number(atMs);
  event.kind = kind as JobEventEntity['kind'];
  event.status = status as JobStatus;
  event.detail = String(detail);
  event.job = job === null ? null : String(job);
  return event;
}
