import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** A line that a handler logged. */
@Entity({ name: 'job_logs', synchronize: false })
export class JobLogEntity {
  @PrimaryColumn({ name: 'seq', type: 'integer' })
  seq: number;

  @Column({ name: 'job_id', type: 'text' })
  jobId: string;

  @Column({ name: 'run_id', type: 'text' })
  runId: string;

  @Column(instant('at_ms'))
  atMs: number;

  /** Position in LOG_LEVELS. */
  @Column({ name: 'level', type: 'integer' })
  level: number;

  @Column({ name: 'message', type: 'text' })
  message: string;

  /** JSON text of an object, or null. */
  @Column({ name: 'fields', type: 'text', nullable: true })
  fields: string | null;
}
