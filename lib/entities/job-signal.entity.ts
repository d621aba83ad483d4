import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** A signal that was sent to a job and not received yet. */
@Entity({ name: 'job_signals', synchronize: false })
export class JobSignalEntity {
  /** The job's row number. */
  @PrimaryColumn({ name: 'job_seq', type: 'integer' })
  jobSeq: number;

  /** Its place in the line of the job's signals. */
  @PrimaryColumn({ name: 'place', type: 'integer' })
  place: number;

  @Column({ name: 'name', type: 'text' })
  name: string;

  /** JSON text. */
  @Column({ name: 'payload', type: 'text' })
  payload: string;

  @Column(instant('at_ms'))
  atMs: number;
}
