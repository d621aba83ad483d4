import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/**
 * The job that claimed a unique key last. It holds the key as long as `within_until_ms` is in the
 * future, or it has not reached what `held_until` says; the row stays until the job is deleted or
 * another one takes the key.
 */
@Entity({ name: 'job_uniques', synchronize: false })
export class JobUniqueEntity {
  @PrimaryColumn({ name: 'tenant_id', type: 'text' })
  tenantId: string;

  @PrimaryColumn({ name: 'unique_key', type: 'text' })
  key: string;

  /** The job's row number. */
  @Column({ name: 'job_seq', type: 'integer' })
  jobSeq: number;

  @Column({ name: 'job_id', type: 'text' })
  jobId: string;

  /** Its first claim, its end, or neither: then only the time counts. */
  @Column({ name: 'held_until', type: 'text' })
  heldUntil: 'started' | 'final' | 'within';

  /** 0 = no longer than `held_until`. */
  @Column(instant('within_until_ms', false))
  withinUntilMs: number;
}
