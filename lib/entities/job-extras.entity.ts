import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** What only some jobs have, beside their rows; `JobEntity.extras` says which of it counts. */
@Entity({ name: 'job_extras', synchronize: false })
export class JobExtrasEntity {
  /** The job's row number. */
  @PrimaryColumn({ name: 'seq', type: 'integer' })
  seq: number;

  @Column({ name: 'job_id', type: 'text' })
  jobId: string;

  /** JSON text of `[{ id, on_failure }]`. */
  @Column({ name: 'depends_on', type: 'text', nullable: true })
  dependsOn: string | null;

  /** How many of the jobs that it depends on are not final. */
  @Column({ name: 'blocked_by', type: 'integer' })
  blockedBy: number;

  /** What becomes of it once they all are: 0 it runs, 1 it is canceled, 2 it fails. */
  @Column({ name: 'verdict', type: 'integer' })
  verdict: number;

  /** JSON text of its unique key, whose tenant's, until and within. */
  @Column({ name: 'unique_claim', type: 'text', nullable: true })
  uniqueClaim: string | null;

  @Column({ name: 'status_hook', type: 'text', nullable: true })
  statusHook: string | null;

  @Column({ name: 'schedule_id', type: 'text', nullable: true })
  scheduleId: string | null;

  @Column({ name: 'check_in', type: 'text', nullable: true })
  checkIn: string | null;

  @Column(instant('check_in_at_ms', true))
  checkInAtMs: number | null;
}
