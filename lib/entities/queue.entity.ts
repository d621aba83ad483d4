import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** What the cluster knows of a queue: whether it is paused. Capacity belongs to each process. */
@Entity({ name: 'job_queues', synchronize: false })
export class JobQueueEntity {
  @PrimaryColumn({ name: 'name', type: 'text' })
  name: string;

  /** 1 while nothing may be claimed from it. */
  @Column({ name: 'paused', type: 'integer' })
  paused: number;

  @Column(instant('updated_at_ms'))
  updatedAtMs: number;
}
