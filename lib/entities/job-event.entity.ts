import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { JobStatus } from '../model/job-status.js';
import { instant } from './columns.js';

/**
 * Something that happened to a job and that its row and its runs cannot say, or that somebody wants
 * to be told. Plain jobs have none.
 */
@Entity({ name: 'job_events', synchronize: false })
export class JobEventEntity {
  /** The job's row number. */
  @PrimaryColumn({ name: 'job_seq', type: 'bigint' })
  jobSeq: number;

  @PrimaryColumn({ name: 'sequence', type: 'bigint' })
  sequence: number;

  @Column({ name: 'job_id', type: 'text' })
  jobId: string;

  @Column(instant('at_ms'))
  atMs: number;

  /** `status`, `check_in`, or `action` for what an operator did without a change of the status. */
  @Column({ name: 'kind', type: 'text' })
  kind: 'status' | 'check_in' | 'action';

  /** The job's, as of then. */
  @Column({ name: 'status', type: 'text' })
  status: JobStatus;

  /** JSON text: from, message, actor, progress and run. */
  @Column({ name: 'detail', type: 'text' })
  detail: string;

  /** JSON text: the whole job as of then, where it is delivered to somebody. */
  @Column({ name: 'job', type: 'text', nullable: true })
  job: string | null;
}
