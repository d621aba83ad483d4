import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { OnFailure } from '../model/dependencies.js';

/** One job that waits for another; kept until one of them is deleted. */
@Entity({ name: 'job_dependencies', synchronize: false })
export class JobDependencyEntity {
  /** The row number of the job that is waited for. */
  @PrimaryColumn({ name: 'parent_seq', type: 'integer' })
  parentSeq: number;

  /** The row number of the job that waits. */
  @PrimaryColumn({ name: 'child_seq', type: 'integer' })
  childSeq: number;

  /** What becomes of it when the other one does not complete. */
  @Column({ name: 'on_failure', type: 'text' })
  onFailure: OnFailure;

  /** Whether the one that waits has been told of the other one's end. */
  @Column({ name: 'told', type: 'integer' })
  told: number;
}
