import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A kind of work and its defaults, as the newest process that booted declared it. */
@Entity({ name: 'job_types', synchronize: false })
export class JobTypeEntity {
  @PrimaryColumn({ name: 'type_id', type: 'text' })
  typeId: string;

  @Column({ name: 'description', type: 'text' })
  description: string;

  @Column({ name: 'group_name', type: 'text' })
  group: string;

  @Column({ name: 'name', type: 'text' })
  name: string;

  @Column({ name: 'version', type: 'integer' })
  version: number;

  @Column({ name: 'timeout_sec', type: 'double precision' })
  timeoutSec: number;

  @Column({ name: 'max_retries', type: 'integer' })
  maxRetries: number;

  @Column({ name: 'retry_delay_sec', type: 'double precision' })
  retryDelaySec: number;

  @Column({ name: 'suspendable', type: 'integer' })
  suspendable: number;
}
