import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { RunOutcome } from '../model/job.js';
import { instant } from './columns.js';

/**
 * An attempt that ended and left its job not final. The run that holds a job, and the last run of
 * an ended one, stand in the job's own row: a job that succeeds at once costs no second row.
 */
@Entity({ name: 'job_runs', synchronize: false })
export class JobRunEntity {
  @PrimaryColumn({ name: 'run_id', type: 'text' })
  id: string;

  @Column({ name: 'job_id', type: 'text' })
  jobId: string;

  @Column({ name: 'revision', type: 'integer' })
  revision: number;

  @Column({ name: 'worker_id', type: 'text', nullable: true })
  workerId: string | null;

  @Column(instant('started_at_ms', true))
  startedAtMs: number | null;

  @Column(instant('updated_at_ms'))
  updatedAtMs: number;

  @Column(instant('ended_at_ms', true))
  endedAtMs: number | null;

  @Column({ name: 'outcome', type: 'text' })
  outcome: RunOutcome;

  @Column({ name: 'error', type: 'text', nullable: true })
  error: string | null;

  @Column({ name: 'completed', type: 'double precision', nullable: true })
  completed: number | null;

  @Column({ name: 'total', type: 'double precision', nullable: true })
  total: number | null;
}
