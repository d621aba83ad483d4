import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** A process that takes jobs. Its id is new at every start. */
@Entity({ name: 'job_workers', synchronize: false })
export class JobWorkerEntity {
  @PrimaryColumn({ name: 'worker_id', type: 'text' })
  id: string;

  @Column({ name: 'host', type: 'text' })
  host: string;

  @Column({ name: 'pid', type: 'integer' })
  pid: number;

  @Column({ name: 'version', type: 'text' })
  version: string;

  /** JSON text of the names of the queues it serves. */
  @Column({ name: 'queues', type: 'text' })
  queues: string;

  @Column(instant('started_at_ms'))
  startedAtMs: number;

  @Column(instant('heartbeat_at_ms'))
  heartbeatAtMs: number;
}
